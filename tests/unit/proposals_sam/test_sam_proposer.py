"""The proposer fills bags from planned prompts, encodes every image once and travels without its weights."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from oracles.sam_one_by_one import decode_one_by_one
from proposal_builders import prompts_at
from sam_builders import FAMILY_NAMES, photo, processor_of, three_clicks
from sapnet.errors import CheckpointError, InputError
from sapnet.proposals.proposer import Proposer
from sapnet.proposals.sam import decoding
from sapnet.proposals.sam.proposer import SamProposer

pytest.importorskip("transformers")

ALL_KINDS = ("point", "point+negatives", "box", "box+point", "jittered")


def proposer_of(checkpoints, name="sam2", **settings):
    return SamProposer(name, checkpoint=checkpoints[name], **settings)


def same(one, other):
    return (one.counts, one.kinds, one.prompt_index.tolist(), one.scores.tolist()) == (
        other.counts,
        other.kinds,
        other.prompt_index.tolist(),
        other.scores.tolist(),
    )


@pytest.fixture(scope="module")
def sam2(checkpoints):
    """A loaded proposer that asks with every kind of prompt and keeps near-duplicates apart."""
    return proposer_of(checkpoints, kinds=ALL_KINDS, duplicate_iou=1.0, max_per_prompt=50)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_every_member_proposes_three_masks_per_click_like_transformers(checkpoints, name):
    proposer = proposer_of(checkpoints, name, duplicate_iou=1.0)
    assert isinstance(proposer, Proposer)
    image, prompts = photo(), three_clicks()
    proposals = proposer.propose(image, prompts)
    queries = [(i, "point", [(*xy, 1)], None) for i, xy in enumerate(prompts.xy.tolist())]
    answers = decode_one_by_one(proposer.load().model, processor_of(name), image, queries)
    for click, (masks, scores, _) in enumerate(answers):
        rows = proposals.of_prompt(click)
        order = [i for i in np.argsort(-scores, kind="stable") if masks[i].any()]
        assert (proposals.masks(rows) != masks[order]).mean() < 1e-3
        np.testing.assert_allclose(proposals.scores[rows], scores[order], atol=2e-5)
    assert set(proposals.kinds) == {"point"}


def test_every_kind_of_prompt_fills_the_bag_and_is_recorded(sam2):
    proposals = sam2.propose(photo(), three_clicks())
    assert set(proposals.kinds) == set(ALL_KINDS)
    bag = proposals.kinds[proposals.of_prompt(0)]
    # Three masks each; two jittered prompts; empty masks may be missing.
    assert len(bag) <= 18
    assert max(bag.count(kind) for kind in ALL_KINDS[:4]) == 3
    # The third click has no neighbour of its class.
    assert "point+negatives" not in proposals.kinds[proposals.of_prompt(2)]


def test_boxes_come_from_the_best_mask_where_none_are_estimated(checkpoints):
    image, prompts = photo(), three_clicks()
    points = proposer_of(checkpoints).propose(image, prompts)
    best = np.stack([points.boxes[points.of_prompt(i).start] for i in range(3)]).astype(float)
    boxed = proposer_of(checkpoints, kinds=("box",))
    guessed = boxed.propose(image, prompts)
    given = boxed.propose(image, replace(prompts, boxes=best))
    assert set(guessed.kinds) == {"box"}
    assert same(guessed, given)


def test_estimated_boxes_are_used_and_only_missing_ones_guessed(checkpoints, monkeypatch):
    asked = []
    decode = decoding.decode_prompts
    monkeypatch.setattr(
        decoding,
        "decode_prompts",
        lambda s, e, planned, **k: asked.append(planned) or decode(s, e, planned, **k),
    )
    boxes = np.array([(5.0, 5.0, 30.0, 20.0), (30.0, 20.0, 60.0, 40.0), (60.0, 30.0, 80.0, 48.0)])
    boxed = proposer_of(checkpoints, kinds=("box",))
    boxed.propose(photo(), replace(three_clicks(), boxes=boxes))
    assert [plan.boxes.tolist() for plan in asked] == [boxes.tolist()]
    for nothing in ((30.0, 20.0, 30.0, 40.0), (np.nan,) * 4):
        asked.clear()
        boxes[1] = nothing
        boxed.propose(photo(), replace(three_clicks(), boxes=boxes))
        assert [plan.kinds for plan in asked] == [("point",) * 3, ("box",) * 3]
        assert asked[1].boxes[0].tolist() == boxes[0].tolist()


def test_a_proposer_says_whether_it_asks_with_boxes(checkpoints):
    assert proposer_of(checkpoints, kinds=("point", "box+point")).uses_boxes
    assert not proposer_of(checkpoints, kinds=("point", "jittered")).uses_boxes


def test_near_duplicates_are_merged_and_bags_bounded(checkpoints, sam2):
    image, prompts = photo(), three_clicks()
    merged = proposer_of(checkpoints, kinds=ALL_KINDS, duplicate_iou=0.7, max_per_prompt=4)
    few, many = merged.propose(image, prompts), sam2.propose(image, prompts)
    assert max(np.bincount(few.prompt_index)) <= 4 < max(np.bincount(many.prompt_index))
    for click in range(3):
        assert few.scores[few.of_prompt(click)][0] == many.scores[many.of_prompt(click)][0]


def test_the_image_is_encoded_once_for_two_rounds(sam2, monkeypatch):
    calls = []
    encode = decoding.encode_image
    monkeypatch.setattr(decoding, "encode_image", lambda *args: calls.append(1) or encode(*args))
    sam2.propose(photo(), three_clicks())
    assert calls == [1]


def test_an_image_without_clicks_is_not_even_encoded(checkpoints):
    proposer = proposer_of(checkpoints)
    proposals = proposer.propose(photo(), prompts_at([]))
    assert proposals.num_proposals == 0
    assert proposals.image_size == (48, 80)
    assert proposer._sam is None


def test_a_thousand_clicks_are_answered(checkpoints):
    clicks = np.random.default_rng(0).uniform([0, 0], [80, 48], (1000, 2))
    proposals = proposer_of(checkpoints, multimask=False, chunk_size=250).propose(photo(), prompts_at(clicks))
    assert len(proposals.annotation_ids) == 1000
    assert max(np.bincount(proposals.prompt_index)) == 1


def test_proposals_are_the_same_again_and_in_another_process_of_the_same_settings(sam2):
    image, prompts = photo(), three_clicks()
    first = sam2.propose(image, prompts)
    travelled = pickle.loads(pickle.dumps(sam2))
    assert same(first, sam2.propose(image, prompts))
    assert same(first, travelled.propose(image, prompts))


def test_a_pickled_proposer_leaves_its_weights_behind(sam2):
    digest = sam2.checkpoint_digest
    sam2.load()
    data = pickle.dumps(sam2)
    assert len(data) < 5000
    travelled = pickle.loads(data)
    assert travelled._sam is None
    assert (travelled.name, travelled.settings, travelled.checkpoint_digest) == (
        "sam2",
        sam2.settings,
        digest,
    )


def test_unloaded_weights_are_loaded_again(checkpoints):
    proposer = proposer_of(checkpoints)
    first = proposer.load()
    assert proposer.load() is first
    proposer.unload()
    assert proposer._sam is None
    assert same(
        proposer.propose(photo(), three_clicks()), proposer_of(checkpoints).propose(photo(), three_clicks())
    )


def test_settings_are_json_and_tell_apart_what_changes_proposals(checkpoints):
    usual = proposer_of(checkpoints)
    changes = [
        {"kinds": ("point", "box")},
        {"multimask": False},
        {"max_negatives": 1},
        {"negatives": "all"},
        {"jitter_pixels": 1.0},
        {"jitter_count": 1},
        {"duplicate_iou": 0.5},
        {"max_per_prompt": 3},
        {"precision": "bf16"},
        {"seed": 1},
    ]
    texts = {json.dumps(proposer_of(checkpoints, **change).settings, sort_keys=True) for change in changes}
    texts.add(json.dumps(usual.settings, sort_keys=True))
    assert len(texts) == len(changes) + 1
    # Where and in what portions it computes is no part of what it proposes.
    assert proposer_of(checkpoints, chunk_size=3).settings == usual.settings


def test_wrong_settings_are_listed_at_once(checkpoints):
    with pytest.raises(InputError) as caught:
        proposer_of(checkpoints, chunk_size=0, max_per_prompt=0, duplicate_iou=1.5)
    assert len(caught.value.problems) == 3
    with pytest.raises(InputError, match="did you mean 'jittered'"):
        proposer_of(checkpoints, kinds=("jitter",))
    with pytest.raises(InputError, match="expected no, bf16, fp16"):
        proposer_of(checkpoints, precision="half")


def test_a_checkpoint_of_another_member_is_refused_before_any_image(checkpoints):
    with pytest.raises(CheckpointError, match="use --proposer sam2"):
        SamProposer("sam", checkpoint=checkpoints["sam2"])
