"""The promptable head, its training crops and its training."""

import json

import numpy as np
import pytest
import torch

from proposal_builders import box_mask
from sapnet.proposals.builtin.boundary_network import BoundaryNetwork
from sapnet.proposals.builtin.head_data import HeadCrops, HeadSample, draw_queries
from sapnet.proposals.builtin.head_loss import stack_head_samples
from sapnet.proposals.builtin.head_training import train_head
from sapnet.proposals.builtin.prompt_head import MASKS, PromptHead, seen_edges
from sapnet.proposals.builtin.prompt_windows import CELLS, WindowPrompts
from sapnet.proposals.builtin.training_loop import TrainingSettings

SIDE = 64
MASKS_OF_CROP = np.stack([box_mask((SIDE, SIDE), 4, 6, 30, 40), box_mask((SIDE, SIDE), 40, 10, 60, 50)])
SETTINGS = TrainingSettings(steps=2, batch_size=1, checkpoint_steps=1, log_steps=1)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return BoundaryNetwork().eval()


@pytest.fixture(scope="module")
def fused(network):
    torch.manual_seed(1)
    head = PromptHead().eval()
    images = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        features = network.features(images)
        return head, head.fuse(images, features, network.outputs(features))


def some_windows(count):
    rng = np.random.default_rng(0)
    boxes = np.full((count, 4), np.nan)
    boxes[1::2] = [10, 10, 40, 30]
    return WindowPrompts(
        torch.arange(count) % 2,
        torch.from_numpy(rng.uniform(0, SIDE, (count, 2))).float(),
        torch.from_numpy(rng.uniform(16, 200, count)).float(),
        torch.from_numpy(rng.uniform(0, SIDE, (2 * count, 2))).float(),
        torch.arange(2 * count) % 3 > 0,
        torch.arange(2 * count) // 2,
        torch.from_numpy(boxes).float(),
    )


def test_three_masks_and_their_overlaps_come_for_every_window(fused):
    head, maps = fused
    outputs = head(maps, some_windows(5))
    assert outputs.mask_logits.shape == (5, MASKS, CELLS, CELLS)
    assert outputs.overlap_logits.shape == (5, MASKS)
    assert outputs.mask_logits.isfinite().all()
    assert outputs.overlap_logits.isfinite().all()


def test_an_answer_does_not_depend_on_the_other_queries(fused):
    head, maps = fused
    windows = some_windows(5)
    with torch.no_grad():
        together, alone = head(maps, windows), head(maps, windows.rows(3, 4))
    assert torch.allclose(together.mask_logits[3], alone.mask_logits[0], atol=1e-4)
    assert torch.allclose(together.overlap_logits[3], alone.overlap_logits[0], atol=1e-4)


def test_seen_edges_are_the_distances_from_the_middle_of_the_cell():
    encoded = torch.zeros(1, 4, 3, 3)  # log((d + 4) / 32) = 0: 28 pixels
    edges = seen_edges(encoded)
    assert edges[0, :, 1, 2].tolist() == pytest.approx([10 - 28, 6 - 28, 10 + 28, 6 + 28])


def test_queries_have_their_clicks_on_their_masks_and_negatives_off_them():
    rng = np.random.default_rng(0)
    queries = draw_queries(MASKS_OF_CROP, 60, rng)
    assert np.bincount(queries.target).tolist() == [30, 30]
    column, row = np.clip(queries.point_xy, 0, SIDE - 1).astype(int).T
    on_mask = MASKS_OF_CROP[queries.target[queries.point_query], row, column]
    assert np.array_equal(on_mask, queries.point_positive)
    assert 0 < (~queries.point_positive).sum() < 4 * 60
    has_box = np.isfinite(queries.boxes).all(1)
    has_point = np.isin(np.arange(60), queries.point_query[queries.point_positive])
    assert 0 < has_box.sum() < 60
    assert (has_box | has_point).all()
    assert (has_box & ~has_point).any()
    assert (np.diff(queries.point_query) >= 0).all()


def test_no_masks_give_no_queries():
    queries = draw_queries(np.zeros((0, SIDE, SIDE), dtype=bool), 0, np.random.default_rng(0))
    assert len(queries.target) == len(queries.point_xy) == len(queries.sides) == 0


def sample(seed=0, count=4):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return HeadSample(image, MASKS_OF_CROP, draw_queries(MASKS_OF_CROP, count, rng))


def test_targets_hold_the_share_of_the_object_in_every_cell():
    batch = stack_head_samples([sample(0), sample(1)])
    assert batch.images.shape == (2, 3, SIDE, SIDE)
    assert batch.prompts.image_index.tolist() == [0] * 4 + [1] * 4
    drawn = batch.targets.sum((1, 2))
    assert (drawn <= batch.areas * 1.02 + 1).all()
    whole = (batch.prompts.rectangles[:, 0] < 0) & (batch.prompts.rectangles[:, 2] > SIDE)
    whole &= (batch.prompts.rectangles[:, 1] < 0) & (batch.prompts.rectangles[:, 3] > SIDE)
    assert torch.allclose(drawn[whole], batch.areas[whole], rtol=0.05)


class FixedCrops(HeadCrops):
    """The same crop with other queries for every number; some have no object."""

    def __init__(self):
        pass

    def __getitem__(self, number):
        if number == 1:
            empty = np.zeros((0, SIDE, SIDE), dtype=bool)
            rng = np.random.default_rng(1)
            return HeadSample(sample(1).image, empty, draw_queries(empty, 0, rng))
        return sample(number)


def test_a_resumed_training_of_the_head_ends_like_an_uninterrupted_one(network, tmp_path):
    whole = train_head(network, FixedCrops(), tmp_path / "whole", SETTINGS, held_out=[sample(9)])

    class Killed(Exception):
        pass

    def kill(line):
        if line["step"] == 2:
            raise Killed

    with pytest.raises(Killed):
        train_head(network, FixedCrops(), tmp_path / "parts", SETTINGS, held_out=[sample(9)], report=kill)
    parts = train_head(network, FixedCrops(), tmp_path / "parts", SETTINGS, held_out=[sample(9)])
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 1, 2, 2]
    assert "held_out/best" in lines[1]
