"""Brings masks from the cells of their windows to the pixels of an image, or to some of its pixels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray


def paste_masks(
    logits: Float[ndarray, "n N N"],
    rectangles: Float[ndarray, "n 4"],
    columns: Float[ndarray, " w"],
    rows: Float[ndarray, " h"],
    *,
    by_column: bool = False,
) -> Bool[ndarray, "n h w"]:
    """Return where masks lie on a grid of positions: where the bilinear mean of their logits is above 0.

    Beyond the middles of a window's outermost cells, their logits go on; off the window there is no mask.

    Args:
        logits: Cells of every mask.
        rectangles: The masks' windows ``xyxy``, in the frame of the positions.
        columns: The x of every column of the grid, rising.
        rows: The y of every row, rising.
        by_column: Whether the masks' columns lie one after the other in memory, as run-length encoding
            reads them, and not their rows.
    """
    shape = (len(columns), len(rows)) if by_column else (len(rows), len(columns))
    drawn = np.zeros((len(logits), *shape), dtype=bool)
    cells = logits.astype(np.float32)
    before: list[float] | None = None
    # A window is often a small part of the grid, and only there is anything to compute.
    for mask, own, rectangle in zip(drawn, cells, rectangles.tolist(), strict=True):
        # The masks of a window mostly follow one another.
        if rectangle != before:
            left, top, right, bottom = before = rectangle
            across, wide = _interpolation(columns, left, right, logits.shape[-1])
            down, high = _interpolation(rows, top, bottom, logits.shape[-1])
        # Each row of the weights has two numbers at most that are not 0: the order of sums is no matter.
        if by_column:
            np.greater(across @ (down @ own).T, 0.0, out=mask[wide, high])
        else:
            np.greater(down @ own @ across.T, 0.0, out=mask[high, wide])
    return drawn.transpose(0, 2, 1) if by_column else drawn


def masks_at_points(
    logits: Float[ndarray, "n N N"], rectangles: Float[ndarray, "n 4"], points: Float[ndarray, "p 2"]
) -> Bool[ndarray, "n p"]:
    """Return which masks lie on which points ``(x, y)`` of the frame of their windows."""
    covered = np.zeros((len(logits), len(points)), dtype=bool)
    for number, (x, y) in enumerate(points):
        covered[:, number] = paste_masks(logits, rectangles, np.array([x]), np.array([y]))[:, 0, 0]
    return covered


def _interpolation(
    positions: ndarray, low: float, high: float, cells: int
) -> tuple[Float[ndarray, "p N"], slice]:
    """Return the weight of every cell at the positions on a window, and which positions those are."""
    share = (positions - low) / max(high - low, 1e-6)
    start, stop = np.searchsorted(share, [0.0, np.nextafter(1.0, 2.0)])
    place = np.clip(share[start:stop] * cells - 0.5, 0.0, cells - 1.0)
    first = np.minimum(place.astype(np.int64), max(cells - 2, 0))
    weights = np.zeros((len(place), cells), dtype=np.float32)
    index = np.arange(len(place))
    weights[index, first] = 1.0 - (place - first)
    if cells > 1:
        weights[index, first + 1] = place - first
    return weights, slice(int(start), int(stop))
