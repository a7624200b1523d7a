"""From what a source says to a points file: files, frames, classes, objects, ids.

Everything that is wrong or doubtful is collected; nothing is raised for a row and nothing is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sapnet.importers.classes import Classes
from sapnet.importers.frames import Exif
from sapnet.importers.matching import ImageFolder
from sapnet.importers.objects import PlacedObject, group_objects
from sapnet.importers.placing import Place, Places, place_images
from sapnet.importers.records import Imported, Problem, SourcePoint, SourceRegion


@dataclass(frozen=True)
class Assembled:
    """A points file to be, and what there is to say about it."""

    document: dict[str, Any]
    """As CONTRACT section 3.1 says; without what is wrong."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    figures: dict[str, int]
    """``points_left_out``, ``images_unmatched``, ``images_not_in_source``, ``images_turned``,
    ``points_moved_inside``, ``negative_points``, ``extra_points``, ``ignore_regions``."""


@dataclass
class _Work:
    """What is collected while the points are placed."""

    places: Places
    classes: Classes
    slack: float
    problems: list[Problem] = field(default_factory=list)
    moved: int = 0

    def inside(self, point: SourcePoint, place: Place) -> tuple[float, float] | None:
        """Return a point in pixels of the upright image; None and a problem where it lies outside."""
        frame = place.frame
        if frame.resized and point.unit == "pixel":
            text = f"({point.x:g}, {point.y:g}) are pixels of an image of another size"
            self.problems.append(Problem(point.where, text))
            return None
        x, y = frame.to_upright(point.x, point.y, point.unit)
        if 0 <= x < frame.width and 0 <= y < frame.height:
            return x, y
        if -self.slack <= x <= frame.width + self.slack and -self.slack <= y <= frame.height + self.slack:
            self.moved += 1
            return _clamped(x, frame.width), _clamped(y, frame.height)
        unit = {"pixel": "", "percent": " %", "fraction": " of its sides"}[point.unit]
        text = (
            f"({point.x:g}, {point.y:g}){unit} is outside the image {place.file} of "
            f"{frame.width} x {frame.height} pixels (width x height)"
        )
        self.problems.append(Problem(point.where, text))
        return None


def assemble(
    imported: Imported,
    images_dir: Path,
    *,
    class_name: str | None = None,
    class_map: Mapping[str, str] | None = None,
    exif: Exif = "auto",
) -> Assembled:
    """Make a points file of what a source says.

    Ids of images and annotations are the source's where every one has one and they differ, else 1, 2, ...
    in the source's order; a class keeps its id where the source gives one. A point on the right or bottom
    border, or outside by no more than the format's slack, is moved inside. Regions and points to leave out of
    account become the key ``ignore_regions`` of their image: a list of objects with ``bbox`` (COCO's
    ``[x, y, width, height]``), ``polygon`` (a list of vertices) or ``point``, and ``category_id`` where they
    concern one class only.

    Args:
        imported: What a reader found.
        images_dir: The folder of the images.
        class_name: The class of points that have none.
        class_map: New names for classes of the source.
        exif: On which picture the clicks were made; ``auto`` goes by the declared sizes.

    Raises:
        DataError: There is no such image folder.
    """
    places = place_images(imported, ImageFolder(images_dir), exif)
    classes = Classes(imported.categories, class_name, class_map or {})
    work = _Work(places, classes, imported.slack)
    objects, ignored, used = _place_points(imported.points, work)
    regions = _place_regions(imported.regions, work)
    for file, entry in ignored:
        regions.setdefault(file, []).append(entry)
    problems = (*imported.problems, *places.problems, *classes.problems(), *work.problems)
    files = list(dict.fromkeys(place.file for place in places.of_name.values()))
    figures = {
        "points_left_out": len(imported.points) - used,
        "points_moved_inside": work.moved,
        "extra_points": sum(len(item.extra) for item in objects),
        "negative_points": sum(len(item.negative) for item in objects),
        "ignore_regions": sum(map(len, regions.values())),
        "images_unmatched": places.unmatched,
        "images_turned": len(places.turned),
        "images_not_in_source": places.unlisted,
    }
    return Assembled(_document(places, files, classes, objects, regions), problems, imported.notes, figures)


def _place_points(
    points: tuple[SourcePoint, ...], work: _Work
) -> tuple[list[PlacedObject], list[tuple[str, dict[str, Any]]], int]:
    """Return the objects, the points to leave out of account (file, JSON), and how many points both hold."""
    placed = []
    ignored = []
    for point in points:
        place = work.places.of_name.get(point.image)
        if place is None:  # said once for the image
            continue
        label = work.classes.label(point)
        xy = None if label is None else work.inside(point, place)
        if label is None or xy is None:
            continue
        if point.role == "ignore":
            ignored.append((place.file, {**_category(label, work), "point": list(xy)}))
        else:
            placed.append((point, place.file, label, xy))
    objects, problems, used = group_objects(placed)
    work.problems += problems
    return objects, ignored, used + len(ignored)


def _place_regions(regions: tuple[SourceRegion, ...], work: _Work) -> dict[str, list[dict[str, Any]]]:
    """Return the regions of each file as JSON objects, clipped to the image."""
    result: dict[str, list[dict[str, Any]]] = {}
    for region in regions:
        place = work.places.of_name.get(region.image)
        if place is None:  # said once for the image
            continue
        if place.frame.resized and region.unit == "pixel":
            work.problems.append(Problem(region.where, "a region in pixels of an image of another size"))
            continue
        entry = _category(work.classes.region_label(region), work)
        left, top, right, bottom = region.box or (0.0, 0.0, 0.0, 0.0)
        vertices = region.polygon or ((left, top), (right, bottom))
        moved = [_into(place, place.frame.to_upright(x, y, region.unit)) for x, y in vertices]
        if region.polygon is None:
            (left, right), (top, bottom) = (sorted(values) for values in zip(*moved, strict=True))
            entry["bbox"] = [left, top, right - left, bottom - top]
        else:
            entry["polygon"] = [list(vertex) for vertex in moved]
        result.setdefault(place.file, []).append(entry)
    return result


def _category(label: str, work: _Work) -> dict[str, Any]:
    return {"category_id": work.classes.id_of(label)} if label else {}


def _document(
    places: Places,
    files: list[str],
    classes: Classes,
    objects: list[PlacedObject],
    regions: dict[str, list[dict[str, Any]]],
) -> dict[str, Any]:
    frames = {place.file: place.frame for place in places.of_name.values()}
    image_ids = dict(zip(files, _numbers([places.numbers[file] for file in files]), strict=True))
    annotation_ids = _numbers([item.number for item in objects])
    images = [
        {
            "id": image_ids[file],
            "file_name": file,
            "width": frames[file].width,
            "height": frames[file].height,
            **({"ignore_regions": regions[file]} if file in regions else {}),
        }
        for file in files
    ]
    annotations = [
        {
            "id": number,
            "image_id": image_ids[item.file],
            "category_id": classes.id_of(item.label),
            "point": list(item.xy),
            **({"extra_points": [list(xy) for xy in item.extra]} if item.extra else {}),
            **({"negative_points": [list(xy) for xy in item.negative]} if item.negative else {}),
        }
        for number, item in zip(annotation_ids, objects, strict=True)
    ]
    return {"images": images, "categories": classes.entries(), "annotations": annotations}


def _numbers(given: list[int | None]) -> list[int]:
    """Return the given ids where all are there and differ, else 1, 2, ..."""
    known = [number for number in given if number is not None]
    return known if len(set(known)) == len(given) else list(range(1, len(given) + 1))


def _into(place: Place, xy: tuple[float, float]) -> tuple[float, float]:
    return min(max(xy[0], 0.0), float(place.frame.width)), min(max(xy[1], 0.0), float(place.frame.height))


def _clamped(value: float, limit: int) -> float:
    return min(max(value, 0.0), math.nextafter(limit, 0))
