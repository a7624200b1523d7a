"""The weightless proposer: its tree, its candidates, and what it makes of simple pictures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from oracles.candidates import score
from oracles.region_tree import components, merge_regions
from proposal_builders import prompts_at, same_proposals
from sapnet.config import RegionProposerConfig
from sapnet.proposals.candidates import (
    Evidence,
    boundary_pixels,
    covers,
    distinct_best,
    pairwise_overlap,
    score_candidates,
)
from sapnet.proposals.grabcut import SQUARE_SHARES, grabcut_masks
from sapnet.proposals.proposer import Proposer
from sapnet.proposals.region_tree import build_region_tree, color_gradient
from sapnet.proposals.regions import RegionProposer

NONE = np.zeros((0, 2))


def picture(size=(90, 120), seed=0):
    """A green field with a red and a purple patch next to each other, and some noise."""
    image = np.empty((*size, 3), dtype=np.uint8)
    image[:] = (60, 140, 60)
    image[30:60, 30:60] = (190, 40, 40)
    image[30:60, 60:80] = (150, 40, 110)
    noise = np.random.default_rng(seed).integers(-6, 7, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def red():
    mask = np.zeros((90, 120), dtype=bool)
    mask[30:60, 30:60] = True
    return mask


def test_the_tree_is_what_greedy_merging_gives_written_out(rng):
    image = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    tree = build_region_tree(np.kron(image, np.ones((2, 2, 1), dtype=np.uint8)))
    import cv2

    lab = cv2.cvtColor(np.kron(image, np.ones((2, 2, 1), dtype=np.uint8)), cv2.COLOR_RGB2LAB).astype(
        np.float32
    )
    expected = merge_regions(tree.leaves, color_gradient(lab), lab, color_weight=0.1, area_power=0.3)
    assert len(expected) == len(tree.parent)
    masks = tree.masks(np.arange(len(tree.parent)))
    for mask, height, area, (pixels, cost) in zip(masks, tree.height, tree.area, expected, strict=True):
        assert {tuple(place) for place in np.argwhere(mask).tolist()} == pixels
        assert height == pytest.approx(cost, rel=1e-5)
        assert area == len(pixels)


def test_heights_rise_and_regions_nest_along_every_path():
    tree = build_region_tree(picture())
    nodes = tree.path(45, 45)
    assert np.all(np.diff(tree.height[nodes]) >= 0)
    masks = tree.masks(nodes)
    assert masks[:, 45, 45].all()
    assert masks[-1].all()
    assert all((small & ~large).sum() == 0 for small, large in itertools.pairwise(masks))


def test_leaves_are_connected():
    tree = build_region_tree(picture(size=(20, 24)))
    for leaf in range(len(tree.place)):
        assert len(components(tree.leaves == leaf)) == 1


def test_an_image_of_one_colour_is_one_leaf():
    tree = build_region_tree(np.full((5, 6, 3), 90, dtype=np.uint8))
    assert tree.parent.tolist() == [0]
    assert tree.path(2, 3).tolist() == [0]


def test_the_gradient_of_a_step_is_its_height():
    lab = np.zeros((40, 40, 3), dtype=np.float32)
    lab[:, 20:, 0] = 50.0
    gradient = color_gradient(lab)
    assert gradient[20, 19:21].max() == pytest.approx(50.0, rel=0.15)
    assert gradient[20, 0] == pytest.approx(0.0, abs=1e-4)


def test_scores_are_what_the_loop_gives(rng):
    masks = np.zeros((4, 12, 15), dtype=bool)
    masks[0, 2:8, 3:9] = masks[1, 3:8, 3:10] = masks[2, :, 5:] = masks[3] = True
    points = {
        "inside": np.array([[4.0, 4.0], [14.5, 1.0]]),
        "outside": np.array([[12.0, 11.9], [40.0, -3.0]]),
        "neighbours": np.array([[8.9, 7.9], [1.0, 1.0], [14.0, 0.0], [13.0, 0.0], [12.0, 0.0]]),
    }
    gradient = rng.uniform(size=(12, 15))
    from_grabcut = np.array([True, False, True, False])
    xy = np.array([6.2, 5.1])
    overlap = pairwise_overlap(masks)
    found = score_candidates(
        masks, Evidence(xy, **points), gradient=gradient, from_grabcut=from_grabcut, overlap=overlap
    )
    for i in range(4):
        expected = score(masks, i, xy=xy, gradient=gradient, from_grabcut=from_grabcut, **points)
        assert found[i] == pytest.approx(expected, abs=1e-5)


def test_a_point_off_the_image_is_covered_by_nothing():
    masks = np.ones((1, 4, 5), dtype=bool)
    points = np.array([[0.0, 0.0], [4.9, 3.9], [5.0, 1.0], [-0.1, 1.0], [1.0, 4.0]])
    assert covers(masks, points).tolist() == [[True, True, False, False, False]]
    assert covers(masks, NONE).shape == (1, 0)


def test_the_boundary_leaves_out_the_rim_of_the_image():
    mask = np.zeros((1, 4, 4), dtype=bool)
    mask[0, :, :3] = True
    assert np.argwhere(boundary_pixels(mask)[0]).tolist() == [[0, 2], [1, 2], [2, 2], [3, 2]]


def test_near_duplicates_of_a_better_candidate_are_left_out():
    overlap = np.array([[1.0, 0.9, 0.2], [0.9, 1.0, 0.3], [0.2, 0.3, 1.0]])
    assert distinct_best(np.array([0.5, 0.6, 0.1]), overlap, 0.9, 5) == [1, 2]
    assert distinct_best(np.array([0.5, 0.6, 0.1]), overlap, 0.95, 2) == [1, 0]
    assert distinct_best(np.zeros(0), np.zeros((0, 0)), 0.9, 5) == []


def test_a_patch_is_the_first_proposal():
    found = RegionProposer().propose(picture(), prompts_at([[45, 45], [70, 45]]))
    first = found.masks()[[found.of_prompt(0).start, found.of_prompt(1).start]]
    assert iou(first[0], red()) > 0.85
    assert iou(first[1], np.roll(red(), 30, 1) & (np.arange(120) < 80)) > 0.8


def test_part_whole_and_group_are_all_proposed_without_grabcut():
    found = RegionProposer(grabcut=False).propose(picture(), prompts_at([[45, 45]]))
    both = red() | np.roll(red(), 20, 1)
    masks = found.masks()
    assert max(iou(mask, red()) for mask in masks) > 0.85
    assert max(iou(mask, both) for mask in masks) > 0.85
    assert set(found.kinds) == {"region-tree"}


def test_every_proposal_covers_its_click_and_none_is_a_near_duplicate():
    found = RegionProposer(masks_per_point=7, duplicate_iou=0.8).propose(
        picture(), prompts_at([[45.5, 45.5], [5.5, 5.5]])
    )
    for i, (x, y) in enumerate([(45, 45), (5, 5)]):
        masks = found.masks(found.of_prompt(i))
        assert 1 <= len(masks) <= 7
        assert masks[:, y, x].all()
        overlap = pairwise_overlap(masks) - np.eye(len(masks))
        assert overlap.max(initial=0) < 0.8


def test_scores_are_above_zero_and_keep_their_order():
    # Every candidate covers this negative point, which costs each of them more than a score has.
    prompts = prompts_at([[45, 45]], negative_xy=np.array([[45.0, 45.0]]), negative_owner=np.array([0]))
    covered = RegionProposer().propose(picture(), prompts)
    assert covered.num_proposals > 2
    assert 0 < covered.scores.min() < covered.scores.max() < 1e-3
    assert len(set(covered.scores.tolist())) == covered.num_proposals
    free = RegionProposer().propose(picture(), prompts_at([[45, 45]]))
    assert free.scores.max() > 0.1


def test_a_negative_point_is_outside_and_a_further_point_draws_the_choice_to_itself():
    proposer = RegionProposer()
    plain = proposer.propose(picture(), prompts_at([[45, 45]]))
    assert covers(plain.masks(), np.array([[70.0, 45.0]])).any()
    owner = np.zeros(1, dtype=np.int64)
    without = proposer.propose(
        picture(), prompts_at([[45, 45]], negative_xy=np.array([[70.0, 45.0]]), negative_owner=owner)
    )
    assert not covers(without.masks(), np.array([[70.0, 45.0]])).any()
    wider = proposer.propose(
        picture(), prompts_at([[45, 45]], extra_xy=np.array([[70.0, 45.0]]), extra_owner=owner)
    )
    assert wider.masks()[0, 45, 70]


def test_other_clicks_are_ground_for_grabcut():
    image = picture()
    image[30:60, 60:80] = image[30:60, 40:60]
    alone = grabcut_masks(image, np.array([45.0, 45.0]), NONE, NONE)
    beside = grabcut_masks(image, np.array([45.0, 45.0]), NONE, np.array([[72.0, 45.0]]))
    assert len(alone) == len(SQUARE_SHARES)
    assert not beside[:, 45, 72].any()
    assert alone[:, 45, 72].any()


def test_a_picture_of_one_colour_still_gives_a_proposal():
    found = RegionProposer().propose(np.full((40, 60, 3), 77, dtype=np.uint8), prompts_at([[30, 20]]))
    assert found.num_proposals >= 1
    bare = RegionProposer(grabcut=False).propose(
        np.full((40, 60, 3), 77, dtype=np.uint8), prompts_at([[30, 20]])
    )
    assert bare.kinds == ("square",)
    assert bare.boxes.tolist() == [[27, 17, 33, 23]]


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (2, 3), (700, 40)])
def test_odd_sizes_and_clicks_off_the_image_work(size, rng):
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    found = RegionProposer().propose(image, prompts_at([[-5.0, 1e6], [size[1], size[0]]]))
    assert found.image_size == size
    assert set(found.prompt_index.tolist()) == {0, 1}


def test_no_clicks_give_no_proposals():
    found = RegionProposer().propose(picture(), prompts_at(NONE))
    assert found.num_proposals == 0
    assert found.masks().shape == (0, 90, 120)


def test_proposals_are_repeatable_and_at_the_original_size():
    image = np.kron(picture(), np.ones((2, 2, 1), dtype=np.uint8))
    prompts = prompts_at([[90, 90]])
    proposer = RegionProposer(working_long_side=120)
    found = proposer.propose(image, prompts)
    assert same_proposals(found, proposer.propose(image, prompts))
    assert found.image_size == (180, 240)
    assert max(iou(mask, np.kron(red(), np.ones((2, 2), dtype=bool))) for mask in found.masks()) > 0.8


def test_the_settings_are_those_of_the_configuration():
    settings = RegionProposerConfig().model_dump()
    proposer = RegionProposer(**settings)
    assert isinstance(proposer, Proposer)
    assert {key: proposer.settings[key] for key in settings} == settings
