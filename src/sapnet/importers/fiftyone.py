"""FiftyOne: a dataset exported as ``FiftyOneDataset``, or its ``samples.json``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapnet.errors import DataError
from sapnet.importers.addresses import forward
from sapnet.importers.collecting import Collector, brief
from sapnet.importers.records import Imported, ReaderOptions, SourceImage, SourcePoint
from sapnet.importers.sources import list_of, object_of, read_json_value, shown, text_of
from sapnet.importers.via import choose_attribute

if TYPE_CHECKING:
    from sapnet.importers.sketch import Sketch

_ONE, _MANY = "Keypoint", "Keypoints"


def is_fiftyone(sketch: Sketch) -> bool:
    """Tell whether a source is a ``samples.json``, or a folder with one."""
    if sketch.is_folder:
        return (sketch.path / "samples.json").is_file()
    if "samples" not in sketch.keys:
        return False
    return "filepath" in object_of(next(iter(list_of(sketch.document["samples"])), None))


def read_fiftyone(source: Path, options: ReaderOptions) -> Imported:
    """Read the ``Keypoints`` of the samples of a dataset.

    Which field holds them is ``options.attribute``, or the only one that does. The points of a ``Keypoint``
    are one object, unless ``options.several`` is ``each``; missing ones (NaN) are left out. Coordinates are
    fractions of the image.

    Raises:
        DataError: The source is no such file, or several fields hold points and ``options.attribute`` is none
            of them.
    """
    file = source / "samples.json" if source.is_dir() else source
    document = object_of(read_json_value(file))
    samples = document.get("samples")
    if not isinstance(samples, list):
        raise DataError(str(file), ["expected an object with 'samples'"])
    found = Collector()
    for class_name in _classes(file.parent / "metadata.json"):
        found.category(class_name)
    fields = dict.fromkeys(
        key for sample in samples for key, value in object_of(sample).items() if _has_points(value)
    )
    field = choose_attribute(str(file), options.attribute, list(fields), ())
    for index, item in enumerate(samples):
        sample = object_of(item)
        where = f"samples[{index}]"
        name = found.name(where, sample.get("filepath"), "filepath")
        if name is None:
            continue
        if sample.get("_media_type", "image") != "image":
            found.wrong(
                f"{where} ({brief(name)})", f"is of type {shown(sample['_media_type'])}, expected an image"
            )
            continue
        name = forward(name)
        metadata = object_of(sample.get("metadata"))
        width, height = (_plain(metadata.get(key)) for key in ("width", "height"))
        found.images.append(SourceImage(name, *found.size(where, width, height), where))
        if field is not None:
            _read_labels(object_of(sample.get(field)), name, f"{where} ({brief(name)})", options, found)
    return found.imported()


def _has_points(value: Any) -> bool:
    return text_of(object_of(value).get("_cls")) in {_ONE, _MANY}


def _classes(path: Path) -> list[str]:
    """Return the default classes that the metadata of the dataset lists."""
    if not path.is_file():
        return []
    try:
        classes = object_of(read_json_value(path)).get("default_classes")
    except DataError:
        return []
    return [name for name in map(text_of, list_of(classes)) if name is not None]


def _read_labels(
    label: dict[str, Any], name: str, place: str, options: ReaderOptions, found: Collector
) -> None:
    entries = list_of(label.get("keypoints")) if label.get("_cls") == _MANY else [label] if label else []
    for number, item in enumerate(entries):
        entry = object_of(item)
        where = f"{place}, Keypoint {number}"
        text = found.label(where, entry.get("label"))
        points = entry.get("points")
        if text is None or not isinstance(points, list):
            if text is not None:
                found.wrong(where, f"expected points [[x, y], ...], got {shown(points)}")
            continue
        key = None if options.several == "each" or len(points) == 1 else str(number)
        for point in points:
            x, y = map(_plain, point) if isinstance(point, list) and len(point) == 2 else (point, None)
            if _is_missing(x) and _is_missing(y):
                found.counts["points are missing (NaN) and were not read"] += 1
                continue
            position = found.position(where, x, y)
            if position is not None:
                found.points.append(SourcePoint(name, text, *position, "fraction", where, key))


def _plain(value: Any) -> Any:
    """Return the number in MongoDB's extended JSON ({"$numberDouble": "NaN"}); other values as they are."""
    if isinstance(value, dict) and len(value) == 1:
        kind, text = next(iter(value.items()))
        if kind in {"$numberDouble", "$numberInt", "$numberLong"} and isinstance(text, str):
            try:
                return float(text) if kind == "$numberDouble" else int(text)
            except ValueError:
                return value
    return value


def _is_missing(value: Any) -> bool:
    return value is None or (type(value) is float and math.isnan(value))
