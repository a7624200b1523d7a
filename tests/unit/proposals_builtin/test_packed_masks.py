"""Masks as bits say what the masks say cell by cell."""

import numpy as np
import pytest

from oracles.packed_masks import border_of, iou_of
from sapnet.proposals.builtin.packed_masks import PackedMasks

WIDTHS = (1, 7, 63, 64, 65, 128, 130)
"""On both sides of where a word ends."""


def masks_of(width, height=9, seed=0):
    """Noise, thick and thin, a mask of every cell, single cells in corners, and the rims."""
    random = np.random.default_rng(seed)
    masks = random.random((8, height, width)) < np.array([0.1, 0.5, 0.9, 2, 0, 0, 0, 0])[:, None, None]
    masks[4, 0, 0] = masks[5, -1, -1] = True
    masks[6, :, [0, -1]] = True
    masks[7, [0, -1]] = True
    masks[:3, height // 2, 0] = True
    return masks


@pytest.mark.parametrize("width", WIDTHS)
def test_masks_are_the_same_when_unpacked(width):
    masks = masks_of(width)
    packed = PackedMasks.of(masks)
    assert np.array_equal(packed.unpacked(), masks)
    assert len(packed) == len(masks)
    assert packed.area().tolist() == masks.sum((1, 2)).tolist()
    assert np.array_equal(
        PackedMasks.of(masks.transpose(0, 2, 1).copy().transpose(0, 2, 1)).bits, packed.bits
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_borders_and_cells_are_those_found_one_by_one(width):
    masks = masks_of(width)
    packed = PackedMasks.of(masks)
    borders = packed.borders()
    assert np.array_equal(borders.unpacked(), [border_of(mask) for mask in masks])
    owner, place = borders.cells()
    flat = np.flatnonzero(borders.unpacked())
    assert np.array_equal(owner * masks[0].size + place, flat)


@pytest.mark.parametrize("width", WIDTHS)
def test_sums_over_masks_are_those_of_their_cells(width):
    masks = masks_of(width)
    values = np.random.default_rng(1).integers(0, 1000, (2, masks[0].size)).astype(float)
    running = np.concatenate([np.zeros((2, 1)), np.cumsum(values, axis=1)], axis=1)
    expected = masks.reshape(len(masks), -1) @ values.T
    assert PackedMasks.of(masks).sums(running).tolist() == expected.tolist()


@pytest.mark.parametrize("width", WIDTHS)
def test_overlaps_and_boxes_are_those_of_every_mask(width):
    masks = masks_of(width)
    packed = PackedMasks.of(masks)
    expected = np.array([[iou_of(a, b) for b in masks] for a in masks])
    assert np.array_equal(packed.overlap(), expected.astype(np.float32))
    for box, mask in zip(packed.boxes(), masks, strict=True):
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_an_empty_mask_overlaps_nothing_and_is_known_as_empty():
    masks = np.zeros((3, 5, 70), dtype=bool)
    masks[1, 2, 66] = True
    packed = PackedMasks.of(masks)
    assert packed.any().tolist() == [False, True, False]
    assert packed.overlap().tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_no_masks_at_all_are_fine():
    packed = PackedMasks.of(np.zeros((0, 5, 70), dtype=bool))
    assert packed.overlap().shape == (0, 0)
    assert packed.unpacked().shape == (0, 5, 70)
    assert packed.borders().cells()[0].shape == (0,)
    assert packed.covers(np.array([[1.0, 1.0]])).shape == (0, 1)


def test_points_off_the_grid_are_covered_by_none():
    packed = PackedMasks.of(np.ones((1, 5, 70), dtype=bool))
    points = np.array([[0, 0], [69.9, 4.9], [70, 0], [0, 5], [-0.1, 0], [64, 2]])
    assert packed.covers(points).tolist() == [[True, True, False, False, False, True]]


def test_masks_are_taken_and_joined_in_order():
    packed = PackedMasks.of(masks_of(65))
    both = packed.take(np.array([2, 0])).joined([packed.take(np.arange(8) == 5)])
    assert np.array_equal(both.unpacked(), masks_of(65)[[2, 0, 5]])
