"""makesense.ai: points exported as CSV, which has no header."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from sapnet.errors import DataError
from sapnet.importers.collecting import Collector
from sapnet.importers.records import Imported, ReaderOptions, SourceImage, SourcePoint
from sapnet.importers.sources import number_in_text, read_text, shown

if TYPE_CHECKING:
    from sapnet.importers.sketch import Sketch

_COLUMNS = 6


def is_make_sense(sketch: Sketch) -> bool:
    """Tell whether a table's first line is ``label,x,y,file,width,height`` with numbers, not a header."""
    if sketch.suffix != ".csv":
        return False
    row = sketch.head.partition("\n")[0].strip().split(",")
    numbers = [number_in_text(row[index]) for index in (1, 2, -2, -1)] if len(row) >= _COLUMNS else [None]
    return None not in numbers


def read_make_sense(source: Path, options: ReaderOptions) -> Imported:
    """Read ``label,x,y,file,width,height`` per line, in pixels; images without points are not in such a file.

    File names are not quoted, so that what stands between the coordinates and the size is the name, commas
    included.

    Args:
        source: The CSV file.
        options: None of them concerns this format.

    Raises:
        DataError: The file is no text or no CSV, or no line has six columns.
    """
    found = Collector()
    rows = csv.reader(io.StringIO(read_text(source), newline=""))
    sizes: dict[str, tuple[int | None, int | None]] = {}
    lines = 0
    try:
        for row in rows:
            if any(row):
                lines += 1
                _read_row(row, f"line {rows.line_num}", sizes, found)
    except csv.Error as error:
        raise DataError(str(source), [f"line {rows.line_num}: not usable CSV: {error}"]) from error
    if lines and not sizes:
        raise DataError(
            str(source), ["expected lines label,x,y,file,width,height", *map(str, found.problems[:3])]
        )
    return found.imported()


def _read_row(
    row: list[str], where: str, sizes: dict[str, tuple[int | None, int | None]], found: Collector
) -> None:
    if len(row) < _COLUMNS:
        found.wrong(where, f"expected label,x,y,file,width,height, got {len(row)} columns")
        return
    x, y, width, height = (number_in_text(row[index]) for index in (1, 2, -2, -1))
    if x is None or y is None:
        found.wrong(where, f"expected numbers x and y, got {shown(row[1])} and {shown(row[2])}")
        return
    name = found.name(where, ",".join(row[3:-2]), "file")
    label = found.label(where, row[0])
    if name is None or label is None:
        return
    if name not in sizes:
        sizes[name] = found.size(where, width or row[-2], height or row[-1])
        found.images.append(SourceImage(name, *sizes[name], where))
    found.points.append(SourcePoint(name, label, x, y, "pixel", where))
