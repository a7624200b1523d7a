"""Point annotations: one click per object, in flat arrays (CONTRACT section 3.1).

Points are ``(x, y)`` in pixels of the EXIF-transposed image, origin at the top-left corner of the
top-left pixel, so that the centre of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.data.atomic import write_json_atomic
from sapnet.data.coco_json import EntryReader, parse_extras, read_json
from sapnet.data.columns import PointsColumn
from sapnet.data.instances import InstanceSet, load_instances
from sapnet.data.tables import AnnotationTable, Category, ImageTable, common_json, read_common
from sapnet.errors import DataError

__all__ = [
    "Category",
    "ImagePoints",
    "ImageTable",
    "InstanceSet",
    "PointSet",
    "load_instances",
    "load_points",
    "points_from_json",
    "points_to_json",
    "save_points",
]

_KEYS = frozenset({"id", "image_id", "category_id", "point", "extra_points", "negative_points"})


@dataclass(frozen=True)
class ImagePoints:
    """The clicks of one image, in file order. An owner is an index into ``annotation_ids``."""

    annotation_ids: Int[ndarray, " G"]
    xy: Float[ndarray, "G 2"]
    labels: Int[ndarray, " G"]
    negative_xy: Float[ndarray, "n 2"]
    negative_owner: Int[ndarray, " n"]
    extra_xy: Float[ndarray, "e 2"]
    extra_owner: Int[ndarray, " e"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PointSet(AnnotationTable):
    """The clicks of a file."""

    xy: Float[ndarray, "N 2"]
    extra_points: PointsColumn
    """Further clicks on the same object, per annotation."""
    negative_points: PointsColumn
    """Clicks outside the object, per annotation."""

    def of_image(self, index: int) -> ImagePoints:
        """Return the clicks of the image in row ``index``."""
        rows = self.rows_of(index)
        negative_xy, negative_owner = self.negative_points.of_rows(rows)
        extra_xy, extra_owner = self.extra_points.of_rows(rows)
        return ImagePoints(
            annotation_ids=self.annotation_ids[rows],
            xy=self.xy[rows],
            labels=self.annotation_labels[rows],
            negative_xy=negative_xy,
            negative_owner=negative_owner,
            extra_xy=extra_xy,
            extra_owner=extra_owner,
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what matters, in hexadecimal.

        That is: ids, names and sizes of the images, ids and names of the categories in their order,
        and ids, images, categories and points of the annotations. The order of images and
        annotations, the layout of the file and unknown keys do not matter.
        """
        images = np.argsort(self.images.ids, kind="stable")
        rows = np.argsort(self.annotation_ids, kind="stable")
        digest = hashlib.sha256()
        names = [self.images.file_names[int(row)] for row in images]
        categories = [[category.id, category.name] for category in self.categories]
        digest.update(json.dumps([names, categories]).encode())
        table = [self.images.ids, self.images.heights, self.images.widths]
        digest.update(np.stack([column[images] for column in table]).astype("<i8").tobytes())
        image_ids = self.images.ids[self.annotation_image_index]
        columns = [self.annotation_ids[rows], image_ids[rows], self.annotation_labels[rows]]
        digest.update(np.stack(columns).astype("<i8").tobytes())
        # Adding zero makes -0.0 the same as 0.0.
        digest.update((self.xy[rows] + 0.0).astype("<f8").tobytes())
        for column in (self.extra_points, self.negative_points):
            xy, owner = column.of_rows(rows)
            digest.update(owner.astype("<i8").tobytes() + (xy + 0.0).astype("<f8").tobytes())
        return digest.hexdigest()


def load_points(path: str | os.PathLike[str]) -> PointSet:
    """Read a points file.

    Any finite point is accepted; whether it lies in its image is for
    :func:`sapnet.data.check.check_points` to say.

    Raises:
        DataError: The file is missing, no JSON or not in the format; lists every problem.
    """
    return points_from_json(read_json(path), str(path))


def points_from_json(document: dict[str, Any], subject: str) -> PointSet:
    """Build a point set from a COCO-shaped object.

    Args:
        document: ``images``, ``categories``, ``annotations`` as CONTRACT section 3.1 says.
        subject: What to call the object in error messages.

    Raises:
        DataError: Lists every problem.
    """
    problems: list[str] = []
    points, _, _ = read_what_is_there(document, problems)
    if problems:
        raise DataError(subject, problems)
    return points


def read_what_is_there(
    document: dict[str, Any], problems: list[str]
) -> tuple[PointSet, Bool[ndarray, " N"], Bool[ndarray, " I"]]:
    """Read a file that may have problems.

    Args:
        document: As for :func:`points_from_json`.
        problems: Where every problem is added as one sentence.

    Returns:
        The clicks, with zeros for what cannot be read; which of them have a point and an image that is
        known; and which entries of images are in order.
    """
    common = read_common(document, problems)
    reader = EntryReader(document, "annotations", problems, _KEYS)
    xy, extra, negative, has_place = [], [], [], []
    for index in reader:
        image, point = common.read_annotation(reader, index), reader.point("point")
        has_place.append(image is not None and point is not None)
        xy.append(point or [0.0, 0.0])
        extra.append(reader.points("extra_points"))
        negative.append(reader.points("negative_points"))
    points = PointSet(
        **common.fields(),
        xy=np.asarray(xy, dtype=np.float64).reshape(-1, 2),
        extra_points=PointsColumn.of(extra),
        negative_points=PointsColumn.of(negative),
    )
    is_sound = ~np.isin(np.arange(len(points.images)), common.damaged_images)
    return points, np.asarray(has_place, dtype=bool), is_sound


def save_points(points: PointSet, path: str | os.PathLike[str]) -> None:
    """Write a points file atomically, with every key that was read.

    Raises:
        JobError: The file cannot be written.
    """
    write_json_atomic(path, points_to_json(points))


def points_to_json(points: PointSet) -> dict[str, Any]:
    """Return a point set as a COCO-shaped object that :func:`points_from_json` understands."""
    document = common_json(points)
    document["annotations"] = [_annotation(points, row) for row in range(len(points))]
    return document


def _annotation(points: PointSet, row: int) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": int(points.annotation_ids[row]),
        "image_id": int(points.images.ids[points.annotation_image_index[row]]),
        "category_id": points.category_id_of(int(points.annotation_labels[row])),
        "point": points.xy[row].tolist(),
    }
    for key, column in (("extra_points", points.extra_points), ("negative_points", points.negative_points)):
        if len(column.of_row(row)):
            entry[key] = column.of_row(row).tolist()
    return {**entry, **parse_extras(points.annotation_extras[row])}
