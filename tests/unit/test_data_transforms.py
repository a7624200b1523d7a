"""Image, clicks, boxes and masks move together from the original to the input frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data_builders import box_mask
from sapnet.data.rle import encode_mask
from sapnet.data.transforms import (
    Geometry,
    grid_size,
    input_size,
    move_boxes,
    move_image,
    move_masks,
    move_points,
    normalise,
)


@pytest.mark.parametrize(
    ("original", "expected"),
    [((48, 64), (320, 427)), ((64, 48), (427, 320)), ((100, 1000), (51, 512)), ((1, 4000), (1, 512))],
)
def test_the_short_side_is_reached_unless_the_long_side_gets_too_long(original, expected):
    assert input_size(original, short_side=320, max_long_side=512) == expected


def test_a_mirrored_position_is_counted_from_the_other_border():
    geometry = Geometry((10, 20), (10, 20), flipped=True)
    assert move_points(np.array([[0.0, 3.0], [19.5, 0.0]]), geometry).tolist() == [[20, 3], [0.5, 0]]
    assert move_boxes(np.array([[1.0, 2, 5, 6]]), geometry).tolist() == [[15, 2, 19, 6]]


@pytest.mark.parametrize("flipped", [False, True])
def test_a_square_its_click_its_box_and_its_mask_stay_together(flipped):
    size, geometry = (60, 90), Geometry((60, 90), (80, 120), flipped)
    mask = box_mask(size, 12, 15, 42, 45)
    image = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
    moved = move_image(image, geometry)[0] > 127
    box = move_boxes(np.array([[12.0, 15, 42, 45]]), geometry)[0]
    x, y = move_points(np.array([[27.0, 30.0]]), geometry)[0]
    grid = move_masks([encode_mask(mask)], geometry, stride=4)[0]
    left, top, right, bottom = (int(side) for side in box)
    expected = torch.zeros((80, 120), dtype=torch.bool)
    expected[top:bottom, left:right] = True
    assert torch.equal(moved, expected)
    assert (float(x), float(y)) == ((left + right) / 2, (top + bottom) / 2)
    assert torch.equal(grid, expected[2::4, 2::4])


def test_the_last_cells_are_judged_by_the_part_inside_the_picture():
    geometry = Geometry((9, 6), (9, 6))
    assert grid_size((9, 6), 4) == (3, 2)
    counts = [encode_mask(np.ones((9, 6), dtype=bool))]
    assert move_masks(counts, geometry, stride=4).all()


def test_no_boxes_points_or_masks_give_empty_tensors():
    geometry = Geometry((8, 8), (16, 16), flipped=True)
    assert move_boxes(np.zeros((0, 4)), geometry).shape == (0, 4)
    assert move_points(np.zeros((0, 2)), geometry).shape == (0, 2)
    assert move_masks([], geometry, stride=4).shape == (0, 4, 4)


def test_boxes_that_leave_the_image_are_not_cut():
    geometry = Geometry((10, 20), (20, 40))
    assert move_boxes(np.array([[-5.0, -1, 30, 11]]), geometry).tolist() == [[-10, -2, 60, 22]]


def test_normalising_gives_zero_at_the_mean():
    image = torch.full((3, 2, 2), 255, dtype=torch.uint8)
    result = normalise(image, mean=(1.0, 0.5, 0.0), std=(1.0, 0.5, 0.25))
    assert result[:, 0, 0].tolist() == [0, 1, 4]


def test_plain_tensors_come_out():
    geometry = Geometry((8, 8), (16, 16))
    assert type(move_boxes(np.zeros((1, 4)), geometry)) is torch.Tensor
    assert type(move_image(np.zeros((8, 8, 3), dtype=np.uint8), geometry)) is torch.Tensor
