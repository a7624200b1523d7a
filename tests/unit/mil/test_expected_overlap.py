"""Averaging scores over views, and the pick that promises the highest overlap."""

from dataclasses import replace

import pytest
import torch

from oracles import expected_overlap as oracle
from oracles.random_bags import random_case
from sapnet.mil.expected_overlap import bag_mask_iou, expected_overlap, mean_of_views
from sapnet.ops import masks as mask_operations


def random_scores(seed, shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1e-3


def rows_of_cells(*spans):
    """One bag whose masks are spans of a row of twelve cells."""
    masks = torch.zeros(1, len(spans), 1, 12, dtype=torch.bool)
    for place, (start, stop) in enumerate(spans):
        masks[0, place, 0, start:stop] = True
    return masks


def bag_of(masks, valid=None):
    case = random_case(0, num_prompts=1, num_proposals=masks.shape[1])
    every = torch.ones(masks.shape[:2], dtype=torch.bool)
    return replace(case.bags, masks=masks, valid=every if valid is None else torch.tensor([valid]))


@pytest.mark.parametrize("temperature", [0.3, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("seed", range(2))
def test_expected_overlap_equals_the_loops(seed, temperature):
    bags = random_case(seed).bags
    scores = random_scores(seed, bags.valid.shape)
    found = expected_overlap(scores, bags, temperature=temperature)
    torch.testing.assert_close(found, oracle.expected_overlap(scores, bags, temperature))


def test_bags_are_compared_a_few_at_a_time(monkeypatch):
    case = random_case(3, num_prompts=7)
    masks = case.bags.masks & case.bags.valid[:, :, None, None]
    whole = bag_mask_iou(masks, masks)
    monkeypatch.setattr(mask_operations, "_CHUNK_ELEMENTS", 2 * masks[0].numel())
    assert torch.equal(bag_mask_iou(masks, masks), whole)
    assert bag_mask_iou(masks[:0], masks[:0]).shape == (0, 4, 4)


def test_three_alike_beat_one_that_is_a_little_more_probable():
    masks = rows_of_cells((0, 3), (4, 12), (4, 10), (6, 12))
    scores = torch.tensor([[0.3, 0.25, 0.2, 0.25]])
    found = expected_overlap(scores, bag_of(masks), temperature=1.0)
    assert found.argmax() == 1
    assert found[0, 0] == pytest.approx(0.3)  # it overlaps nothing but itself


def test_copies_of_a_proposal_add_nothing_to_its_voice():
    masks = rows_of_cells((0, 5), (6, 12), (6, 12), (6, 12))
    found = expected_overlap(torch.tensor([[0.6, 0.4, 0.4, 0.4]]), bag_of(masks), temperature=1.0)
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.4, 0.4, 0.4]]))


def test_a_low_temperature_picks_the_highest_score():
    masks = rows_of_cells((0, 3), (4, 12), (4, 11), (5, 12))
    found = expected_overlap(torch.tensor([[0.3, 0.25, 0.2, 0.25]]), bag_of(masks), temperature=0.02)
    assert found.argmax() == 0


def test_an_invalid_proposal_neither_promises_nor_counts():
    masks = rows_of_cells((0, 6), (0, 5), (6, 12))
    bags = bag_of(masks, valid=[True, False, True])
    found = expected_overlap(torch.tensor([[0.5, 9.0, 0.5]]), bags, temperature=1.0)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.0, 0.5]]))
    nothing = bag_of(masks, valid=[False, False, False])
    assert expected_overlap(torch.ones(1, 3), nothing, temperature=1.0).tolist() == [[0.0, 0.0, 0.0]]


def test_scores_of_zero_leave_all_proposals_equal():
    masks = rows_of_cells((0, 6), (6, 12))
    found = expected_overlap(torch.zeros(1, 2), bag_of(masks), temperature=0.5)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5]]))


def test_the_scale_of_the_scores_does_not_matter():
    bags = random_case(5).bags
    scores = random_scores(5, bags.valid.shape)
    first, second = (expected_overlap(scale * scores, bags, temperature=0.5) for scale in (1.0, 1e-4))
    torch.testing.assert_close(first, second)


def test_the_mean_over_views_equals_the_loops():
    views = [random_scores(seed, (5, 4)) for seed in range(3)]
    torch.testing.assert_close(mean_of_views(views), oracle.mean_of_views(views))


def test_the_order_of_the_views_does_not_matter():
    views = [random_scores(seed, (5, 4)) for seed in range(3)]
    torch.testing.assert_close(mean_of_views(views), mean_of_views(views[::-1]))


def test_one_view_without_belief_does_not_rule_a_proposal_out():
    found = mean_of_views([torch.tensor([[0.0, 1e-9]]), torch.tensor([[1.0, 1e-9]])])
    assert found[0, 0] > found[0, 1]
