"""Run-length masks: sizes without pixels, damaged strings, and points under masks."""

from __future__ import annotations

import numpy as np
import pytest

from data_builders import box_mask
from sapnet.data.mask_grid import mask_shares, masks_on_grid
from sapnet.data.rle import decode_masks, encode_mask, mask_area, mask_box, masks_cover_points, run_lengths


def test_no_masks_give_empty_arrays():
    assert decode_masks([], (3, 4)).shape == (0, 3, 4)
    assert mask_area([], (3, 4)).shape == (0,)
    assert mask_box([], (3, 4)).shape == (0, 4)
    assert run_lengths([])[1].tolist() == [0]
    assert mask_shares([], (3, 4), np.arange(4.0), np.arange(5.0)).shape == (0, 3, 4)
    assert masks_on_grid([], (3, 4), np.arange(4.0), np.arange(5.0)).shape == (0, 3, 4)


def test_an_empty_mask_has_a_zero_box_and_covers_no_cell():
    counts = [encode_mask(np.zeros((3, 4), dtype=bool))]
    assert mask_box(counts, (3, 4)).tolist() == [[0, 0, 0, 0]]
    assert not masks_on_grid(counts, (3, 4), np.array([0.0, 3]), np.array([0.0, 4])).any()


def test_a_tiny_mask_keeps_one_cell():
    counts = [encode_mask(box_mask((40, 40), 21, 3, 22, 4))]
    grid = masks_on_grid(counts, (40, 40), np.linspace(0, 40, 6), np.linspace(0, 40, 6))
    assert np.argwhere(grid[0]).tolist() == [[0, 2]]


def test_a_point_outside_the_image_is_covered_by_nothing():
    counts = [encode_mask(np.ones((3, 4), dtype=bool))]
    xy = np.array([[0.0, 0], [3.99, 2.99], [4, 0], [0, 3], [-0.01, 0], [1e12, 1]])
    covered = masks_cover_points(counts, (3, 4), np.zeros(6, dtype=int), xy)
    assert covered.tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize("text", [b"\x01", b"\xff", b"P", b"oooooooooooooooooooooooo0"])
def test_a_damaged_string_is_refused(text):
    with pytest.raises(ValueError, match="damaged"):
        run_lengths([encode_mask(np.ones((3, 4), dtype=bool)), text], (3, 4))


def test_runs_of_another_size_are_refused():
    with pytest.raises(ValueError, match="do not fill"):
        run_lengths([encode_mask(np.ones((4, 4), dtype=bool))], (3, 4))
