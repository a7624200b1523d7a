"""Clicks simulated from ground-truth masks, one per non-crowd instance.

Every click has a random generator of its own, from (seed, annotation id), so it does not depend on
which other instances the file has or in which order.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from sapnet.data.annotations import InstanceSet, PointSet
from sapnet.data.coco_json import parse_extras
from sapnet.data.columns import PointsColumn, StringColumn
from sapnet.data.rle import decode_masks, mask_box
from sapnet.errors import InputError, nearest

Mode = Literal["center", "quasi-center", "random"]

_GAUSSIAN_SIGMA = 0.25
"""Standard deviation, as a share of the box side."""
_ELLIPSE_SHARE = 0.25
_MAX_SEMI_AXIS = 96.0


def sample_points(instances: InstanceSet, mode: Mode, seed: int) -> PointSet:
    """Draw one click per non-crowd instance.

    Args:
        instances: The ground truth. Its annotation ids, images and categories are kept; masks,
            boxes and other keys of the annotations are not.
        mode: ``center``: the mask pixel nearest the mask's centroid. ``quasi-center``: see
            :func:`quasi_center`. ``random``: a uniformly drawn mask pixel.
        seed: Seed of the draws.

    Returns:
        Clicks within their images. An instance whose mask is empty (for quasi-center: or under two
        pixels wide or high) gets a vertex of its first polygon, or without one its box's centre.

    Raises:
        InputError: There is no such mode.
    """
    if mode not in _SAMPLERS:
        names = ", ".join(_SAMPLERS)
        raise InputError("mode", [f"there is no mode {mode!r}{nearest(mode, _SAMPLERS)}; modes: {names}"])
    rows = np.flatnonzero(~instances.iscrowd)
    xy = [_sample(instances, int(row), mode, seed) for row in rows]
    kept = {key: value for key, value in parse_extras(instances.extra).items() if key in {"info", "licenses"}}
    return PointSet(
        images=instances.images,
        categories=instances.categories,
        annotation_ids=instances.annotation_ids[rows],
        annotation_image_index=instances.annotation_image_index[rows],
        annotation_labels=instances.annotation_labels[rows],
        annotation_extras=StringColumn.of([""] * len(rows)),
        extra=json.dumps({**kept, "sampled": {"mode": mode, "seed": seed}}),
        xy=np.asarray(xy, dtype=np.float64).reshape(-1, 2),
        extra_points=PointsColumn.empty(len(rows)),
        negative_points=PointsColumn.empty(len(rows)),
    )


def quasi_center(mask: Bool[ndarray, "h w"], rng: np.random.Generator) -> Float[ndarray, " 2"]:
    """Draw a point near the centre of a mask, as the paper's quasi-centre points are.

    A Gaussian over the box (deviation a quarter of each side) times the mask, times a central
    ellipse (semi-axes an eighth of each side, at most 96 pixels) unless that leaves nothing; one
    pixel is drawn with these weights, and the point falls anywhere on it.

    Args:
        mask: A mask cropped to its box, not empty.
        rng: The generator.

    Returns:
        ``(x, y)`` in pixels from the top-left corner of the crop.
    """
    height, width = mask.shape
    y = ((np.arange(height) + 0.5) / height - 0.5)[:, None]
    x = ((np.arange(width) + 0.5) / width - 0.5)[None, :]
    weights = np.exp(-((x / _GAUSSIAN_SIGMA) ** 2 + (y / _GAUSSIAN_SIGMA) ** 2) / 2) * mask
    semi_x = min(_MAX_SEMI_AXIS, _ELLIPSE_SHARE * width / 2)
    semi_y = min(_MAX_SEMI_AXIS, _ELLIPSE_SHARE * height / 2)
    central = weights * ((x * width / semi_x) ** 2 + (y * height / semi_y) ** 2 <= 1)
    cumulative = np.cumsum(central if central.any() else weights)
    pixel = int(np.searchsorted(cumulative, rng.uniform() * cumulative[-1], side="right"))
    row, column = divmod(min(pixel, mask.size - 1), width)
    return np.array([column, row]) + 0.5 + rng.uniform(-0.5, 0.5, 2)


def mask_center(mask: Bool[ndarray, "h w"], rng: np.random.Generator | None = None) -> Float[ndarray, " 2"]:
    """Return the centre of the mask pixel nearest the mask's centroid, as ``(x, y)``."""
    del rng
    row, column = np.nonzero(mask)
    distance = (row - row.mean()) ** 2 + (column - column.mean()) ** 2
    closest = int(distance.argmin())
    return np.array([column[closest], row[closest]]) + 0.5


def random_pixel(mask: Bool[ndarray, "h w"], rng: np.random.Generator) -> Float[ndarray, " 2"]:
    """Return the centre of a uniformly drawn mask pixel, as ``(x, y)``."""
    filled = np.flatnonzero(mask)
    row, column = divmod(int(filled[rng.integers(len(filled))]), mask.shape[1])
    return np.array([column, row]) + 0.5


_SAMPLERS: dict[str, Callable[[ndarray, np.random.Generator], ndarray]] = {
    "center": mask_center,
    "quasi-center": quasi_center,
    "random": random_pixel,
}


def _sample(instances: InstanceSet, row: int, mode: Mode, seed: int) -> ndarray:
    height, width = instances.images.size(int(instances.annotation_image_index[row]))
    rng = np.random.default_rng([seed % 2**64, int(instances.annotation_ids[row]) % 2**64])
    counts = [instances.counts[row]]
    left, top, right, bottom = mask_box(counts, (height, width))[0].astype(int)
    least = 2 if mode == "quasi-center" else 1
    if min(right - left, bottom - top) < least:
        point = _without_mask(instances, row, rng)
    else:
        mask = decode_masks(counts, (height, width))[0, top:bottom, left:right]
        point = np.array([left, top]) + _SAMPLERS[mode](mask, rng)
    return np.clip(point, 0, np.nextafter([width, height], 0))


def _without_mask(instances: InstanceSet, row: int, rng: np.random.Generator) -> ndarray:
    vertices = instances.polygons.of_row(row)
    if len(vertices):
        return vertices[rng.integers(len(vertices))]
    return instances.boxes[row].reshape(2, 2).mean(axis=0)
