"""The clicks of a row: the data set's own, drawn anew, moved, of wrong classes, or only some images'.

Everything is a function of (seed, annotation or image id), so rows of one seed share as much as they can:
more noise moves the same clicks further in the same direction, a larger share of wrong classes contains the
smaller one, and more images contain the fewer.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sapnet.bench.rows import Clicks
from sapnet.data.annotations import InstanceSet, PointSet
from sapnet.data.image_subset import only_images
from sapnet.data.point_sampling import sample_points
from sapnet.errors import DataError

_MOVED, _MISTAKEN, _CLICKED = 1, 2, 3
"""Streams of draws that do not depend on each other."""


def clicks_of(points: PointSet, instances: InstanceSet, wanted: Clicks, *, seed: int) -> PointSet:
    """Return the clicks of a row.

    Args:
        points: The data set's clicks.
        instances: Its ground truth, which knows where else could have been clicked and how large
            objects are.
        wanted: What the row's clicks are.
        seed: Seed of all draws.

    Returns:
        The same images (where all are clicked) and annotation ids; the data set's own object where
        nothing is changed.

    Raises:
        DataError: Clicks have no instance, or wrong classes are wanted of a single class.
    """
    points = _drawn(points, instances, wanted, seed=seed)
    if wanted.noise > 0:
        points = replace(points, xy=_moved(points, instances, wanted.noise, seed=seed))
    if wanted.wrong_classes > 0:
        points = replace(points, annotation_labels=_mistaken(points, wanted.wrong_classes, seed=seed))
    return points if wanted.images >= 1 else _of_some_images(points, wanted.images, seed=seed)


def _drawn(points: PointSet, instances: InstanceSet, wanted: Clicks, *, seed: int) -> PointSet:
    if wanted.kind == "given":
        return points
    drawn = sample_points(instances, wanted.kind, seed)
    order = np.argsort(drawn.annotation_ids, kind="stable")
    place = np.searchsorted(drawn.annotation_ids, points.annotation_ids, sorter=order)
    rows = order[place.clip(max=len(order) - 1)] if len(order) else np.zeros(0, dtype=np.int64)
    if len(rows) != len(points) or (drawn.annotation_ids[rows] != points.annotation_ids).any():
        raise DataError("the ground truth", ["has no instance for some clicks, so they cannot be drawn anew"])
    return replace(points, xy=drawn.xy[rows])


def _moved(points: PointSet, instances: InstanceSet, noise: float, *, seed: int) -> Float[ndarray, "N 2"]:
    """Displace every click by a normal draw; clicks stay in their images, but may leave their objects."""
    boxes = dict(zip(instances.annotation_ids.tolist(), instances.boxes, strict=True))
    missing = [key for key in points.annotation_ids.tolist() if key not in boxes]
    if missing:
        raise DataError("the ground truth", [f"has no instance of click {key}" for key in missing[:10]])
    sides = np.array([boxes[key] for key in points.annotation_ids.tolist()]).reshape(-1, 4)
    lengths = np.sqrt(np.prod(np.maximum(sides[:, 2:] - sides[:, :2], 1.0), axis=1))
    draws = [_generator(seed, _MOVED, key).standard_normal(2) for key in points.annotation_ids.tolist()]
    index = points.annotation_image_index
    limits = np.stack([points.images.widths[index], points.images.heights[index]], axis=1).astype(np.float64)
    moved = points.xy + noise * lengths[:, None] * np.array(draws).reshape(-1, 2)
    return np.clip(moved, 0.0, np.nextafter(limits, 0.0))


def _mistaken(points: PointSet, share: float, *, seed: int) -> ndarray:
    """Give a share of the clicks one of the other classes."""
    count = len(points.categories)
    if count < 2:
        raise DataError("the points", ["have one class only, so none can be wrong"])
    draws = np.array(
        [_generator(seed, _MISTAKEN, key).uniform(size=2) for key in points.annotation_ids.tolist()]
    ).reshape(-1, 2)
    other = (points.annotation_labels + 1 + np.floor(draws[:, 1] * (count - 1)).astype(np.int64)) % count
    return np.where(draws[:, 0] < share, other, points.annotation_labels)


def _of_some_images(points: PointSet, share: float, *, seed: int) -> PointSet:
    """Keep a share of the images that have clicks, at least one, with all their clicks."""
    clicked = np.unique(points.annotation_image_index)
    keys = np.array(
        [_generator(seed, _CLICKED, int(points.images.ids[row])).uniform() for row in clicked.tolist()]
    )
    count = max(1, round(share * len(clicked)))
    chosen = np.zeros(len(points.images), dtype=bool)
    chosen[clicked[np.argsort(keys, kind="stable")[:count]]] = True
    return only_images(points, chosen)


def _generator(seed: int, stream: int, key: int) -> np.random.Generator:
    return np.random.default_rng([seed % 2**64, stream, key % 2**64])
