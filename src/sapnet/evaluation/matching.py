"""Overlaps between run-length encoded masks and between boxes, and the grouping of proposals.

Everything is in the original frame (pixels of the image file). Run-length encoded masks are
``{"size": [height, width], "counts": bytes}``. Boxes are ``xyxy``, half-open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from pycocotools import mask as coco_mask

Rle = dict[str, Any]

SIZE_NAMES = ("small", "medium", "large")
"""COCO's object sizes, by the area of the ground truth mask."""
SIZE_BOUNDS = (32.0**2, 96.0**2)
"""Areas in square pixels at which medium and large begin."""

_BLOCK = 16
"""Pairs per call of the pairwise routine: wastes a factor of 16 in C to save a loop in Python."""


def to_rles(counts: Sequence[bytes], sizes: Int[ndarray, "n 2"]) -> list[Rle]:
    """Return the COCO run-length objects of ``counts`` with ``(height, width)`` ``sizes``."""
    return [
        {"size": size, "counts": item} for item, size in zip(counts, np.asarray(sizes).tolist(), strict=True)
    ]


def size_index(areas: Float[ndarray, " n"]) -> Int[ndarray, " n"]:
    """Return 0, 1 or 2 (index into ``SIZE_NAMES``) for mask areas in square pixels."""
    return np.searchsorted(SIZE_BOUNDS, areas, side="right")


def mask_areas(masks: Sequence[Rle]) -> Float[ndarray, " n"]:
    """Return the number of pixels of each mask."""
    # pycocotools 2.0.11 cannot take more than 255 masks at a time here (its length is a uint8).
    parts = [coco_mask.area(list(masks[start : start + 255])) for start in range(0, len(masks), 255)]
    return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)


def mask_boxes(masks: Sequence[Rle]) -> Float[ndarray, "n 4"]:
    """Return the tight ``xyxy`` box of each mask; zeros for an empty mask."""
    boxes = np.asarray(coco_mask.toBbox(list(masks)) if masks else [], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def compactness(masks: Sequence[Rle]) -> Float[ndarray, " n"]:
    """Return R_v, the share of its tight box that each mask fills (section 4.3 of the paper).

    An empty mask has R_v = 0.
    """
    boxes = mask_boxes(masks)
    box_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.divide(mask_areas(masks), box_areas, out=np.zeros(len(boxes)), where=box_areas > 0)


def mask_iou_matrix(
    first: Sequence[Rle], second: Sequence[Rle], crowd: Sequence[int] | None = None
) -> Float[ndarray, "n m"]:
    """Return the (n, m) intersection over union of two lists of masks of one image.

    Args:
        first: n masks.
        second: m masks.
        crowd: m flags; where set, the denominator is the area of the first mask instead of the
            union, as COCO does for crowd regions. All unset where None.
    """
    if not first or not second:
        return np.zeros((len(first), len(second)))
    flags = [0] * len(second) if crowd is None else [int(flag) for flag in crowd]
    return np.asarray(coco_mask.iou(list(first), list(second), flags), dtype=np.float64)


def paired_mask_iou(first: Sequence[Rle], second: Sequence[Rle]) -> Float[ndarray, " n"]:
    """Return the intersection over union of ``first[i]`` and ``second[i]``.

    The pairs may come from different images. A pair of masks of unequal size has overlap 0, and so
    has a pair of empty masks.
    """
    overlaps = [
        np.diagonal(mask_iou_matrix(first[start : start + _BLOCK], second[start : start + _BLOCK]))
        for start in range(0, len(first), _BLOCK)
    ]
    return np.nan_to_num(np.concatenate(overlaps)).clip(0.0, 1.0) if overlaps else np.zeros(0)


def paired_box_iou(first: Float[ndarray, "n 4"], second: Float[ndarray, "n 4"]) -> Float[ndarray, " n"]:
    """Return the intersection over union of box ``first[i]`` and box ``second[i]`` (xyxy)."""
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    shared = sides.clip(min=0).prod(axis=1)
    union = (first[:, 2:] - first[:, :2]).prod(axis=1) + (second[:, 2:] - second[:, :2]).prod(axis=1) - shared
    return np.divide(shared, union, out=np.zeros(len(first)), where=union > 0)


def covers_points(
    masks: Sequence[Rle], xy: Float[ndarray, "m 2"], size: tuple[int, int]
) -> Bool[ndarray, "n m"]:
    """Tell which mask holds the pixel of which point.

    Args:
        masks: n masks of one image.
        xy: Points in pixels; a point outside the image counts as the nearest pixel of it.
        size: ``(height, width)`` of the image.
    """
    if not masks or not len(xy):
        return np.zeros((len(masks), len(xy)), dtype=bool)
    pixels = np.floor(xy).clip([0, 0], [size[1] - 1, size[0] - 1])
    # A one-pixel mask that treats the proposals as crowd regions overlaps by 1 or by 0.
    dots = coco_mask.frPyObjects(np.concatenate([pixels, np.ones_like(pixels)], axis=1), *size)
    return mask_iou_matrix(dots, masks, [1] * len(masks)).T > 0.5


def best_of_groups(group: Int[ndarray, " n"], *keys: ndarray) -> Int[ndarray, " g"]:
    """Return the row with the smallest keys in every group, in order of the group numbers.

    Args:
        group: Group of each row, any integers.
        keys: What to minimise, the most important first; ties go to the earlier row.
    """
    order = np.lexsort((*reversed(keys), group))
    _, first = np.unique(group[order], return_index=True)
    return order[first]


def ranks_in_groups(group: Int[ndarray, " n"], scores: Float[ndarray, " n"]) -> Int[ndarray, " n"]:
    """Return the 0-based rank of each row within its group by falling score (ties: earlier first)."""
    order = np.lexsort((-scores, group))
    _, first, inverse = np.unique(group[order], return_index=True, return_inverse=True)
    ranks = np.empty(len(group), dtype=np.int64)
    ranks[order] = np.arange(len(group)) - first[inverse]
    return ranks


def match_by_highest_overlap(overlaps: Float[ndarray, "n m"], threshold: float) -> Int[ndarray, " n"]:
    """Match detections to objects by the rule of the VOC tool chain.

    A detection goes to the object it overlaps most, if by at least ``threshold``; the first
    detection that goes to an object has found it and every later one is wrong, even where it
    overlaps a second, unfound object well.

    Args:
        overlaps: IoU of n detections of one class, best score first, with m objects.
        threshold: Smallest overlap of a match.

    Returns:
        1 found an object, 0 second hit on an object, -1 overlaps no object enough.
    """
    if overlaps.shape[1] == 0:
        return np.full(len(overlaps), -1, dtype=np.int64)
    target = overlaps.argmax(axis=1)
    hit = overlaps.max(axis=1) >= threshold
    outcome = np.where(hit, 0, -1)
    rows = np.flatnonzero(hit)
    _, first = np.unique(target[rows], return_index=True)
    outcome[rows[first]] = 1
    return outcome
