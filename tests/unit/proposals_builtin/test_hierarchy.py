"""Statistics of all regions of a tree, against counting pixels."""

import numpy as np
import pytest

from oracles import hierarchy as oracle
from sapnet.proposals.builtin.hierarchy import contour_tree, region_boxes, region_contours, region_sums


def some_tree(rng, size=(17, 23)):
    lab = rng.uniform(0, 255, (*size, 3)).astype(np.float32)
    strength = rng.uniform(0, 1, size).astype(np.float32)
    return contour_tree(strength, lab, color_weight=0.001, sharpness=1.5), strength


@pytest.fixture
def tree_and_masks(rng):
    tree, strength = some_tree(rng)
    return tree, strength, tree.masks(np.arange(len(tree.parent)))


def test_a_region_sums_what_its_pixels_hold(tree_and_masks, rng):
    tree, _, masks = tree_and_masks
    values = rng.uniform(-1, 1, (*tree.leaves.shape, 3))
    expected = [oracle.sums(mask.tolist(), values.tolist()) for mask in masks]
    assert np.allclose(region_sums(tree, np.moveaxis(values, -1, 0)), expected)


def test_a_regions_box_is_tight(tree_and_masks):
    tree, _, masks = tree_and_masks
    assert region_boxes(tree).tolist() == [oracle.box(mask.tolist()) for mask in masks]


def test_a_regions_contour_is_where_it_meets_others(tree_and_masks):
    tree, strength, masks = tree_and_masks
    contours = region_contours(tree, strength[None])
    expected = np.array([oracle.contour(mask.tolist(), strength.tolist()) for mask in masks])
    assert np.array_equal(contours.length, expected[:, 0])
    assert np.allclose(contours.strength[:, 0], expected[:, 1])


def test_a_flat_map_is_one_region_without_contour():
    flat = np.zeros((9, 12), dtype=np.float32)
    tree = contour_tree(flat, np.zeros((9, 12, 3), dtype=np.float32), color_weight=0.0, sharpness=1.0)
    contours = region_contours(tree, flat[None])
    assert len(tree.parent) == 1
    assert contours.length.tolist() == [0.0]
    assert region_boxes(tree).tolist() == [[0, 0, 12, 9]]


def test_a_drawn_square_is_a_region():
    strength = np.zeros((40, 40), dtype=np.float32)
    strength[10:31, [10, 30]] = strength[[10, 30], 10:31] = 1.0
    tree = contour_tree(strength, np.zeros((40, 40, 3), dtype=np.float32), color_weight=0.0, sharpness=1.0)
    boxes = region_boxes(tree)[tree.path(20, 20)]
    assert np.abs(boxes - [10, 10, 31, 31]).max(1).min() <= 1
