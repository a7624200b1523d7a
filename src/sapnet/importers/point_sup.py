"""PointSup (detectron2's projects/PointSup): COCO-shaped, with labelled points in every annotation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapnet.importers.coco_entries import CocoEntries, Row, point_of
from sapnet.importers.records import Imported, ReaderOptions, Role, SourcePoint
from sapnet.importers.sources import list_of, object_of, shown, whole

if TYPE_CHECKING:
    from sapnet.importers.sketch import Sketch


def is_point_sup(sketch: Sketch) -> bool:
    """Tell whether annotations have ``point_coords`` and ``point_labels``."""
    if not {"images", "annotations"} <= sketch.keys:
        return False
    return any("point_coords" in object_of(item) for item in list_of(sketch.document["annotations"])[:100])


def read_point_sup(source: Path, options: ReaderOptions) -> Imported:
    """Read ``point_coords: [[x, y], ...]`` with ``point_labels: [1, 0, ...]`` in pixels.

    The first point with label 1 is the click of the object, the others with 1 are extra points, those with 0
    negative ones. Crowds become regions to leave out of account. Boxes are not kept.

    Args:
        source: The file.
        options: ``several``: ``each`` makes an object of every point with label 1 and drops the negative
        points.

    Raises:
        DataError: The file is no COCO-shaped JSON.
    """
    entries = CocoEntries.open(source)
    for row in entries.rows():
        if row.left_out:
            entries.region(row)
        else:
            _read_row(entries, row, options)
    return entries.found.imported()


def _read_row(entries: CocoEntries, row: Row, options: ReaderOptions) -> None:
    coordinates, labels = row.entry.get("point_coords"), row.entry.get("point_labels")
    if not isinstance(coordinates, list) or not isinstance(labels, list) or len(coordinates) != len(labels):
        given = f"{shown(coordinates)} and {shown(labels)}"
        entries.found.wrong(row.where, f"expected as many point_labels as point_coords, got {given}")
        return
    inside: list[tuple[float, float]] = []
    outside: list[tuple[float, float]] = []
    for index, (value, label) in enumerate(zip(coordinates, labels, strict=True)):
        xy = _position(entries, row, index, value)
        if whole(label) not in {0, 1}:
            entries.found.wrong(row.where, f"point_labels[{index}] must be 0 or 1, got {shown(label)}")
        elif xy is not None:
            (inside if whole(label) == 1 else outside).append(xy)
    if not inside:
        entries.found.wrong(row.where, "no point lies on the object (label 1), so there is no click")
        return
    if options.several == "each":
        entries.found.points += [_point(row, xy, "point", alone=True) for xy in inside]
        if outside:
            entries.found.counts["negative points were not read"] += len(outside)
        return
    roles: list[tuple[tuple[float, float], Role]] = [(inside[0], "point")]
    roles += [(xy, "extra") for xy in inside[1:]] + [(xy, "negative") for xy in outside]
    entries.found.points += [_point(row, xy, role, alone=False) for xy, role in roles]


def _position(entries: CocoEntries, row: Row, index: int, value: Any) -> tuple[float, float] | None:
    xy = point_of(value)
    if xy is None:
        text = f"point_coords[{index}] must be [x, y] with two finite numbers, got {shown(value)}"
        entries.found.wrong(row.where, text)
    return xy


def _point(row: Row, xy: tuple[float, float], role: Role, *, alone: bool) -> SourcePoint:
    key, number = (None, None) if alone else (row.where, row.number)
    return SourcePoint(row.image.name, row.label, *xy, "pixel", row.where, key, role, number)
