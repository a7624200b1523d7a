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
) -> Bool[ndarray, "n h w"]:
    """Return where masks lie on a grid of positions: where the bilinear mean of their logits is above 0.

    Beyond the middles of a window's outermost cells, their logits go on; off the window there is no mask.

    Args:
        logits: Cells of every mask.
        rectangles: The masks' windows ``xyxy``, in the frame of the positions.
        columns: The x of every column of the grid.
        rows: The y of every row.
    """
    cells = logits.shape[-1]
    across = _interpolation(columns, rectangles[:, 0], rectangles[:, 2], cells)
    down = _interpolation(rows, rectangles[:, 1], rectangles[:, 3], cells)
    # Each row of the weights has two numbers at most that are not 0: the order of the sums is no matter.
    values = down @ logits.astype(np.float32) @ across.transpose(0, 2, 1)
    return np.asarray(values > 0.0)


def _interpolation(positions: ndarray, low: ndarray, high: ndarray, cells: int) -> Float[ndarray, "n p N"]:
    """Return the weight of every cell at every position; all 0 off the window."""
    share = (positions[None] - low[:, None]) / np.maximum(high - low, 1e-6)[:, None]
    place = np.clip(share * cells - 0.5, 0.0, cells - 1.0)
    weights = np.maximum(1.0 - np.abs(place[..., None] - np.arange(cells)), 0.0)
    return (weights * ((share >= 0.0) & (share <= 1.0))[..., None]).astype(np.float32)
