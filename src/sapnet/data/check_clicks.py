"""The part of the points check that looks at clicks and classes. Coordinates are original pixels."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.spatial import cKDTree

from sapnet.data.annotations import PointSet
from sapnet.data.check_findings import Finding

FEW_CLICKS = 10
"""A class with fewer clicks is warned about."""
SAME_SPOT = 1.0
"""Two clicks of an image closer than this many pixels are warned about."""
BORDER = 1.0
"""A click less than this many pixels from the edge of its image is warned about."""
TINY_SIDE = 8.0
"""An object is tiny where its box has a shorter side than this, or its area is less than the square of it."""
IMBALANCE = 50.0
"""The most frequent class may have this many times the clicks of the rarest."""
_NAMED = 5


def positions(points: PointSet) -> Iterator[Finding]:
    """Yield points that are not within 0 <= x < width and 0 <= y < height, and clicks close to an edge."""
    everyone = np.arange(len(points))
    columns: dict[str, tuple[ndarray, ndarray]] = {
        "point": (points.xy, everyone),
        "extra_points": points.extra_points.of_rows(everyone),
        "negative_points": points.negative_points.of_rows(everyone),
    }
    for key, (xy, owner) in columns.items():
        image = points.annotation_image_index[owner]
        limit = np.stack([points.images.widths[image], points.images.heights[image]], axis=-1)
        outside = ((xy < 0) | (xy >= limit)).any(axis=-1)
        for index in np.flatnonzero(outside):
            width, height = limit[index]
            text = (
                f"annotation {points.annotation_ids[owner[index]]} in {file_of(points, owner[index])}: "
                f"{key} ({xy[index, 0]:g}, {xy[index, 1]:g}) "
                f"is outside the image of {width} x {height} pixels (width x height)"
            )
            yield Finding("point outside", text)
        if key == "point":
            near = ((xy < BORDER) | (xy >= limit - BORDER)).any(axis=-1)
            for row in np.flatnonzero(near & ~outside):
                text = f"{_click(points, int(row))} lies on the border of the image"
                yield Finding("point on the border", text)


def same_spots(points: PointSet) -> Iterator[Finding]:
    """Yield pairs of clicks on nearly one pixel, and clicks next to a negative point of their own."""
    for first, second in _close_pairs(points.xy, points.annotation_image_index):
        both = f"annotations {points.annotation_ids[first]} and {points.annotation_ids[second]}"
        spot = f"({points.xy[first, 0]:g}, {points.xy[first, 1]:g})"
        same_class = points.annotation_labels[first] == points.annotation_labels[second]
        if same_class and (points.xy[first] == points.xy[second]).all():
            text = f"{both} in {file_of(points, first)} are the same click {spot} on the same class"
            yield Finding("same click twice", text)
        else:
            text = f"{both} in {file_of(points, first)} are clicked on nearly the same pixel {spot}"
            yield Finding("clicks on one pixel", text)
    xy, owner = points.negative_points.of_rows(np.arange(len(points)))
    for row in owner[np.linalg.norm(xy - points.xy[owner], axis=-1) < SAME_SPOT]:
        text = (
            f"annotation {points.annotation_ids[row]} in {file_of(points, row)} "
            f"has a negative point on its own click"
        )
        yield Finding("negative point on its click", text)


def _close_pairs(xy: Float[ndarray, "N 2"], image: Int[ndarray, " N"]) -> list[tuple[int, int]]:
    if len(xy) < 2:
        return []
    # Of clicks on one spot each is paired with the next only: a thousand there make 999 pairs.
    _, spot = np.unique(np.column_stack([xy, image]), axis=0, return_inverse=True)
    order = np.argsort(spot.reshape(-1), kind="stable")
    repeated = spot.reshape(-1)[order][1:] == spot.reshape(-1)[order][:-1]
    pairs = [(int(a), int(b)) for a, b in zip(order[:-1][repeated], order[1:][repeated], strict=True)]
    # Images lie on layers of a third axis, far enough apart.
    rows = np.delete(order, np.flatnonzero(repeated) + 1)
    tree = cKDTree(np.column_stack([xy[rows], image[rows] * 10.0 * SAME_SPOT]))
    close = tree.query_pairs(np.nextafter(SAME_SPOT, 0))
    pairs += [(int(rows[first]), int(rows[second])) for first, second in close]
    return sorted((min(pair), max(pair)) for pair in pairs)


def own_boxes(points: PointSet) -> Iterator[Finding]:
    """Yield tiny objects and clicks outside of their object, where annotations keep ``bbox`` or ``area``."""
    tiny = []
    for row in range(len(points)):
        extras = points.annotation_extras[row]
        if '"bbox"' not in extras and '"area"' not in extras:
            continue
        entry = json.loads(extras)
        box = _numbers(entry.get("bbox"), 4)
        area = _numbers([entry.get("area")], 1)
        if (box and min(box[2:]) < TINY_SIDE) or (not box and area and area[0] < TINY_SIDE**2):
            tiny.append(row)
        if box is not None:
            x, y = points.xy[row]
            if not (box[0] <= x <= box[0] + box[2] and box[1] <= y <= box[1] + box[3]):
                yield Finding(
                    "click outside its bbox", f"{_click(points, row)} is outside its own bbox {box}"
                )
    for row in tiny:
        limit = f"{TINY_SIDE:g} x {TINY_SIDE:g} pixels"
        text = f"annotation {points.annotation_ids[row]} in {file_of(points, row)} is smaller than {limit}"
        yield Finding("tiny object", text)


def class_findings(classes: list[dict[str, Any]]) -> Iterator[Finding]:
    """Yield classes that cannot be learned well.

    Args:
        classes: Rows with ``id``, ``name`` and ``clicks``.
    """
    for row in classes:
        name = f"class {row['name']!r} (id {row['id']})"
        if row["clicks"] == 0:
            text = f"{name} has no clicks and cannot be learned; remove it or click some"
            yield Finding("class without clicks", text)
        elif row["clicks"] < FEW_CLICKS:
            clicks = "click" if row["clicks"] == 1 else "clicks"
            text = f"{name} has only {row['clicks']} {clicks}, expected at least {FEW_CLICKS}"
            yield Finding("class with few clicks", text)
    clicked = sorted((row for row in classes if row["clicks"]), key=lambda row: row["clicks"])
    if clicked and clicked[-1]["clicks"] > IMBALANCE * clicked[0]["clicks"]:
        rare, frequent = clicked[0], clicked[-1]
        text = (
            f"class {frequent['name']!r} has {frequent['clicks']} clicks, "
            f"{frequent['clicks'] / rare['clicks']:.0f} times those of {rare['name']!r} ({rare['clicks']})"
        )
        yield Finding("class imbalance", text)


def empty_images(points: PointSet) -> Iterator[Finding]:
    """Yield, in one sentence, the images without clicks."""
    rows = np.setdiff1d(np.arange(len(points.images)), points.annotation_image_index)
    if len(rows):
        names = ", ".join(points.images.file_names[int(row)] for row in rows[:_NAMED])
        more = ", ..." if len(rows) > _NAMED else ""
        of_all = f"{len(rows)} of {len(points.images)} images"
        yield Finding("image without clicks", f"{of_all} have no clicks and count as empty: {names}{more}")


def file_of(points: PointSet, row: int) -> str:
    """Return the name of the image of an annotation."""
    return points.images.file_names[int(points.annotation_image_index[row])]


def _click(points: PointSet, row: int) -> str:
    x, y = points.xy[row]
    return f"annotation {points.annotation_ids[row]} in {file_of(points, row)}: point ({x:g}, {y:g})"


def _numbers(values: Any, count: int) -> list[float] | None:
    if not isinstance(values, list) or len(values) != count:
        return None
    if not all(
        type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value) for value in values
    ):
        return None
    return [float(value) for value in values]
