"""labelme and X-AnyLabeling: one JSON file per image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from sapnet.errors import DataError
from sapnet.importers.addresses import beside
from sapnet.importers.collecting import Collector
from sapnet.importers.records import Imported, ReaderOptions, Role, SourceImage, SourcePoint, SourceRegion
from sapnet.importers.shapes import center_of, point_on_polygon
from sapnet.importers.sources import list_of, object_of, read_json_value, shown

if TYPE_CHECKING:
    from sapnet.importers.sketch import Sketch

_OTHER_SHAPES = frozenset({"circle", "rectangle", "rotation", "polygon"})
Pairs = list[tuple[float, float]]


def is_labelme(sketch: Sketch) -> bool:
    """Tell whether a source is a labelme file, or a folder whose first JSON file is one."""
    return {"shapes", "imagePath"} <= sketch.keys


def read_labelme(source: Path, options: ReaderOptions) -> Imported:
    r"""Read one file or every JSON file of a folder and below.

    ``imagePath`` is taken relative to its file, with ``\`` or ``/``; the picture inside (``imageData``) is
    not read. Points of one ``group_id`` are one object, unless ``options.several`` is ``each``; where
    X-AnyLabeling's pose labels name the points, the box of the group names the object. The flags ``negative``
    and ``ignore`` of a shape make it a negative point of its group, and a place to leave out. Circles, boxes
    and polygons count with ``options.shapes`` only. Coordinates are pixels of the picture turned as EXIF
    says.

    Raises:
        DataError: There is no labelme file at all.
    """
    found = Collector()
    files = sorted(item for item in source.rglob("*.json") if item.is_file()) if source.is_dir() else [source]
    if not files:
        raise DataError(str(source), ["there is no JSON file in this folder"])
    read = 0
    for file in files:
        relative = file.relative_to(source) if source.is_dir() else Path(file.name)
        try:
            document = object_of(read_json_value(file))
        except DataError as error:
            if not source.is_dir():
                raise
            found.wrong(str(relative), error.problems[0])
            continue
        if not isinstance(document.get("shapes"), list) or "imagePath" not in document:
            found.wrong(str(relative), "is no labelme file (no 'shapes' and 'imagePath')")
            continue
        read += 1
        _read_file(document, PurePosixPath(relative.as_posix()), options, found)
    if not read:
        raise DataError(str(source), [str(problem) for problem in found.problems])
    return found.imported()


def _read_file(
    document: dict[str, Any], relative: PurePosixPath, options: ReaderOptions, found: Collector
) -> None:
    where = str(relative)
    path = found.name(where, document["imagePath"], "imagePath")
    if path is None:
        return
    name = beside(relative.parent, path)
    width, height = found.size(where, document.get("imageWidth"), document.get("imageHeight"))
    found.images.append(SourceImage(name, width, height, where))
    shapes = [object_of(shape) for shape in document["shapes"]]
    groups = {} if options.several == "each" else _labels_of_groups(shapes)
    for index, shape in enumerate(shapes):
        _read_shape(shape, name, f"{where}, shapes[{index}]", groups, options, found)


def _labels_of_groups(shapes: list[dict[str, Any]]) -> dict[str, str | None]:
    """Return the label of every group of points; None where they differ and no other shape tells."""
    of_points: dict[str, set[str]] = {}
    of_others: dict[str, set[str]] = {}
    for shape in shapes:
        if shape.get("group_id") is not None:
            table = of_points if _kind(shape) == "point" else of_others
            if not _flag(shape, "negative"):
                table.setdefault(str(shape["group_id"]), set()).add(str(shape.get("label") or ""))
    result: dict[str, str | None] = {}
    for key, labels in of_points.items():
        chosen = labels if len(labels) == 1 else of_others.get(key, set())
        result[key] = next(iter(chosen)) if len(chosen) == 1 else None
    return result


def _read_shape(
    shape: dict[str, Any],
    name: str,
    where: str,
    groups: dict[str, str | None],
    options: ReaderOptions,
    found: Collector,
) -> None:
    kind, pairs = _kind(shape), _pairs(shape, where, found)
    label = found.label(where, shape.get("label"))
    if pairs is None or label is None:
        return
    if _flag(shape, "ignore") and kind in {"rectangle", "polygon", "rotation"} and len(pairs) > 1:
        box = (*map(min, zip(*pairs, strict=True)), *map(max, zip(*pairs, strict=True)))
        is_box = kind == "rectangle"
        found.regions.append(
            SourceRegion(
                name,
                label,
                "pixel",
                where,
                box=box if is_box else None,  # type: ignore[arg-type]
                polygon=None if is_box else tuple(pairs),
            )
        )
        return
    if kind != "point":
        if kind not in _OTHER_SHAPES or not options.shapes:
            found.counts[f"shapes of type {shown(kind)} were not read"] += 1
            return
        x, y = (
            pairs[0]
            if kind == "circle"
            else point_on_polygon(pairs)
            if kind == "polygon"
            else center_of(pairs)
        )
    elif len(pairs) == 1:
        x, y = pairs[0]
    else:
        found.wrong(where, f"a point has one pair of coordinates, got {len(pairs)}")
        return
    role: Role = "ignore" if _flag(shape, "ignore") else "negative" if _flag(shape, "negative") else "point"
    group = str(shape["group_id"]) if kind == "point" and shape.get("group_id") is not None else None
    key = group if options.several != "each" else None
    if role == "negative" and group is None:
        found.wrong(where, "a negative point without group_id; which object it belongs to is not known")
        return
    if role == "negative":
        key = group
    elif key is not None and groups.get(key) is None:
        found.doubtful(where, f"the points of group {key} have different labels; each was taken as an object")
        key = None
    elif key is not None and role == "point":
        label = groups[key] or ""
    found.points.append(
        SourcePoint(name, "" if role == "negative" else label, x, y, "pixel", where, key, role)
    )


def _kind(shape: dict[str, Any]) -> Any:
    kind = shape.get("shape_type")
    if kind is None:  # old files do not say
        return "point" if len(list_of(shape.get("points"))) == 1 else "polygon"
    return kind if isinstance(kind, str) else None


def _flag(shape: dict[str, Any], name: str) -> bool:
    return object_of(shape.get("flags")).get(name) is True


def _pairs(shape: dict[str, Any], where: str, found: Collector) -> Pairs | None:
    """Return the coordinates of a shape, at least one pair; None and a problem where one is wrong."""
    points = shape.get("points")
    if not isinstance(points, list) or not points:
        found.wrong(where, f"expected points [[x, y], ...], got {shown(points)}")
        return None
    pairs: list[tuple[float, float] | None] = []
    for pair in points:
        x, y = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
        pairs.append(found.position(where, x, y))
    return None if None in pairs else list(_known(pairs))


def _known(pairs: list[tuple[float, float] | None]) -> Iterator[tuple[float, float]]:
    yield from (pair for pair in pairs if pair is not None)
