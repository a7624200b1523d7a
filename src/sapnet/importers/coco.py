"""COCO files with a ``point`` per annotation, COCO keypoints, and the quasi-centre files of the authors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sapnet.importers.coco_entries import CocoEntries, Row, box_of, point_of
from sapnet.importers.records import Imported, ReaderOptions, Role, SourcePoint
from sapnet.importers.sketch import Sketch
from sapnet.importers.sources import list_of, number, object_of, shown, text_of

_HALF_PIXEL = 0.5


def read_coco(source: Path, options: ReaderOptions) -> Imported:
    """Read COCO annotations with ``point: [x, y]`` in pixels; ``extra_points`` and ``negative_points`` too.

    Crowds and annotations to ignore become regions (or ignored points, where they have no box). Masks,
    boxes and other keys are not kept.

    Args:
        source: The file.
        options: ``shapes``: an annotation without a point gets the centre of its ``bbox``.

    Raises:
        DataError: The file is no COCO-shaped JSON.
    """
    entries = CocoEntries.open(source)
    for row in entries.rows():
        _read_row(entries, row, options)
    return entries.found.imported()


def read_authors(source: Path, options: ReaderOptions) -> Imported:
    """Read the authors' quasi-centre JSON, stage A (``true_bbox``, masks) or B (a box around each point).

    Their generator moves points by up to half a pixel, so they may leave the image by that much.

    Args:
        source: The file.
        options: As for :func:`read_coco`.

    Raises:
        DataError: The file is no COCO-shaped JSON.
    """
    return replace(read_coco(source, options), slack=_HALF_PIXEL)


def read_keypoints(source: Path, options: ReaderOptions) -> Imported:
    """Read COCO keypoints ``[x, y, v, ...]`` in pixels; a keypoint with v = 0 is absent.

    Args:
        source: The file.
        options: ``several`` says what an annotation with more than one visible keypoint is: one object of its
            category, or each keypoint an object of the keypoint's name (of its category where it has none).

    Raises:
        DataError: The file is no COCO-shaped JSON.
    """
    entries = CocoEntries.open(source)
    if options.several == "each":
        named = [name for entry in entries.categories.values() for name in _names_of_keypoints(entry)]
        if named:
            entries.found.categories[:] = [(None, name) for name in dict.fromkeys(named)]
    for row in entries.rows():
        if row.left_out:
            entries.region(row)
        else:
            _read_keypoints(entries, row, options)
    return entries.found.imported()


def is_coco(sketch: Sketch) -> bool:
    """Tell whether annotations have ``point``."""
    return _is_coco_shaped(sketch) and "point" in _sample(sketch, "point")


def is_authors(sketch: Sketch) -> bool:
    """Tell whether annotations have ``point`` and ``true_bbox``."""
    return _is_coco_shaped(sketch) and {"point", "true_bbox"} <= _sample(sketch, "point").keys()


def is_keypoints(sketch: Sketch) -> bool:
    """Tell whether annotations have ``keypoints``."""
    return _is_coco_shaped(sketch) and "keypoints" in _sample(sketch, "keypoints")


def is_instances(sketch: Sketch) -> bool:
    """Tell whether annotations have ``segmentation``, or there are none at all."""
    return _is_coco_shaped(sketch) and (
        "segmentation" in _sample(sketch, "segmentation") or not sketch.document["annotations"]
    )


def _is_coco_shaped(sketch: Sketch) -> bool:
    document = sketch.document
    if not isinstance(document, dict):
        return False
    return all(isinstance(document.get(key), list) for key in ("images", "annotations"))


def _sample(sketch: Sketch, key: str) -> dict[str, Any]:
    """Return the first annotation that has a key; an empty object where none has."""
    annotations = sketch.document["annotations"]
    return next((item for item in annotations if isinstance(item, dict) and key in item), {})


def _read_row(entries: CocoEntries, row: Row, options: ReaderOptions) -> None:
    given = row.entry.get("point")
    xy = point_of(given)
    box = box_of(row.entry.get("bbox"))
    if row.left_out and (box or box_of(row.entry.get("true_bbox")) or xy is None):
        entries.region(row)
        return
    if given is None and options.shapes and box is not None:
        xy = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    elif given is None:
        hint = " (with --shapes, the centre of its bbox is the click)" if box else ""
        entries.found.wrong(row.where, f"the key 'point' is missing{hint}")
        return
    if xy is None:
        text = f"'point' must be [x, y] with two finite numbers, got {shown(given)}"
        entries.found.wrong(row.where, text)
        return
    _add(entries, row, xy, "ignore" if row.left_out else "point")
    for key, role in _FURTHER:
        for index, value in enumerate(list_of(row.entry.get(key))):
            further = point_of(value)
            if further is None:
                text = f"{key}[{index}] must be [x, y] with two finite numbers, got {shown(value)}"
                entries.found.wrong(row.where, text)
            else:
                _add(entries, row, further, role)


_FURTHER: tuple[tuple[str, Role], ...] = (("extra_points", "extra"), ("negative_points", "negative"))


def _read_keypoints(entries: CocoEntries, row: Row, options: ReaderOptions) -> None:
    visible = _visible_keypoints(entries, row)
    if visible is None:
        return
    if not visible:
        entries.found.counts["annotations without a visible keypoint were left out"] += 1
    elif len(visible) > 1 and options.several is None:
        text = (
            f"has {len(visible)} visible keypoints: --several each makes an object of each, "
            "--several one makes one object of all"
        )
        entries.found.wrong(row.where, text)
    elif options.several == "each":
        names = _names_of_keypoints(row.category)
        for place, xy in visible:
            label = names[place] if place < len(names) else row.label
            where = f"{row.where}: keypoint {place + 1}"
            entries.found.points.append(SourcePoint(row.image.name, label, *xy, "pixel", where))
    else:
        for index, (_, xy) in enumerate(visible):
            _add(entries, row, xy, "extra" if index else "point")


def _visible_keypoints(entries: CocoEntries, row: Row) -> list[tuple[int, tuple[float, float]]] | None:
    """Return number and coordinates of the visible keypoints; None and a problem where there is no list."""
    values = row.entry.get("keypoints")
    if not isinstance(values, list) or len(values) % 3:
        text = f"'keypoints' must be a list [x, y, v, ...], got {shown(values)}"
        entries.found.wrong(row.where, text if "keypoints" in row.entry else "the key 'keypoints' is missing")
        return None
    visible = []
    for place in range(len(values) // 3):
        x, y, visibility = values[3 * place : 3 * place + 3]
        if number(visibility) not in {0, 1, 2}:
            text = f"keypoint {place + 1}: visibility must be 0, 1 or 2, got {shown(visibility)}"
            entries.found.wrong(row.where, text)
        elif visibility:
            xy = entries.found.position(f"{row.where}: keypoint {place + 1}", x, y)
            if xy is not None:
                visible.append((place, xy))
    return visible


def _names_of_keypoints(category: dict[str, Any]) -> list[str]:
    """Return the keypoints' names; empty where one is no text."""
    names = [text_of(name) for name in list_of(object_of(category).get("keypoints"))]
    return [name for name in names if name is not None] if None not in names else []


def _add(entries: CocoEntries, row: Row, xy: tuple[float, float], role: Role) -> None:
    point = SourcePoint(
        image=row.image.name,
        label=row.label,
        x=xy[0],
        y=xy[1],
        unit="pixel",
        where=row.where,
        object_key=row.where,
        role=role,
        number=row.number,
    )
    entries.found.points.append(point)
