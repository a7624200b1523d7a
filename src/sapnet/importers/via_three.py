"""Projects of VGG Image Annotator 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sapnet.importers.addresses import path_in
from sapnet.importers.collecting import Collector, brief
from sapnet.importers.records import Imported, ReaderOptions, SourceImage, SourcePoint
from sapnet.importers.shapes import center_of, point_on_polygon
from sapnet.importers.sources import list_of, number, object_of, shown, text_of, whole

if TYPE_CHECKING:
    from collections.abc import Callable

_POINT, _RECTANGLE, _CIRCLE, _ELLIPSE, _POLYGON = 1, 2, 3, 4, 7
_TEXT, _CHECKBOX = 1, 2
_LOCAL = 1
_IMAGE = 2


def is_version_three(keys: frozenset[str]) -> bool:
    """Tell by the top-level keys whether an object is a project of VIA 3."""
    return {"attribute", "file", "view", "metadata"} <= keys


def read_version_three(
    document: dict[str, Any], subject: str, options: ReaderOptions, choose: Callable[..., str | None]
) -> Imported:
    """Read a project of VIA 3.

    Args:
        document: The project.
        subject: What to call it in messages.
        options: See :func:`sapnet.importers.via.read_via`.
        choose: Chooses the attribute that holds the class.

    Raises:
        DataError: Which attribute holds the class is open.
    """
    found = Collector()
    names = _read_files(document, found)
    attributes = object_of(document["attribute"])
    entries = [(key, object_of(item)) for key, item in object_of(document["metadata"]).items()]
    wanted = (_POINT, _RECTANGLE, _CIRCLE, _ELLIPSE, _POLYGON) if options.shapes else (_POINT,)
    used = dict.fromkeys(
        _attribute_name(attributes, key)
        for _, item in entries
        if whole(next(iter(list_of(item.get("xy"))), None)) in wanted
        for key in object_of(item.get("av"))
    )
    defined = [_attribute_name(attributes, key) for key in attributes]
    attribute = choose(subject, options.attribute, list(used), defined)
    named = (key for key in attributes if _attribute_name(attributes, key) == attribute)
    identifier = next(named, attribute or "")
    definition = object_of(attributes.get(identifier))
    for key, item in entries:
        where = f"metadata {brief(key)}"
        image = names.get(str(item.get("vid")))
        position = _position(item, where, wanted, found)
        if position is None:
            continue
        if image is None:
            found.wrong(where, f"view {shown(item.get('vid'))} shows no image file")
            continue
        labels = _labels(object_of(item.get("av")).get(identifier), definition)
        if len(labels) > 1:
            values = ", ".join(map(brief, labels[:4]))
            found.doubtful(where, f"has several values of {brief(attribute)} ({values}); the first was taken")
        found.points.append(SourcePoint(image, labels[0] if labels else "", *position, "pixel", where))
    return found.imported()


def _read_files(document: dict[str, Any], found: Collector) -> dict[str, str]:
    """List the images; return the name of the image of every view."""
    files = object_of(document["file"])
    prefixes = object_of(object_of(object_of(document.get("config")).get("file")).get("loc_prefix"))
    names: dict[str, str] = {}
    for key, item in files.items():
        entry = object_of(item)
        if entry.get("type", _IMAGE) != _IMAGE:
            found.counts["files are no images and were not read"] += 1
            continue
        place = entry.get("loc", _LOCAL)
        source = text_of(entry.get("src")) if place != _LOCAL else None
        prefix = text_of(prefixes.get(str(place))) or ""
        inline = source is None or source.startswith("data:")
        name = found.name(
            f"file {brief(key)}", entry.get("fname") if inline else f"{prefix}{source}", "fname"
        )
        if name is not None:
            names[key] = path_in(name)
            found.images.append(SourceImage(names[key], None, None, f"file {brief(key)}"))
    views = {
        key: list_of(object_of(view).get("fid_list")) for key, view in object_of(document["view"]).items()
    }
    return {
        key: names[str(shown_files[0])]
        for key, shown_files in views.items()
        if str(next(iter(shown_files), None)) in names
    }


def _attribute_name(attributes: dict[str, Any], key: str) -> str:
    return text_of(object_of(attributes.get(key)).get("aname")) or key


def _position(
    item: dict[str, Any], where: str, wanted: tuple[int, ...], found: Collector
) -> tuple[float, float] | None:
    xy = list_of(item.get("xy"))
    if not xy:
        return None  # what is said about a file, or about a stretch of time
    if list_of(item.get("z")):
        found.wrong(where, "is on a frame of a video, expected an image")
        return None
    shape = whole(xy[0])
    if shape not in wanted:
        found.counts[f"regions of VIA's shape {shown(xy[0])} were not read"] += 1
        return None
    values = xy[1:]
    if any(number(value) is None for value in values) or len(values) < (4 if shape == _RECTANGLE else 2):
        found.wrong(where, f"expected finite numbers, got {shown(values)}")
        return None
    pairs = [(float(x), float(y)) for x, y in zip(values[::2], values[1::2], strict=False)]
    if shape == _RECTANGLE:
        (x, y), (width, height) = pairs[:2]
        return center_of([(x, y), (x + width, y + height)])
    return point_on_polygon(pairs) if shape == _POLYGON else pairs[0]


def _labels(value: Any, definition: dict[str, Any]) -> list[str]:
    """Return what an attribute says: its text, or the texts of the options that are chosen."""
    text = text_of(str(value) if type(value) in (int, float) else value)
    if text is None:
        return []
    if definition.get("type") == _TEXT:
        return [text]
    choices = object_of(definition.get("options"))
    chosen = text.split(",") if definition.get("type") == _CHECKBOX else [text]
    return [text_of(choices.get(item.strip())) or item.strip() for item in chosen if item.strip()]
