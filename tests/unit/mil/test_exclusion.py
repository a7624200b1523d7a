"""Clicks of one image exclude each other."""

from dataclasses import replace

import pytest
import torch

from oracles import exclusion as oracle
from oracles.random_bags import random_case
from sapnet.data.loading import blank_batch
from sapnet.mil.exclusion import exclude_neighbours
from sapnet.ops import masks as mask_operations


def random_scores(seed, shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1e-3


def two_clicks():
    """Each click has its own half of eight cells, and the first also the whole row."""
    case = random_case(0, num_prompts=2, num_proposals=2)
    masks = torch.zeros(2, 2, 1, 8, dtype=torch.bool)
    masks[0, 0, 0, :4] = True
    masks[0, 1] = True
    masks[1, 0, 0, 4:] = True
    return replace(case.bags, masks=masks, valid=torch.tensor([[True, True], [True, False]]))


@pytest.mark.parametrize("weight", [0.25, 2.0])
@pytest.mark.parametrize("seed", range(2))
def test_penalties_equal_the_loops(seed, weight):
    case = random_case(seed)
    scores, images = random_scores(seed, case.bags.valid.shape), case.prompts.image_index
    found = exclude_neighbours(scores, case.bags, images, weight=weight)
    torch.testing.assert_close(found, oracle.exclude(scores, case.bags, images, weight))


def test_who_covers_the_neighbour_pays_for_one_object():
    scores = torch.tensor([[0.4, 0.5], [0.7, 0.0]], dtype=torch.float64)
    found = exclude_neighbours(scores, two_clicks(), torch.tensor([0, 0]), weight=1.0)
    assert found[0].tolist() == pytest.approx([0.4, 0.5 * torch.tensor(-1.0).exp().item()])
    assert found[1, 0] < scores[1, 0]  # the whole row is still believed a little


def test_clicks_of_other_images_do_not_count():
    scores = random_scores(1, (2, 2))
    assert torch.equal(exclude_neighbours(scores, two_clicks(), torch.tensor([0, 1]), weight=3.0), scores)


def test_weight_zero_changes_nothing():
    scores = random_scores(2, (2, 2))
    assert torch.equal(exclude_neighbours(scores, two_clicks(), torch.tensor([0, 0]), weight=0.0), scores)


def test_clicks_are_taken_a_few_at_a_time(monkeypatch):
    case = random_case(4, num_prompts=7)
    scores, images = random_scores(4, case.bags.valid.shape), case.prompts.image_index
    whole = exclude_neighbours(scores, case.bags, images, weight=1.0)
    monkeypatch.setattr(mask_operations, "_CHUNK_ELEMENTS", 2 * case.bags.masks[0].numel())
    torch.testing.assert_close(exclude_neighbours(scores, case.bags, images, weight=1.0), whole)


def test_no_click_at_all_is_no_error():
    batch = blank_batch(size_divisor=32, mask_stride=4)
    image_index = batch.prompts.image_index
    assert exclude_neighbours(batch.bags.scores, batch.bags, image_index, weight=1.0).shape == (0, 1)
