"""Datumaro JSON, which is also what CVAT exports as "Datumaro 1.0": a file, a folder or a zip archive."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapnet.errors import DataError
from sapnet.importers.addresses import forward
from sapnet.importers.archives import names_in, open_member
from sapnet.importers.collecting import Collector, brief
from sapnet.importers.records import Imported, ReaderOptions, SourceImage, SourcePoint
from sapnet.importers.shapes import center_of, point_on_polygon
from sapnet.importers.sources import list_of, object_of, parse_json, read_json_value, shown, text_of, whole

if TYPE_CHECKING:
    from sapnet.importers.sketch import Sketch

_ABSENT = 0
_SHAPES = frozenset({"bbox", "polygon", "ellipse"})


def is_datumaro(sketch: Sketch) -> bool:
    """Tell whether a source is Datumaro JSON, or an archive or a folder with its ``annotations/*.json``."""
    if sketch.suffix == ".zip":
        return any(map(_is_annotation_file, names_in(sketch.path)))
    return {"categories", "items"} <= sketch.keys and isinstance(sketch.document["items"], list)


def _is_annotation_file(name: str) -> bool:
    return name.endswith(".json") and "annotations" in name.split("/")[:-1]


def read_datumaro(source: Path, options: ReaderOptions) -> Imported:
    """Read Datumaro JSON; the subsets of a folder or an archive are read one after the other.

    Every pair of a ``points`` annotation is an object of its own, unless ``options.several`` is ``one``;
    pairs that are absent (visibility 0) are left out. A ``skeleton`` is one object, unless
    ``options.several`` is ``each``. Boxes, ellipses and polygons count with ``options.shapes`` only. Category
    ids are positions in ``categories.label.labels``, from 0. Coordinates are pixels.

    Raises:
        DataError: The source is no such JSON.
    """
    found = Collector()
    for place, document in _documents(source):
        labels = object_of(object_of(object_of(document).get("categories")).get("label")).get("labels")
        items = object_of(document).get("items")
        if not isinstance(items, list) or not isinstance(labels, list):
            expected = "an object with 'items' and 'categories.label.labels'"
            raise DataError(str(source), [f"{place}expected {expected}, got {shown(document)}"])
        _SubsetReader(place, labels, options, found).read(items)
    return found.imported()


def _documents(source: Path) -> list[tuple[str, Any]]:
    if source.suffix.lower() == ".zip" and source.is_file():
        names = sorted(filter(_is_annotation_file, names_in(source)))
        if not names:
            raise DataError(str(source), ["there is no annotations/*.json in this archive"])
        return [(f"{name}: " if len(names) > 1 else "", _read_member(source, name)) for name in names]
    if source.is_dir():
        files = sorted(source.glob("annotations/*.json")) or sorted(source.glob("*.json"))
        if not files:
            raise DataError(str(source), ["there is no annotations/*.json in this folder"])
        return [(f"{file.name}: " if len(files) > 1 else "", read_json_value(file)) for file in files]
    return [("", read_json_value(source))]


def _read_member(source: Path, name: str) -> Any:
    try:
        with open_member(source, lambda other: other == name, name) as stream:
            text = stream.read().decode("utf-8-sig")
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, UnicodeDecodeError) as error:
        raise DataError(str(source), [f"{name}: cannot be read: {error}"]) from error
    return parse_json(text, f"{source}: {name}")


class _SubsetReader:
    """Reads the items of one file."""

    def __init__(self, place: str, labels: list[Any], options: ReaderOptions, found: Collector) -> None:
        self.place = place
        self.options = options
        self.found = found
        self.names = [text_of(object_of(item).get("name")) for item in labels]
        known = set(filter(None, self.names))
        parents = [text_of(object_of(item).get("parent")) for item in labels]
        for number, (name, parent) in enumerate(zip(self.names, parents, strict=True)):
            # The points of a skeleton are labels too, with the skeleton as their parent.
            if name is not None and parent not in known:
                found.category(name, number)

    def read(self, items: list[Any]) -> None:
        """Read every item."""
        for index, entry in enumerate(items):
            item = object_of(entry)
            where = f"{self.place}item {brief(item['id'])}" if "id" in item else f"{self.place}items[{index}]"
            if "video_frame" in item or "point_cloud" in item:
                self.found.wrong(where, "is a video frame or a point cloud, expected an image")
                continue
            media = object_of(item.get("image")) or object_of(item.get("media"))
            name = self.found.name(where, text_of(media.get("path")) or item.get("id"), "path")
            if name is None:
                continue
            name = forward(name)
            sides = media.get("size")
            height, width = sides if isinstance(sides, list) and len(sides) == 2 else (None, None)
            size = self.found.size(where, width, height)
            self.found.images.append(SourceImage(name, *size, where))
            for number, annotation in enumerate(list_of(item.get("annotations"))):
                self._read_annotation(
                    object_of(annotation), name, f"{where}, annotation {number}", f"{number}"
                )

    def _read_annotation(self, annotation: dict[str, Any], name: str, where: str, key: str) -> None:
        kind = text_of(annotation.get("type"))
        label = self._label(annotation, where) if kind in {"points", "skeleton"} or kind in _SHAPES else ""
        if label is None:
            return
        if kind == "points":
            one = key if self.options.several == "one" else None
            self._add(self._pairs(annotation, where), annotation, name, label, where, one)
        elif kind == "skeleton":
            elements = [object_of(item) for item in list_of(annotation.get("elements"))]
            pairs = [pair for element in elements for pair in self._pairs(element, where)]
            self._add(pairs, annotation, name, label, where, None if self.options.several == "each" else key)
        elif kind in _SHAPES and self.options.shapes:
            self._add(self._on_shape(annotation, where), annotation, name, label, where, None)
        else:
            self.found.counts[f"annotations of type {shown(annotation.get('type'))} were not read"] += 1

    def _label(self, annotation: dict[str, Any], where: str) -> str | None:
        number = whole(annotation.get("label_id"))
        if number is None and annotation.get("label_id") is None:
            return ""
        name = self.names[number] if number is not None and 0 <= number < len(self.names) else None
        if name is None:
            expected = f"expected a label_id from 0 to {len(self.names) - 1}"
            self.found.wrong(where, f"{expected}, got {shown(annotation.get('label_id'))}")
        return name

    def _pairs(self, annotation: dict[str, Any], where: str) -> list[tuple[float, float]]:
        """Return the visible points of a flat list ``[x, y, x, y, ...]``."""
        flat, seen = annotation.get("points"), list_of(annotation.get("visibility"))
        if not isinstance(flat, list) or len(flat) % 2 or not flat:
            self.found.wrong(where, f"expected points [x, y, ...], got {shown(flat)}")
            return []
        pairs = []
        for index, (x, y) in enumerate(zip(flat[::2], flat[1::2], strict=True)):
            if index < len(seen) and whole(seen[index]) == _ABSENT:
                self.found.counts["points that are absent (visibility 0) were not read"] += 1
                continue
            pairs.append(self.found.position(where, x, y))
        return [pair for pair in pairs if pair is not None]

    def _on_shape(self, annotation: dict[str, Any], where: str) -> list[tuple[float, float]]:
        if annotation.get("type") == "bbox":
            box = annotation.get("bbox")
            x, y, width, height = box if isinstance(box, list) and len(box) == 4 else (None, None, None, None)
            corner, extent = self.found.position(where, x, y), self.found.position(where, width, height)
            if corner is None or extent is None:
                return []
            return [(corner[0] + extent[0] / 2, corner[1] + extent[1] / 2)]
        corners = self._pairs(annotation, where)
        if not corners:
            return []
        return [point_on_polygon(corners) if annotation.get("type") == "polygon" else center_of(corners)]

    def _add(
        self,
        pairs: list[tuple[float, float]],
        annotation: dict[str, Any],
        name: str,
        label: str,
        where: str,
        key: str | None,
    ) -> None:
        alone = len(pairs) == 1 or key is not None
        number = whole(annotation.get("id")) if alone else None
        self.found.points += [
            SourcePoint(name, label, x, y, "pixel", where, key, number=number) for x, y in pairs
        ]
