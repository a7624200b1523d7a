"""Run-length encoded masks (compressed COCO counts) and what can be read off them undecoded.

A mask of size ``(height, width)`` is a string that encodes the lengths of alternating runs of
empty and filled pixels, first empty, column by column. Boxes are ``xyxy``, half-open, in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from pycocotools import mask as coco_mask

_NUMBERS = (int, float)
# Beyond these, pycocotools' C code runs out of memory or of integers, and takes the process with it.
_LARGEST_IMAGE = 1 << 29
_FARTHEST_VERTEX = 1e8
_LONGEST_OUTLINE = 1e7


def encode_mask(mask: Bool[ndarray, "H W"]) -> bytes:
    """Return the compressed COCO counts of a mask."""
    return bytes(coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"])


def decode_masks(counts: Sequence[bytes], size: tuple[int, int]) -> Bool[ndarray, "n H W"]:
    """Decode masks of one size.

    Args:
        counts: n compressed counts.
        size: ``(height, width)``.

    Raises:
        ValueError: A string does not describe a mask of that size.
    """
    if len(counts) == 0 or 0 in size:
        return np.zeros((len(counts), *size), dtype=bool)
    decoded = coco_mask.decode(_objects(counts, size))
    return np.ascontiguousarray(decoded.transpose(2, 0, 1)).astype(bool)


def mask_area(counts: Sequence[bytes], size: tuple[int, int]) -> Int[ndarray, " n"]:
    """Return the number of pixels of each mask."""
    areas = np.zeros(len(counts), dtype=np.int64)
    # With NumPy 2, pycocotools' area fails for more than 255 masks at once.
    for start in range(0, len(counts), 255):
        part = slice(start, start + 255)
        areas[part] = coco_mask.area(_objects(counts[part], size))
    return areas


def mask_box(counts: Sequence[bytes], size: tuple[int, int]) -> Float[ndarray, "n 4"]:
    """Return the tight box of each mask; zeros for an empty mask."""
    if len(counts) == 0:
        return np.zeros((0, 4))
    boxes = np.asarray(coco_mask.toBbox(_objects(counts, size)), dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def run_lengths(
    counts: Sequence[bytes], size: tuple[int, int] | None = None
) -> tuple[Int[ndarray, " R"], Int[ndarray, " n+1"]]:
    """Decode the run lengths of many masks at once.

    A character holds five bits and a flag "more follow"; from the third run on, the difference to
    the run before the last is stored.

    Args:
        counts: n compressed counts.
        size: ``(height, width)``; where given, the runs of every mask must fill it.

    Returns:
        The runs of all masks one after the other, and the n + 1 offsets of the masks in them.

    Raises:
        ValueError: A string is cut off, has characters that cannot occur, or does not fill ``size``.
    """
    lengths = np.asarray([len(item) for item in counts], dtype=np.int64)
    characters = np.frombuffer(b"".join(counts), dtype=np.uint8).astype(np.int64) - 48
    string_ends = np.cumsum(lengths)
    is_last = (characters & 0x20) == 0
    if np.any((characters < 0) | (characters > 63)) or not np.all(is_last[string_ends[lengths > 0] - 1]):
        raise ValueError("the run-length string is damaged")
    values = _variable_length_numbers(characters, np.flatnonzero(is_last))
    offsets = np.concatenate([[0], np.concatenate([[0], np.cumsum(is_last)])[string_ends]])
    within = np.arange(len(values)) - np.repeat(offsets[:-1], np.diff(offsets))
    runs = values.copy()
    string_of = np.repeat(np.arange(len(counts)), np.diff(offsets))
    # Undo the differences: two chains per string, the odd runs and the even runs from the second on.
    for chain in (within % 2 == 1, (within % 2 == 0) & (within > 0)):
        total = np.cumsum(values[chain])
        owners = string_of[chain]
        first = np.flatnonzero(np.diff(owners, prepend=-1))
        base = np.repeat(total[first] - values[chain][first], np.diff(np.append(first, len(owners))))
        runs[chain] = total - base
    if size is not None:
        sums = np.diff(np.concatenate([[0], np.cumsum(runs)])[offsets])
        if np.any(runs < 0) or np.any(sums != size[0] * size[1]):
            raise ValueError(f"the runs do not fill an image of height {size[0]} and width {size[1]}")
    return runs, offsets


def encode_runs(changes: Int[ndarray, " c"], size: tuple[int, int]) -> bytes:
    """Return the compressed counts of a mask from where it begins and ends along its columns.

    Args:
        changes: Pixels, column by column, at which the mask begins, ends, begins, ...; increasing.
        size: ``(height, width)``.
    """
    runs = np.diff(changes, prepend=0, append=size[0] * size[1])
    runs = runs[: len(runs) - int(runs[-1] == 0)]
    return bytes(coco_mask.frPyObjects({"size": list(size), "counts": runs.tolist()}, *size)["counts"])


def masks_cover_points(
    counts: Sequence[bytes],
    size: tuple[int, int],
    mask_index: Int[ndarray, " Q"],
    xy: Float[ndarray, "Q 2"],
) -> Bool[ndarray, " Q"]:
    """Tell for pairs of a mask and a point whether the pixel under the point is filled.

    Args:
        counts: n compressed counts.
        size: ``(height, width)`` of the masks.
        mask_index: Which of the n masks, per pair.
        xy: The point of each pair; a point outside the image is covered by nothing.

    Raises:
        ValueError: A mask does not fill ``size``.
    """
    height, width = size
    column, row = np.floor(xy[:, 0]), np.floor(xy[:, 1])
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixel = np.where(inside, column * height + row, 0).astype(np.int64)
    runs, offsets = run_lengths(counts, size)
    # Every mask takes height * width positions of one long line, so one search serves all pairs.
    run = np.searchsorted(np.cumsum(runs), mask_index * (height * width) + pixel, side="right")
    return inside & ((run - offsets[mask_index]) % 2 == 1)


def segmentation_to_counts(segmentation: Any, size: tuple[int, int]) -> bytes:
    """Convert a COCO ``segmentation`` to compressed counts.

    Args:
        segmentation: A list of polygons (flat ``[x, y, x, y, ...]`` lists, united), or a mapping
            with ``size`` and ``counts``, the latter compressed (str or bytes) or a list of runs.
            Polygons of fewer than three points enclose nothing and are left out.
        size: ``(height, width)`` of the image.

    Raises:
        ValueError: The segmentation is malformed; the message says how.
    """
    if size[0] * size[1] > _LARGEST_IMAGE:
        raise ValueError(f"a mask of {size[0]} x {size[1]} pixels (height x width) is too large")
    if isinstance(segmentation, Mapping):
        return _counts_of_run_lengths(segmentation, size)
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str | bytes):
        raise ValueError("segmentation must be a list of polygons or an object with size and counts")
    polygons = polygons_of(segmentation)
    if not polygons:
        return encode_mask(np.zeros(size, dtype=bool))
    merged = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))
    return bytes(merged["counts"])


def polygons_of(segmentation: Sequence[Any]) -> list[list[float]]:
    """Return the polygons of at least three points of a COCO polygon list.

    Raises:
        ValueError: A polygon is no flat list of finite x, y pairs.
    """
    polygons = []
    for polygon in segmentation:
        if not isinstance(polygon, Sequence) or isinstance(polygon, str | bytes):
            raise ValueError("each polygon of segmentation must be a flat list [x, y, x, y, ...]")
        if any(type(value) not in _NUMBERS or not math.isfinite(value) for value in polygon):
            raise ValueError("a polygon of segmentation holds something that is no finite number")
        if len(polygon) % 2:
            raise ValueError(f"a polygon of segmentation has {len(polygon)} numbers, expected x, y pairs")
        if len(polygon) >= 6:
            polygons.append([float(value) for value in polygon])
            if not _can_be_drawn(polygons[-1]):
                raise ValueError("a polygon of segmentation lies far outside of any image")
    return polygons


def _can_be_drawn(polygon: list[float]) -> bool:
    low, high = min(polygon), max(polygon)
    if max(-low, high) > _FARTHEST_VERTEX:
        return False
    if len(polygon) * (high - low) <= _LONGEST_OUTLINE:  # no outline of so few vertices is longer
        return True
    vertices = np.asarray(polygon).reshape(-1, 2)
    steps = np.abs(vertices - np.roll(vertices, 1, axis=0)).max(axis=1)
    return bool(steps.sum() <= _LONGEST_OUTLINE)


def _variable_length_numbers(characters: ndarray, last: ndarray) -> ndarray:
    first = np.concatenate([[0], last[:-1] + 1])[: len(last)].astype(np.int64)
    lengths = last - first + 1
    if len(lengths) and lengths.max() > 12:
        raise ValueError("the run-length string is damaged")
    place = np.arange(len(characters)) - np.repeat(first, lengths)
    parts = (characters & 0x1F) << (5 * place)
    values = np.add.reduceat(parts, first) if len(first) else np.zeros(0, dtype=np.int64)
    return np.where(characters[last] & 0x10, values - (np.int64(1) << (5 * lengths)), values)


def _counts_of_run_lengths(segmentation: Mapping[str, Any], size: tuple[int, int]) -> bytes:
    stored, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(stored, Sequence) or list(stored) != list(size):
        raise ValueError(f"segmentation has size {stored}, but the image is [{size[0]}, {size[1]}]")
    if isinstance(counts, str):
        counts = counts.encode("utf-8")
    if isinstance(counts, Sequence) and not isinstance(counts, bytes):
        if any(type(run) is not int or run < 0 for run in counts):
            raise ValueError("segmentation counts must be non-negative integers")
        if sum(counts) != size[0] * size[1]:
            raise ValueError(f"segmentation counts add up to {sum(counts)}, not {size[0]} * {size[1]}")
        counts = coco_mask.frPyObjects({"size": list(size), "counts": list(counts)}, *size)["counts"]
    if not isinstance(counts, bytes):
        raise ValueError("segmentation has no counts")
    run_lengths([counts], size)
    return counts


def _objects(counts: Sequence[bytes], size: tuple[int, int]) -> list[Any]:
    return [{"size": [int(size[0]), int(size[1])], "counts": item} for item in counts]
