"""Ground-truth instances of a COCO file, in flat arrays.

Only evaluation, point sampling and simulation read these; training never does.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from sapnet.data.coco_json import EntryReader, parse_extras, read_json
from sapnet.data.columns import BytesColumn, PointsColumn
from sapnet.data.rle import mask_area, mask_box, segmentation_to_counts
from sapnet.data.tables import AnnotationTable, read_common
from sapnet.errors import DataError

_KEYS = frozenset({"id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd", "ignore"})


@dataclass(frozen=True, eq=False, kw_only=True)
class InstanceSet(AnnotationTable):
    """The instances of a file; masks have the size of their image."""

    counts: BytesColumn
    """Compressed run lengths of each mask."""
    areas: Float[ndarray, " N"]
    """``area`` of the file in pixels, or the mask's where the file has none."""
    boxes: Float[ndarray, "N 4"]
    """``bbox`` of the file as ``xyxy``, or the mask's tight box where the file has none."""
    iscrowd: Bool[ndarray, " N"]
    ignore: Bool[ndarray, " N"]
    polygons: PointsColumn
    """Vertices of the first polygon, kept only where the mask is empty or under two pixels wide or
    high; such instances get their click from a vertex."""

    def parts(self, row: int) -> list[bytes]:
        """Return the compressed run lengths of the parts of an instance (key ``parts``), if any.

        The embedded scenes have them; they have the size of the image.
        """
        parts = parse_extras(self.annotation_extras[row]).get("parts", [])
        size = self.images.size(int(self.annotation_image_index[row]))
        return [segmentation_to_counts(part, size) for part in parts]


def load_instances(path: str | os.PathLike[str]) -> InstanceSet:
    """Read a COCO instances file: polygons, uncompressed and compressed run lengths.

    Raises:
        DataError: The file is missing, no JSON or not in the format; lists every problem.
    """
    return instances_from_json(read_json(path), str(path))


def instances_from_json(document: dict[str, Any], subject: str) -> InstanceSet:
    """Build an instance set from a COCO-shaped object.

    Args:
        document: ``images``, ``categories`` and ``annotations`` with ``segmentation``.
        subject: What to call the object in error messages.

    Raises:
        DataError: Lists every problem.
    """
    problems: list[str] = []
    common = read_common(document, problems)
    reader = EntryReader(document, "annotations", problems, _KEYS)
    counts, areas, boxes, flags, polygons = [], [], [], [], []
    for index in reader:
        row = common.read_annotation(reader, index)
        size = (1, 1) if row is None else common.images.size(row)
        mask = read_mask(reader, size, usable=row is not None)
        tight = mask_box([mask], size)[0]
        area = _read_area(reader)
        counts.append(mask)
        areas.append(float(mask_area([mask], size)[0]) if area is None else area)
        boxes.append(_read_box(reader, tight))
        flags.append([read_flag(reader, "iscrowd"), read_flag(reader, "ignore")])
        polygons.append(_first_polygon(reader.entry.get("segmentation"), tight))
    if problems:
        raise DataError(subject, problems)
    flag_columns = np.asarray(flags, dtype=bool).reshape(-1, 2)
    return InstanceSet(
        **common.fields(),
        counts=BytesColumn.of(counts),
        areas=np.asarray(areas, dtype=np.float64),
        boxes=np.asarray(boxes, dtype=np.float64).reshape(-1, 4),
        iscrowd=flag_columns[:, 0].copy(),
        ignore=flag_columns[:, 1].copy(),
        polygons=PointsColumn.of(polygons),
    )


def read_mask(reader: EntryReader, size: tuple[int, int], *, usable: bool) -> bytes:
    """Read ``segmentation`` of the reader's entry; what is wrong is among the reader's problems.

    Args:
        reader: At an annotation.
        size: ``(height, width)`` of its image.
        usable: Whether the image is known; otherwise nothing is decoded.

    Returns:
        Compressed run lengths; those of an empty mask where there is a problem.
    """
    if "segmentation" not in reader.entry:
        reader.problem("the key 'segmentation' is missing")
    elif usable:
        try:
            return segmentation_to_counts(reader.entry["segmentation"], size)
        except (ValueError, TypeError, OverflowError) as error:
            reader.problem(str(error))
    return segmentation_to_counts([], size)


def read_flag(reader: EntryReader, key: str) -> bool:
    """Read a key that is 0, 1 or absent; anything else is among the reader's problems."""
    value = reader.entry.get(key, 0)
    if value not in (0, 1, None):
        reader.problem(f"{key!r} must be 0 or 1, got {str(value)[:60]}")
    return bool(value)


def _read_area(reader: EntryReader) -> float | None:
    # VIA writes an empty list where it has no area.
    value = reader.entry.get("area")
    if value is None or value == []:
        return None
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        reader.problem(f"'area' must be a non-negative number, got {value!r}")
        return None
    return float(value)


def _read_box(reader: EntryReader, tight: ndarray) -> list[float]:
    value = reader.entry.get("bbox")
    if value is None or value == []:
        return tight.tolist()
    if (
        not isinstance(value, list)
        or len(value) != 4
        or any(type(item) not in (int, float) or not math.isfinite(item) for item in value)
        or min(value[2:]) < 0
    ):
        reader.problem(f"'bbox' must be [x, y, width, height], got {str(value)[:60]}")
        return tight.tolist()
    x, y, width, height = map(float, value)
    return [x, y, x + width, y + height]


def _first_polygon(segmentation: Any, tight: ndarray) -> list[list[float]]:
    if not isinstance(segmentation, list) or not segmentation or min(tight[2:] - tight[:2]) >= 2:
        return []
    first = segmentation[0]
    if not isinstance(first, list) or len(first) % 2:
        return []
    return [first[i : i + 2] for i in range(0, len(first), 2)]
