"""Numbers worked out by hand: run lengths, cell shares, quasi-centre weights, geometry."""

from __future__ import annotations

import numpy as np
import pytest

from oracles.mask_grid import quasi_center_weights
from sapnet.data.mask_grid import mask_shares, masks_on_grid
from sapnet.data.point_sampling import quasi_center
from sapnet.data.rle import encode_mask, run_lengths
from sapnet.data.transforms import Geometry, move_points

MASK = np.array([[0, 1, 1], [0, 1, 0]], dtype=bool)


def test_runs_go_down_the_columns_and_start_with_the_empty_ones():
    # Columns: (0, 0), (1, 1), (1, 0): two empty, three filled, one empty.
    assert run_lengths([encode_mask(MASK)])[0].tolist() == [2, 3, 1]
    # Characters hold value + 48; the third run is stored as it is, later ones as differences.
    assert encode_mask(MASK) == b"231"


def test_shares_of_cells_that_cut_pixels():
    # Cell 1 is [0, 1.5) in x: half of the middle column, 2 * 0.5 of 3 square pixels.
    # Cell 2 is [1.5, 3): the other half, and the filled upper pixel of the last column.
    shares = mask_shares([encode_mask(MASK)], (2, 3), np.array([0.0, 2]), np.array([0.0, 1.5, 3]))
    np.testing.assert_allclose(shares[0], [[1 / 3, 2 / 3]], rtol=1e-6)
    grid = masks_on_grid([encode_mask(MASK)], (2, 3), np.array([0.0, 2]), np.array([0.0, 1.5, 3]))
    assert grid[0].tolist() == [[False, True]]


def test_a_cell_that_is_exactly_half_full_is_filled():
    mask = np.array([[1, 0], [1, 0]], dtype=bool)
    assert masks_on_grid([encode_mask(mask)], (2, 2), np.array([0.0, 2]), np.array([0.0, 2])).all()


def test_points_scale_by_each_side_and_mirror_at_the_width():
    geometry = Geometry((10, 20), (30, 40), flipped=True)
    assert move_points(np.array([[5.0, 4.0]]), geometry).tolist() == [[30, 12]]


def test_quasi_centre_weights_of_a_row_of_pixels():
    # 16 x 2 pixels: semi-axes 2 and 0.25; rows lie 0.5 from the middle, outside the ellipse, so only
    # the Gaussian counts: columns 0.5 and 1.5 pixels from the middle are 1/32 and 3/32 of the width.
    weights = quasi_center_weights([[1] * 16] * 2)
    ratio = weights[0, 9] / weights[0, 8]
    assert ratio == pytest.approx(np.exp(-((3 / 32) ** 2 - (1 / 32) ** 2) / 0.0625 / 2))


def test_quasi_centres_are_as_frequent_as_their_weights():
    mask = np.ones((24, 24), dtype=bool)
    mask[12:, 12:] = False
    expected = quasi_center_weights(mask.tolist())
    rng = np.random.default_rng(0)
    drawn = np.array([quasi_center(mask, rng) for _ in range(3000)]).astype(int)
    for (row, column), weight in expected.items():
        share = np.mean((drawn[:, 1] == row) & (drawn[:, 0] == column))
        assert share == pytest.approx(weight, abs=4 * np.sqrt(weight / 3000) + 1e-9)
