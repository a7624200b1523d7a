"""COCO instances: one click per mask, drawn as ``sapnet points sample`` draws it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sapnet.data.annotations import PointSet
from sapnet.data.instances import instances_from_json
from sapnet.data.point_sampling import sample_points
from sapnet.data.rle import mask_area, mask_box, segmentation_to_counts
from sapnet.importers.coco_entries import CocoEntries, Row, box_of
from sapnet.importers.records import Imported, ReaderOptions, SourcePoint
from sapnet.importers.sources import list_of, shown


def read_instances(source: Path, options: ReaderOptions) -> Imported:
    """Draw one click in every mask of a COCO instances file.

    Crowds and annotations to ignore become regions, by their boxes. With the same ids, ``mode`` and
    ``seed``, the clicks are those of ``sapnet points sample``.

    Args:
        source: The file.
        options: ``mode`` and ``seed`` say where in its mask a click lies; with ``shapes``, annotations
            without a mask get the centre of their ``bbox``.

    Raises:
        DataError: The file is no COCO-shaped JSON.
    """
    entries = CocoEntries.open(source)
    masked: list[tuple[Row, bytes]] = []
    points: dict[str, tuple[float, float]] = {}
    rows = []
    for row in entries.rows():
        box = box_of(row.entry.get("bbox"))
        if row.left_out and box is not None:
            entries.region(row)
        elif row.entry.get("segmentation") in (None, []) and options.shapes and box is not None:
            points[row.where] = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            rows.append(row)
        else:
            counts = _counts(entries, row, options)
            if counts is not None and row.left_out:
                left, top, right, bottom = mask_box([counts], _size(row))[0].tolist()
                entries.region(row, (left, top, right, bottom))
            elif counts is not None:
                masked.append((row, counts))
                rows.append(row)
    sampled = _sample(masked, options)
    points.update({row.where: (x, y) for (row, _), (x, y) in zip(masked, sampled.xy.tolist(), strict=True)})
    entries.found.points += [
        SourcePoint(row.image.name, row.label, *points[row.where], "pixel", row.where, number=row.number)
        for row in rows
    ]
    return entries.found.imported()


def _counts(entries: CocoEntries, row: Row, options: ReaderOptions) -> bytes | None:
    """Return the run lengths of a mask; None and a problem where it cannot be used."""
    segmentation = row.entry.get("segmentation")
    if segmentation in (None, []):
        hint = ""
        if box_of(row.entry.get("bbox")) and not options.shapes:
            hint = " (with --shapes, the centre of its bbox is the click)"
        entries.found.wrong(row.where, f"has no mask: 'segmentation' is {shown(segmentation)}{hint}")
        return None
    if row.image.width is None or row.image.height is None:
        entries.found.wrong(row.where, f"its mask needs the width and height of {row.image.where}")
        return None
    try:
        counts = segmentation_to_counts(segmentation, _size(row))
    except (ValueError, TypeError, OverflowError) as error:
        entries.found.wrong(row.where, str(error))
        return None
    if not mask_area([counts], _size(row))[0] and not _has_polygon(row) and not box_of(row.entry.get("bbox")):
        entries.found.wrong(row.where, "its mask is empty")
        return None
    return counts


def _sample(masked: list[tuple[Row, bytes]], options: ReaderOptions) -> PointSet:
    """Draw the clicks through the same code as ``sapnet points sample``, one per mask and in their order."""
    numbers = [row.number for row, _ in masked]
    distinct = None not in numbers and len(set(numbers)) == len(numbers)
    images = {row.image.number: row.image for row, _ in masked}
    annotations = [
        {
            "id": numbers[index] if distinct else index,
            "image_id": row.image.number,
            "category_id": 1,
            "segmentation": _segmentation(row, counts),
            **({"bbox": row.entry["bbox"]} if box_of(row.entry.get("bbox")) else {}),
        }
        for index, (row, counts) in enumerate(masked)
    ]
    document: dict[str, Any] = {
        "images": [
            {"id": number, "file_name": image.name, "width": image.width, "height": image.height}
            for number, image in images.items()
        ],
        "categories": [{"id": 1, "name": "object"}],
        "annotations": annotations,
    }
    return sample_points(instances_from_json(document, "instances"), options.mode, options.seed)


def _segmentation(row: Row, counts: bytes) -> Any:
    """Return the mask as it is sampled: run lengths, or the polygons where a vertex may have to serve."""
    if _has_polygon(row):
        return row.entry["segmentation"]
    height, width = _size(row)
    return {"size": [height, width], "counts": counts.decode("ascii")}


def _has_polygon(row: Row) -> bool:
    return any(len(list_of(part)) >= 2 for part in list_of(row.entry.get("segmentation")))


def _size(row: Row) -> tuple[int, int]:
    return row.image.height or 0, row.image.width or 0
