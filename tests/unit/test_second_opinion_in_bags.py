"""From the store to the pick: every proposal keeps the opinion that was given of it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from proposal_builders import SIZE, box_mask, prompts_at
from sapnet.build import build_dataset
from sapnet.data.annotations import ImagePoints, load_points
from sapnet.data.bags import bags_of_image
from sapnet.data.collate import collate
from sapnet.data.rle import encode_mask
from sapnet.data.transforms import Geometry
from sapnet.labels.picks import Pick, picked_only
from sapnet.proposals.merging import merge_duplicates
from sapnet.proposals.proposer import collect_proposals
from sapnet.proposals.store import ProposalStore
from sapnet.proposals.store_writer import StoreWriter
from training_builders import network_that_tells_apart, tiny_config, write_tiny_data

OPINIONS = np.array([0.9, 0.1, 0.5, 0.3, 0.7, 0.2], dtype=np.float32)


def proposals(opinions=OPINIONS):
    """Three proposals of click 1, none of click 2, three of click 3, scores falling within each."""
    found = collect_proposals(
        prompts_at([[5.0, 5.0], [20.0, 20.0], [30.0, 30.0]]),
        SIZE,
        prompt_index=[0, 0, 0, 2, 2, 2],
        counts=[encode_mask(box_mask(SIZE, i, 2 * i, 9 + 6 * i, 30)) for i in range(6)],
        scores=[0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
        kinds=["point"] * 6,
    )
    return replace(found, opinions=opinions)


def clicks(ids):
    """The clicks with some annotation ids, in that order."""
    none = np.zeros(0, dtype=np.int64)
    xy = np.array([[5.0, 5.0], [20.0, 20.0], [30.0, 30.0]])[np.array(ids) - 1]
    labels = np.zeros(len(ids), dtype=np.int64)
    return ImagePoints(np.array(ids), xy, labels, np.zeros((0, 2)), none, np.zeros((0, 2)), none)


def bags(stored, ids=(1, 2, 3), most=4):
    geometry = Geometry(SIZE, SIZE)
    return bags_of_image(
        stored, clicks(list(ids)), geometry, mask_stride=4, max_proposals=most, file_name="a.png"
    )


def test_every_slot_of_a_bag_has_the_opinion_of_its_own_proposal():
    found = bags(proposals()).opinions
    expected = torch.tensor([[0.9, 0.1, 0.5], [0, 0, 0], [0.3, 0.7, 0.2]])
    torch.testing.assert_close(found, expected)


def test_opinions_follow_the_order_of_the_clicks_and_of_the_scores():
    stored = proposals()
    shuffled = replace(stored, scores=np.array([0.7, 0.8, 0.9, 0.4, 0.6, 0.5], dtype=np.float32))
    found = bags(shuffled, ids=(3, 1)).opinions
    torch.testing.assert_close(found, torch.tensor([[0.7, 0.2, 0.3], [0.5, 0.1, 0.9]]))


def test_opinions_end_with_the_bag():
    found = bags(proposals(), most=2)
    torch.testing.assert_close(found.opinions, torch.tensor([[0.9, 0.1], [0, 0], [0.3, 0.7]]))


def test_where_nobody_was_asked_every_proposal_has_the_opinion_one_and_every_empty_slot_none():
    found = bags(proposals(opinions=None))
    assert torch.equal(found.opinions, found.valid.float())
    assert not bags(None).opinions.any()


def test_picked_proposals_keep_their_opinions():
    kept = picked_only(proposals(), {1: Pick(2, 0.5), 2: Pick(-1, 0.0), 3: Pick(1, 0.5)})
    np.testing.assert_array_equal(kept.opinions, OPINIONS[[2, 4]])
    assert picked_only(proposals(opinions=None), {1: Pick(2, 0.5)}).opinions is None


def test_what_merging_keeps_keeps_its_opinion():
    stored = proposals()
    same = replace(stored, counts=(*stored.counts[:1] * 2, *stored.counts[2:]))
    merged = merge_duplicates(same, iou=1.0, max_per_prompt=2)
    np.testing.assert_array_equal(merged.opinions, OPINIONS[[0, 2, 3, 4]])
    assert merge_duplicates(replace(same, opinions=None), iou=1.0, max_per_prompt=2).opinions is None


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("tiny"))


def with_opinions(tiny, folder, favourite):
    """A copy of the store in which the second proposer agrees with one rank of every bag only."""
    points = load_points(tiny.points)
    plain = ProposalStore.open(tiny.store, points)
    maker = {"proposer_name": "regions", "proposer_settings": {}, "points_digest": points.digest}
    with StoreWriter(folder, **maker) as writer:
        for found in plain:
            opinions = np.zeros(found.num_proposals, dtype=np.float32)
            for row in range(len(found.annotation_ids)):
                opinions[found.of_prompt(row).start + favourite] = 1.0
            writer.append(replace(found, opinions=opinions))
        writer.finish()
    return folder


def picks(tiny, store, exponent):
    config = tiny_config(model={"picking": {"opinion_exponent": exponent}})
    points = load_points(tiny.points)
    dataset = build_dataset(config, points, tiny.images, ProposalStore.open(store, points), training=False)
    batch = collate([dataset[0], dataset[1]], size_divisor=32, mask_stride=4)
    found = network_that_tells_apart(config).pick(batch)
    return SimpleNamespace(rank=found.proposal_index.tolist(), scores=found.scores)


def test_a_pick_follows_the_opinion_as_far_as_it_is_let(tiny, tmp_path):
    stores = [with_opinions(tiny, tmp_path / str(rank), rank) for rank in range(3)]
    unasked = picks(tiny, tiny.store, 0.0)
    for rank, store in enumerate(stores):
        assert picks(tiny, store, 4.0).rank == [rank] * 4
        deaf = picks(tiny, store, 0.0)
        assert deaf.rank == unasked.rank
        assert torch.equal(deaf.scores, unasked.scores)


def test_a_store_without_opinions_is_picked_from_as_if_nobody_were_listened_to(tiny):
    heard, unheard = (picks(tiny, tiny.store, exponent) for exponent in (4.0, 0.0))
    assert heard.rank == unheard.rank
    torch.testing.assert_close(heard.scores, unheard.scores)
