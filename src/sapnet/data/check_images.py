"""The part of the points check that looks at image files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from sapnet.data.annotations import PointSet
from sapnet.data.check_findings import Finding
from sapnet.data.images import read_image, stored_orientation
from sapnet.errors import DataError, nearest

_TRANSPOSED = range(5, 9)
_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
_NAMED = 5
_COMPARED = 5000
"""How many names are compared letter by letter."""


def image_findings(points: PointSet, folder: Path, *, decode: bool) -> Iterator[Finding]:
    """Yield what is wrong or odd with the files of the images.

    Args:
        points: The points.
        folder: The image folder.
        decode: Decode every image, not only its header.
    """
    files = _ImageFiles(folder)
    for row, name in enumerate(points.images.file_names):
        where = f"{name} (image id {points.images.ids[row]})"
        path = folder / name
        if not path.is_file():
            text = f"{where}: there is no such image in {folder}{files.similar(name)}"
            yield Finding("image missing", text)
            continue
        try:
            stored, orientation = stored_orientation(path)
            if decode:
                read_image(path)
        except DataError as error:
            yield Finding("image unreadable", f"{where}: {error.problems[0]}")
            continue
        yield from _compare(where, points.images.size(row), stored, orientation)
    yield from _unlisted(points, files)


def repeated_files(points: PointSet) -> Iterator[Finding]:
    """Yield images that are the same file."""
    first: dict[str, int] = {}
    for row, name in enumerate(points.images.file_names):
        if first.setdefault(name, row) != row:
            ids = f"{points.images.ids[first[name]]} and {points.images.ids[row]}"
            yield Finding("file listed twice", f"{name}: images {ids} are the same file")


def _compare(
    where: str, declared: tuple[int, int], stored: tuple[int, int], orientation: int
) -> Iterator[Finding]:
    """Compare ``(height, width)`` in the points file with the file's, whose EXIF may turn it."""
    upright = stored[::-1] if orientation in _TRANSPOSED else stored
    if declared != upright:
        text = (
            f"{where}: is {upright[1]} x {upright[0]} pixels (width x height), "
            f"but the points file says {declared[1]} x {declared[0]}"
        )
        if declared == stored:
            text += "; its EXIF orientation turns it, so the clicks seem to be made on the unturned picture"
        elif declared == upright[::-1]:
            text += "; width and height seem to be swapped"
        yield Finding("image of another size", text)
    elif orientation != 1 and stored == upright:
        text = f"{where}: EXIF orientation {orientation} turns or mirrors it, which its size does not show"
        yield Finding("turned by EXIF", text)


def _unlisted(points: PointSet, files: _ImageFiles) -> Iterator[Finding]:
    listed = {str(Path(name)) for name in points.images.file_names}
    others = [name for name in files.names if name not in listed and Path(name).suffix.lower() in _ENDINGS]
    if others:
        shown = ", ".join(others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
        yield Finding(
            "file not listed", f"{len(others)} images of the folder are not in the points file: {shown}"
        )


class _ImageFiles:
    """The names of the files below a folder, listed once."""

    def __init__(self, folder: Path) -> None:
        paths = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
        self.names = sorted(str(path.relative_to(folder)) for path in paths)
        self._known = set(self.names)
        self._by_base: dict[str, str] = {}
        self._by_folded: dict[str, str] = {}
        for name in reversed(self.names):
            self._by_base[_base(name)] = name
            self._by_folded[name.casefold()] = name

    def similar(self, name: str) -> str:
        """Return the file that was probably meant: other separators, URL escapes, case, or a typing error."""
        for candidate in (name.replace("\\", "/"), unquote(name), unquote(name).replace("\\", "/")):
            if candidate in self._known:
                return f" (did you mean {candidate!r}?)"
        base = _base(name.replace("\\", "/"))
        same = self._by_folded.get(name.casefold()) or self._by_base.get(base)
        return f" (did you mean {same!r}?)" if same else nearest(name, self.names[:_COMPARED])


def _base(name: str) -> str:
    return name.rsplit("/", 1)[-1]
