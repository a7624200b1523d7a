"""What packed masks know, cell by cell."""

import numpy as np


def border_of(mask):
    """Return the cells of a mask with a 4-neighbour on the grid that is outside it."""
    height, width = mask.shape
    border = np.zeros_like(mask)
    for row, column in np.argwhere(mask):
        near = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
        border[row, column] = any(0 <= y < height and 0 <= x < width and not mask[y, x] for y, x in near)
    return border


def iou_of(first, second):
    """Return the IoU of two masks; 0 for two empty ones."""
    return (first & second).sum() / max((first | second).sum(), 1)
