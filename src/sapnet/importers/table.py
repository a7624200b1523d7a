"""CSV and TSV with a header: one point per row, in a unit that the user names."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from sapnet.errors import DataError, nearest
from sapnet.importers.collecting import Collector
from sapnet.importers.records import Imported, ReaderOptions, Role, SourceImage, SourcePoint, Unit
from sapnet.importers.sketch import Sketch
from sapnet.importers.sources import number_in_text, read_text, shown, text_of

COLUMNS: dict[str, tuple[str, ...]] = {
    "image": ("image", "filename", "file_name", "path", "image_path", "file"),
    "x": ("x", "cx", "px", "col"),
    "y": ("y", "cy", "py", "row"),
    "label": ("label", "class", "category", "name"),
    "object": ("object_id", "object"),
    "positive": ("positive", "is_positive"),
    "role": ("role",),
    "width": ("width", "image_width"),
    "height": ("height", "image_height"),
}
"""What a column may be called, in any case. Columns with other names are not read."""
_NEEDED = ("image", "x", "y")
_ROLES: tuple[Role, ...] = ("point", "extra", "negative", "ignore")
_TRUTH: dict[str, Role] = {
    "1": "point",
    "true": "point",
    "yes": "point",
    "0": "negative",
    "false": "negative",
}
_TRUTH["no"] = "negative"
_DELIMITERS = {"\t": "tab", ";": "semicolon", ",": "comma"}


def read_table(source: Path, options: ReaderOptions) -> Imported:
    """Read a table with a header: columns as in :data:`COLUMNS`, of which image, x and y are needed.

    Rows with one object id (in one image) are one object: its first row is the click, the others are extra
    points, or negative ones where ``positive`` is 0. ``role`` says it outright. A row without x and y only
    lists its image.

    Args:
        source: The file; columns are separated by tabs, semicolons or commas, as in its first line.
        options: ``unit`` of x and y.

    Raises:
        DataError: It is no such table, or the unit is not given.
    """
    lines = _lines(source)
    header = next(lines, (1, []))[1]
    columns, problems = _columns(header)
    unit = options.unit
    if unit is None:
        problems.append("the unit of x and y is not known: give --unit pixel, percent or fraction")
    if problems or unit is None:
        raise DataError(str(source), problems)
    found = Collector()
    rows = _Rows(found, unit)
    unread = [name.strip() for index, name in enumerate(header) if index not in columns.values()]
    if any(unread):
        found.notes.append(f"columns that were not read: {', '.join(filter(None, unread))}")
    for line, cells in lines:
        where = f"{source.name} line {line}"
        if len(cells) != len(header):
            found.wrong(where, f"has {len(cells)} columns, the header has {len(header)}")
        else:
            rows.read(where, {key: cells[index].strip() for key, index in columns.items()})
    found.images += rows.images.values()
    return found.imported()


def is_table(sketch: Sketch) -> bool:
    """Tell whether the first line is a header with image, x and y."""
    if sketch.is_folder or sketch.suffix not in {".csv", ".tsv", ".txt"}:
        return False
    first = next(iter(sketch.head.splitlines()), "")
    try:
        columns, _ = _columns(next(csv.reader([first], delimiter=_delimiter(first)), []))
    except csv.Error:
        return False
    return all(key in columns for key in _NEEDED)


class _Rows:
    """Turns the cells of rows into points and images."""

    def __init__(self, found: Collector, unit: Unit) -> None:
        self.found = found
        self.unit = unit
        self.images: dict[str, SourceImage] = {}
        self.clicked: set[tuple[str, str]] = set()

    def read(self, where: str, cells: dict[str, str]) -> None:
        """Add what a row says; what is wrong with it becomes a problem."""
        image = text_of(cells["image"])
        if image is None:
            self.found.wrong(where, f"names no image: {shown(cells['image'])}")
            return
        self._read_image(where, image, cells)
        if not cells["x"] and not cells["y"]:
            self.found.counts["rows without x and y only list their image"] += 1
            return
        x, y = number_in_text(cells["x"]), number_in_text(cells["y"])
        if x is None or y is None:
            values = f"{shown(cells['x'])} and {shown(cells['y'])}"
            self.found.wrong(where, f"expected two finite numbers x and y, got {values}")
            return
        label = text_of(cells.get("label", "")) or ""
        key = cells.get("object") or None
        role = self._role(where, cells, image, key)
        if role is not None:
            point = SourcePoint(image, label, x, y, self.unit, where, key, role)
            self.found.points.append(point)

    def _role(self, where: str, cells: dict[str, str], image: str, key: str | None) -> Role | None:
        given, positive = cells.get("role", "").lower(), cells.get("positive", "").lower()
        role: Role | None
        if given:
            role = next((item for item in _ROLES if item == given), None)
            if role is None:
                text = f"role must be {', '.join(_ROLES)}, got {shown(given)}{nearest(given, _ROLES)}"
                self.found.wrong(where, text)
            return role
        role = _TRUTH.get(positive, None if positive else "point")
        if role is None:
            self.found.wrong(where, f"positive must be 1 or 0, got {shown(positive)}")
        if role == "point" and key is not None:
            role = "extra" if (image, key) in self.clicked else "point"
            self.clicked.add((image, key))
        return role

    def _read_image(self, where: str, name: str, cells: dict[str, str]) -> None:
        texts = cells.get("width", ""), cells.get("height", "")
        sides = [number_in_text(text) for text in texts]
        width, height = (int(item) if item and item.is_integer() else None for item in sides)
        if any(texts) and (width is None or height is None or min(width, height) < 1):
            text = (
                f"expected a size in whole pixels, got width {shown(texts[0])} and height {shown(texts[1])}"
            )
            self.found.doubtful(where, f"{text}; taken from the image file")
            width = height = None
        known = self.images.get(name)
        if known is None:
            self.images[name] = SourceImage(name, width, height, where)
        elif (width, height) != (known.width, known.height):
            text = f"{name} has another size than in {known.where}: {width} x {height} pixels"
            self.found.doubtful(where, text)


def _lines(source: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of every line that is not blank.

    Raises:
        DataError: The file is no text, or a cell is unreasonably long.
    """
    text = read_text(source)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=_delimiter(text.partition("\n")[0]))
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(str(source), [f"line {reader.line_num}: no usable table row ({error})"]) from error


def _delimiter(header: str) -> str:
    """Return what separates the columns of a header: the first of tab, semicolon and comma that occurs."""
    return next((delimiter for delimiter in _DELIMITERS if delimiter in header), ",")


def _columns(header: list[str]) -> tuple[dict[str, int], list[str]]:
    """Return the place of every known column, and what is wrong with the header."""
    names = [name.strip().lstrip("#").strip().lower() for name in header]
    columns, problems = {}, []
    for key, synonyms in COLUMNS.items():
        places = [index for index, name in enumerate(names) if name in synonyms]
        if len(places) > 1:
            given = ", ".join(repr(header[index].strip()) for index in places)
            problems.append(f"columns {given} could each be the {key}; rename all but one")
        elif places:
            columns[key] = places[0]
        elif key in _NEEDED:
            hint = next(filter(None, (nearest(item, names) for item in synonyms)), "")
            problems.append(f"there is no column {key!r} (or {', '.join(synonyms[1:])}) in the header{hint}")
    return columns, problems
