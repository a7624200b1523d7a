"""Masks of objects with what is known about them: what ``sapnet label`` and ``sapnet predict`` write.

Exporters and the Python API read this; training does not.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.data.coco_json import EntryReader, parse_extras, read_json
from sapnet.data.columns import BytesColumn
from sapnet.data.instances import read_flag, read_mask
from sapnet.data.rle import decode_masks, mask_area, mask_box
from sapnet.data.tables import AnnotationTable, read_common
from sapnet.errors import DataError

SOURCE_KEYS = ("source", "proposal", "voted", "prompt_kind", "proposer_score")
"""Keys of an annotation that say where its mask comes from."""

# Area and box are computed from the mask, so that they cannot disagree with it.
_KEYS = frozenset(
    {"id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd", "score", "point"}
)


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelSet(AnnotationTable):
    """Objects with masks, one row per object, in file order. Masks have the size of their image.

    ``annotation_extras`` holds every other key of an object, the ``SOURCE_KEYS`` among them.
    Everything is in pixels of the EXIF-transposed image.
    """

    counts: BytesColumn
    """Compressed run lengths of each mask."""
    scores: Float[ndarray, " N"]
    """NaN where the file has none."""
    points: Float[ndarray, "N 2"]
    """The click ``(x, y)``; NaN where the file has none."""
    iscrowd: Bool[ndarray, " N"]
    """True for regions of many objects (never in labels and predictions)."""

    def size_of_row(self, row: int) -> tuple[int, int]:
        """Return ``(height, width)`` of the image that an object is in."""
        return self.images.size(int(self.annotation_image_index[row]))

    def masks_of(self, rows: Int[ndarray, " n"]) -> Bool[ndarray, "n H W"]:
        """Decode the masks of objects of one image (``rows_of`` gives its rows)."""
        if len(rows) == 0:
            return np.zeros((0, 0, 0), dtype=bool)
        return decode_masks(self.counts.take(rows), self.size_of_row(int(rows[0])))

    def mask_of(self, row: int) -> Bool[ndarray, "H W"]:
        """Decode the mask of one object."""
        return decode_masks([self.counts[row]], self.size_of_row(row))[0]

    def boxes_of(self, rows: Int[ndarray, " n"]) -> Float[ndarray, "n 4"]:
        """Return the tight boxes ``xyxy`` of objects of one image; zeros for an empty mask."""
        if len(rows) == 0:
            return np.zeros((0, 4))
        return mask_box(self.counts.take(rows), self.size_of_row(int(rows[0])))

    def areas_of(self, rows: Int[ndarray, " n"]) -> Int[ndarray, " n"]:
        """Return the number of pixels of the masks of objects of one image."""
        if len(rows) == 0:
            return np.zeros(0, dtype=np.int64)
        return mask_area(self.counts.take(rows), self.size_of_row(int(rows[0])))

    def name_of_row(self, row: int) -> str:
        """Return the class name of an object."""
        return self.categories[int(self.annotation_labels[row])].name

    def source_of_row(self, row: int) -> dict[str, Any]:
        """Return where the mask of an object comes from, as far as the file says."""
        extras = parse_extras(self.annotation_extras[row])
        return {key: extras[key] for key in SOURCE_KEYS if key in extras}


def load_labels(path: str | os.PathLike[str]) -> LabelSet:
    """Read labels, predictions or any COCO instances file.

    Args:
        path: A file of ``sapnet label`` or ``sapnet predict``, or COCO instances with polygons,
            uncompressed or compressed run lengths.

    Raises:
        DataError: The file is missing, no JSON or not in the format; lists every problem.
    """
    return labels_from_json(read_json(path), str(path))


def labels_from_json(document: dict[str, Any], subject: str) -> LabelSet:
    """Build a label set from a COCO-shaped object.

    Args:
        document: ``images``, ``categories`` and ``annotations`` with ``segmentation`` and optionally
            ``score``, ``point``, ``iscrowd`` and more.
        subject: What to call the object in error messages.

    Raises:
        DataError: Lists every problem.
    """
    problems: list[str] = []
    common = read_common(document, problems)
    reader = EntryReader(document, "annotations", problems, _KEYS)
    counts, scores, points, crowds = [], [], [], []
    for index in reader:
        row = common.read_annotation(reader, index)
        size = (1, 1) if row is None else common.images.size(row)
        counts.append(read_mask(reader, size, usable=row is not None))
        scores.append(_read_score(reader))
        found = None if reader.entry.get("point") is None else reader.point("point")
        points.append([math.nan, math.nan] if found is None else found)
        crowds.append(read_flag(reader, "iscrowd"))
    if problems:
        raise DataError(subject, problems)
    return LabelSet(
        **common.fields(),
        counts=BytesColumn.of(counts),
        scores=np.asarray(scores, dtype=np.float64),
        points=np.asarray(points, dtype=np.float64).reshape(-1, 2),
        iscrowd=np.asarray(crowds, dtype=bool),
    )


def _read_score(reader: EntryReader) -> float:
    value = reader.entry.get("score")
    if value is None:
        return math.nan
    if type(value) not in (int, float) or not math.isfinite(value):
        reader.problem(f"'score' must be a finite number, got {str(value)[:60]}")
        return math.nan
    return float(value)
