"""What a format cannot hold, counted while it is written."""

from __future__ import annotations

from collections import Counter

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from sapnet.labels.label_set import LabelSet

Losses = Counter[str]
"""What was lost to how many (objects, parts, holes, pixels): ``{"holes_filled": 3, ...}``."""


def rows_to_write(labels: LabelSet, index: int, lost: Losses) -> Int[ndarray, " n"]:
    """Return the objects of an image that a format of single objects can hold.

    Crowd regions are not one object, and empty masks have no outline; both are counted in ``lost``.

    Args:
        labels: The objects.
        index: Row of the image.
        lost: Counts that are added to.
    """
    rows = labels.rows_of(index)
    crowd = labels.iscrowd[rows]
    empty = (labels.areas_of(rows) == 0) & ~crowd
    add(lost, "crowd_regions_left_out", int(crowd.sum()))
    add(lost, "empty_masks_left_out", int(empty.sum()))
    return rows[np.logical_not(crowd | empty)]


def add(lost: Losses, what: str, count: int) -> None:
    """Count something; zeros leave no entry."""
    if count:
        lost[what] += count
