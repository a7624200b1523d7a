"""VGG Image Annotator: projects and exports of VIA 1 and 2 (JSON and CSV); projects of VIA 3."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapnet.errors import DataError, nearest
from sapnet.importers.addresses import path_in
from sapnet.importers.collecting import Collector, brief
from sapnet.importers.records import Imported, ReaderOptions, SourceImage, SourcePoint
from sapnet.importers.shapes import center_of, point_on_polygon
from sapnet.importers.sources import list_of, object_of, read_json_value, read_text, shown, text_of
from sapnet.importers.via_three import is_version_three, read_version_three

if TYPE_CHECKING:
    from sapnet.importers.sketch import Sketch

_TABLE_HEADER = ("filename", "region_shape_attributes", "region_attributes")
_ROUND = frozenset({"circle", "ellipse"})


def is_via(sketch: Sketch) -> bool:
    """Tell whether a source is a project or an export of VIA 1, 2 or 3."""
    if sketch.suffix in {".csv", ".tsv"}:
        return all(name in sketch.head.partition("\n")[0] for name in _TABLE_HEADER)
    if "_via_img_metadata" in sketch.keys or is_version_three(sketch.keys):
        return True
    first = next(iter(sketch.document.values()), None) if isinstance(sketch.document, dict) else None
    return isinstance(first, dict) and {"filename", "regions"} <= first.keys()


def read_via(source: Path, options: ReaderOptions) -> Imported:
    """Read a project of VIA 2 or 3, or an export ("annotations") of VIA 1 or 2 as JSON or CSV.

    The class is the value of ``options.attribute``; where that is None, of the only region attribute. Values
    that are ids of options (choices) become the options' texts. Coordinates are pixels. VIA does not say how
    large images are. Circles, ellipses, boxes and polygons count with ``options.shapes`` only.

    Raises:
        DataError: The source is none of these, or has several region attributes and ``options.attribute`` is
            none of them.
    """
    found = Collector()
    if source.suffix.lower() in {".csv", ".tsv"}:
        images, definitions = _images_of_table(source, found), {}
    else:
        document = object_of(read_json_value(source))
        if is_version_three(frozenset(document)):
            return read_version_three(document, str(source), options, choose_attribute)
        images = object_of(document.get("_via_img_metadata", document))
        definitions = object_of(object_of(document.get("_via_attributes")).get("region"))
        if not any("regions" in object_of(image) for image in images.values()) and (
            images or "_via_img_metadata" not in document
        ):
            raise DataError(str(source), ["expected a VIA project or its exported annotations"])
    entries = [(key, object_of(image), _regions(image)) for key, image in images.items()]
    used = (region for _, _, regions in entries for region in regions if _is_wanted(region, options))
    names = dict.fromkeys(key for region in used for key in object_of(region.get("region_attributes")))
    attribute = choose_attribute(str(source), options.attribute, list(names), list(definitions))
    options_of = object_of(object_of(definitions.get(attribute or "")).get("options"))
    for key, image, regions in entries:
        _read_image(key, image, regions, (attribute, options_of), options, found)
    return found.imported()


def choose_attribute(subject: str, wanted: str | None, used: list[str], defined: Iterable[str]) -> str | None:
    """Return the attribute that holds the class: the wanted one, or the only one; None where there is none.

    Args:
        subject: What to call the source in messages.
        wanted: The user's choice.
        used: Attributes of the points.
        defined: Attributes that the project defines.

    Raises:
        DataError: The wanted one does not exist, or there are several and none is wanted.
    """
    known = list(dict.fromkeys([*used, *defined]))
    if wanted is not None:
        if wanted not in known:
            there = ", ".join(map(brief, known[:12])) or "none"
            raise DataError(subject, [f"no attribute {wanted!r}{nearest(wanted, known)}; there are: {there}"])
        return wanted
    if len(used) > 1:
        names = ", ".join(map(brief, used[:12]))
        problem = f"several attributes may hold what to read ({names}): choose with --attribute NAME"
        raise DataError(subject, [problem])
    return used[0] if used else None


def chosen_text(value: Any, choices: dict[str, Any]) -> list[str]:
    """Return what an attribute says: texts, with ids of choices replaced by the choices' texts.

    A checkbox, ``{id: true, ...}``, may say several things. Where choices share a text their ids are kept.
    """
    ids = [key for key, ticked in value.items() if ticked] if isinstance(value, dict) else [value]
    texts = [text_of(choice) for choice in choices.values()]
    result = []
    for item in ids:
        name = text_of(str(item) if type(item) in (int, float) else item)
        described = text_of(choices.get(name)) if name is not None else None
        if described is not None and texts.count(described) == 1:
            name = described
        if name is not None:
            result.append(name)
    return result


def _regions(image: Any) -> list[dict[str, Any]]:
    """Return the regions of an image: a list, in VIA 1 an object with the numbers as keys."""
    regions = object_of(image).get("regions")
    return [
        object_of(region) for region in (regions.values() if isinstance(regions, dict) else list_of(regions))
    ]


def _is_wanted(region: dict[str, Any], options: ReaderOptions) -> bool:
    return object_of(region.get("shape_attributes")).get("name") == "point" or options.shapes


def _read_image(
    key: str,
    image: dict[str, Any],
    regions: list[dict[str, Any]],
    class_from: tuple[str | None, dict[str, Any]],
    options: ReaderOptions,
    found: Collector,
) -> None:
    address = found.name(f"image {shown(key)}", image.get("filename"), "filename")
    if address is None:
        return
    name = path_in(address)
    found.images.append(SourceImage(name, None, None, brief(name)))
    attribute, choices = class_from
    for index, region in enumerate(regions):
        where = f"{brief(name)}, region {index}"
        position = _position(object_of(region.get("shape_attributes")), where, options, found)
        if position is None:
            continue
        labels = (
            chosen_text(object_of(region.get("region_attributes")).get(attribute), choices)
            if attribute
            else []
        )
        if len(labels) > 1:
            values = ", ".join(map(brief, labels[:4]))
            found.doubtful(where, f"has several values of {brief(attribute)} ({values}); the first was taken")
        found.points.append(SourcePoint(name, labels[0] if labels else "", *position, "pixel", where))


def _position(
    shape: dict[str, Any], where: str, options: ReaderOptions, found: Collector
) -> tuple[float, float] | None:
    kind = text_of(shape.get("name"))
    if kind == "point" or (options.shapes and kind in _ROUND):
        return found.position(where, shape.get("cx"), shape.get("cy"))
    if options.shapes and kind == "rect":
        corner = found.position(where, shape.get("x"), shape.get("y"))
        extent = found.position(where, shape.get("width"), shape.get("height"))
        if corner is None or extent is None:
            return None
        return center_of([corner, (corner[0] + extent[0], corner[1] + extent[1])])
    if options.shapes and kind == "polygon":
        x, y = list_of(shape.get("all_points_x")), list_of(shape.get("all_points_y"))
        pairs = [found.position(where, *pair) for pair in zip(x, y, strict=False)]
        corners = [pair for pair in pairs if pair is not None]
        if not corners:
            found.wrong(where, "a polygon without corners")
        return point_on_polygon(corners) if corners and len(corners) == len(pairs) else None
    found.counts[f"regions of shape {shown(shape.get('name'))} were not read"] += 1
    return None


def _images_of_table(source: Path, found: Collector) -> dict[str, Any]:
    """Return the rows of a CSV export in the shape of the JSON export."""
    images: dict[str, Any] = {}
    rows = csv.reader(io.StringIO(read_text(source), newline=""))
    header: list[str] = []
    try:
        for row in rows:
            if header and any(row):
                _add_row(dict(zip(header, row, strict=False)), f"line {rows.line_num}", images, found)
            header = header or [name.strip().lstrip("#").strip() for name in row]
    except csv.Error as error:
        raise DataError(str(source), [f"line {rows.line_num}: not usable CSV: {error}"]) from error
    if missing := [name for name in _TABLE_HEADER if name not in header]:
        raise DataError(str(source), [f"expected VIA's columns, {', '.join(missing)} missing"])
    return images


def _add_row(row: dict[str, str], where: str, images: dict[str, Any], found: Collector) -> None:
    name = found.name(where, row.get("filename"), "filename")
    if name is None:
        return
    image = images.setdefault(name, {"filename": name, "regions": []})
    region = {}
    for column in ("shape_attributes", "attributes"):
        text = row.get(f"region_{column}", "")
        try:
            value = json.loads(text or "{}")
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            found.wrong(where, f"expected JSON in region_{column}, got {shown(text)}")
            return
        region["region_attributes" if column == "attributes" else column] = value
    if region["shape_attributes"]:  # an image without regions has one row with empty objects
        image["regions"].append(region)
