"""Exact area averages of run-length masks on any grid, without decoding them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from sapnet.data.rle import mask_box, run_lengths

_CHUNK_VALUES = 8_000_000
# Shares that are exactly one half must pass in spite of rounding.
_TOLERANCE = 1e-5


def mask_shares(
    counts: Sequence[bytes],
    size: tuple[int, int],
    row_edges: Float[ndarray, " h+1"],
    column_edges: Float[ndarray, " w+1"],
) -> Float[ndarray, "n h w"]:
    """Return which share of every grid cell each mask fills.

    The number of filled pixels before any place of the column-by-column line of pixels is a
    piecewise linear function that the runs give directly, so a difference of two of its values is
    the filled length of a piece of a column.

    Args:
        counts: n compressed counts.
        size: ``(height, width)`` of the masks.
        row_edges: Ascending y of the cell borders, in pixels of the masks, within [0, height].
        column_edges: Ascending x of the cell borders, within [0, width].

    Returns:
        Shares in [0, 1], float32.

    Raises:
        ValueError: A mask does not fill ``size``.
    """
    shares = np.zeros((len(counts), len(row_edges) - 1, len(column_edges) - 1), dtype=np.float32)
    step = max(1, _CHUNK_VALUES // max(1, len(row_edges) * size[1]))
    for start in range(0, len(counts), step):
        part = slice(start, start + step)
        shares[part] = _shares_of_chunk(counts[part], size, row_edges, column_edges)
    return shares


def masks_on_grid(
    counts: Sequence[bytes],
    size: tuple[int, int],
    row_edges: Float[ndarray, " h+1"],
    column_edges: Float[ndarray, " w+1"],
) -> Bool[ndarray, "n h w"]:
    """Return the cells that each mask fills by at least one half.

    A mask with any pixel keeps at least its fullest cell. Arguments and errors are those of
    :func:`mask_shares`.
    """
    shares = mask_shares(counts, size, row_edges, column_edges)
    grid = shares >= 0.5 - _TOLERANCE
    if shares.size:
        flat, flat_shares = grid.reshape(len(grid), -1), shares.reshape(len(grid), -1)
        fullest = flat_shares.argmax(axis=1)
        flat[np.arange(len(flat)), fullest] |= flat_shares.max(axis=1) > 0
    return grid


def _shares_of_chunk(
    counts: Sequence[bytes], size: tuple[int, int], row_edges: ndarray, column_edges: ndarray
) -> ndarray:
    height, width = size
    runs, offsets = run_lengths(counts, size)
    within = np.arange(len(runs)) - np.repeat(offsets[:-1], np.diff(offsets))
    position = np.concatenate([[0], np.cumsum(runs)])
    filled = np.concatenate([[0], np.cumsum(np.where(within % 2 == 1, runs, 0))])
    # Only the columns that a mask touches are looked up.
    boxes = mask_box(counts, size).astype(np.int64)
    spans = boxes[:, 2] - boxes[:, 0]
    owner = np.repeat(np.arange(len(counts)), spans)
    column = np.arange(len(owner)) - np.repeat(np.cumsum(spans) - spans - boxes[:, 0], spans)
    places = (owner * width + column)[:, None] * height + row_edges
    lengths = np.diff(np.interp(places, position, filled), axis=1)
    columns = np.zeros((len(counts), width, len(row_edges) - 1), dtype=np.float32)
    columns[owner, column] = lengths
    overlap = _overlaps(column_edges, width)
    cell_heights = np.diff(row_edges)
    cell_widths = np.diff(column_edges)
    sums = np.matmul(overlap.astype(np.float32), columns).transpose(0, 2, 1)
    return sums / (cell_heights[:, None] * cell_widths[None, :])


def _overlaps(edges: ndarray, length: int) -> Float[ndarray, "w W"]:
    """Return how much of every pixel of a line lies in every cell."""
    pixel = np.arange(length)
    low = np.maximum(edges[:-1, None], pixel[None, :])
    high = np.minimum(edges[1:, None], pixel[None, :] + 1)
    return np.clip(high - low, 0, None)
