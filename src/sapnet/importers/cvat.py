"""CVAT for images 1.1: ``annotations.xml``, also in the zip archive in which CVAT exports it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn
from xml.parsers import expat

from sapnet.errors import DataError
from sapnet.importers.archives import names_in, open_member
from sapnet.importers.collecting import Collector, brief
from sapnet.importers.records import Imported, ReaderOptions, SourceImage, SourcePoint
from sapnet.importers.shapes import center_of, point_on_polygon
from sapnet.importers.sources import number_in_text, shown, text_of

if TYPE_CHECKING:
    from sapnet.importers.sketch import Sketch

_CHUNK = 1 << 16
_DEEPEST = 64
_OTHER_SHAPES = frozenset({"box", "polygon", "polyline", "ellipse", "cuboid", "mask"})
_IN_IMAGE = _OTHER_SHAPES | {"points", "skeleton", "tag"}
Attributes = dict[str, str]


def is_cvat(sketch: Sketch) -> bool:
    """Tell whether a source is CVAT's XML, or an archive or a folder with an ``annotations.xml``."""
    if sketch.is_folder:
        return any(item.name == "annotations.xml" for item in sketch.members)
    if sketch.suffix == ".zip":
        return any(name.endswith("annotations.xml") for name in names_in(sketch.path))
    return sketch.suffix == ".xml" and "<annotations" in sketch.head


def read_cvat(source: Path, options: ReaderOptions) -> Imported:
    """Read an export of CVAT.

    Every pair in a ``<points>`` element is an object of its own, unless ``options.several`` is ``one``. The
    visible points of a ``<skeleton>`` are one object of the skeleton's label, unless ``options.several`` is
    ``each``. Boxes, ellipses and polygons count with ``options.shapes`` only; tags and masks are not read.
    Coordinates are pixels.

    Raises:
        DataError: The file is no such XML, has a document type or entities (which CVAT never writes), or is
            "CVAT for video", which names no image files.
    """
    with _open(source) as stream:
        return _XmlReader(str(source), options).read(stream)


def _open(source: Path) -> IO[bytes]:
    if source.is_dir():
        source = min(source.rglob("annotations.xml"), default=source / "annotations.xml")
    if source.suffix.lower() == ".zip":
        return open_member(
            source, lambda name: name.rpartition("/")[2] == "annotations.xml", "annotations.xml"
        )
    try:
        return source.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(str(source), [f"cannot be read: {reason}"]) from error


class _XmlReader:
    """Reads the XML as a stream, so that memory does not grow with what is not read."""

    def __init__(self, subject: str, options: ReaderOptions) -> None:
        self.subject = subject
        self.options = options
        self.found = Collector()
        self.path: list[str] = []
        self.image: str | None = None
        self.place = ""
        self.count = 0
        self.skeleton: str | None = None
        self.text: list[str] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._forbidden
        self.parser.EntityDeclHandler = self._forbidden
        self.parser.buffer_text = True

    def read(self, stream: IO[bytes]) -> Imported:
        """Read everything.

        Raises:
            DataError: See :func:`read_cvat`.
        """
        try:
            while chunk := stream.read(_CHUNK):
                self.parser.Parse(chunk, False)
            self.parser.Parse(b"", True)
        except expat.ExpatError as error:
            place = f"line {error.lineno}, column {error.offset + 1}"
            problem = f"not valid XML at {place}: {expat.ErrorString(error.code)}"
            raise DataError(self.subject, [problem]) from error
        except (
            OSError,
            zipfile.BadZipFile,
            zlib.error,
            RuntimeError,
            EOFError,
            ValueError,
            LookupError,
        ) as error:
            raise DataError(self.subject, [f"cannot be read: {error or type(error).__name__}"]) from error
        return self.found.imported()

    def _forbidden(self, *_: object) -> NoReturn:
        raise DataError(self.subject, ["has a document type or entities, which CVAT never writes; not read"])

    def _start(self, tag: str, attributes: Attributes) -> None:
        if not self.path and tag != "annotations":
            raise DataError(self.subject, [f"expected CVAT's <annotations>, got <{tag[:40]}>"])
        if len(self.path) >= _DEEPEST:
            raise DataError(
                self.subject, [f"more than {_DEEPEST} elements deep, which CVAT never writes; not read"]
            )
        parent = self.path[-1] if self.path else ""
        self.path.append(tag)
        self.text = []
        if tag == "track":
            hint = "it names no image files; export the task as 'CVAT for images 1.1' instead"
            raise DataError(self.subject, [f"is 'CVAT for video 1.1': {hint}"])
        if tag == "image" and parent == "annotations":
            self._start_image(attributes)
        elif parent == "image" and tag in _IN_IMAGE:
            self._start_shape(tag, attributes)
        elif parent == "skeleton" and tag == "points" and self.skeleton is not None:
            self._points(attributes, self.skeleton, skeleton=True)

    def _end(self, tag: str) -> None:
        if tag == "name" and self.path[-3:] == ["labels", "label", "name"] and self.path[1:2] == ["meta"]:
            name = text_of("".join(self.text))
            if name is not None:
                self.found.category(name)
        if tag == "skeleton":
            self.skeleton = None
        if tag == "image":
            self.image = None
        self.path.pop()
        self.text = []

    def _characters(self, text: str) -> None:
        if self.path[-1] == "name":
            self.text.append(text)

    def _start_image(self, attributes: Attributes) -> None:
        self.count = 0
        line = f"line {self.parser.CurrentLineNumber}"
        self.image = self.found.name(line, attributes.get("name"), "name")
        if self.image is None:
            return
        self.place = f"{brief(self.image)} (image {brief(attributes.get('id', '?'))})"
        width, height = (_whole_number(attributes.get(key)) for key in ("width", "height"))
        number = _whole_number(attributes.get("id"))
        self.found.images.append(
            SourceImage(self.image, *self.found.size(self.place, width, height), self.place, number)
        )

    def _start_shape(self, tag: str, attributes: Attributes) -> None:
        if self.image is None:
            return
        label = text_of(attributes.get("label", "")) or ""
        self.count += 1
        if tag == "points":
            self._points(attributes, label, skeleton=False)
        elif tag == "skeleton":
            self.skeleton = label
        elif tag in {"box", "ellipse", "polygon"} and self.options.shapes:
            self._shape(tag, attributes, label)
        else:
            self.found.counts[f"<{tag}> elements were not read"] += 1

    def _points(self, attributes: Attributes, label: str, *, skeleton: bool) -> None:
        """Add the clicks of a ``<points>`` element, which may stand in a skeleton."""
        if attributes.get("outside") == "1":
            self.found.counts["points that are outside (not visible) were not read"] += 1
            return
        name = (
            f"the skeleton's point {brief(attributes.get('label'))}"
            if skeleton
            else f"points of {brief(label)}"
        )
        where = f"{self.place}, line {self.parser.CurrentLineNumber}, {name}"
        one = self.options.several == "one" or (skeleton and self.options.several is None)
        key = f"element {self.count}" if one else None
        for x, y in self._pairs(attributes.get("points", ""), where):
            self._add(label, x, y, where, key)

    def _pairs(self, text: str, where: str) -> Iterator[tuple[float, float]]:
        """Yield the coordinates of ``x,y;x,y``; a problem for each that is none."""
        for pair in text.split(";"):
            numbers = [number_in_text(item) for item in pair.split(",")]
            if len(numbers) == 2 and numbers[0] is not None and numbers[1] is not None:
                yield numbers[0], numbers[1]
            else:
                self.found.wrong(where, f"expected 'x,y', got {shown(pair)}")

    def _shape(self, tag: str, attributes: Attributes, label: str) -> None:
        where = f"{self.place}, line {self.parser.CurrentLineNumber}, {tag} of {brief(label)}"
        if tag == "polygon":
            corners = list(self._pairs(attributes.get("points", ""), where))
            if corners:
                self._add(label, *point_on_polygon(corners), where, None)
            return
        keys = ("xtl", "ytl", "xbr", "ybr") if tag == "box" else ("cx", "cy", "cx", "cy")
        values = [number_in_text(attributes.get(key, "")) for key in keys]
        x1, y1, x2, y2 = values
        if x1 is None or y1 is None or x2 is None or y2 is None:
            self.found.wrong(
                where, f"expected numbers {', '.join(dict.fromkeys(keys))}, got {shown(attributes)}"
            )
        else:
            self._add(label, *center_of([(x1, y1), (x2, y2)]), where, None)

    def _add(self, label: str, x: float, y: float, where: str, key: str | None) -> None:
        if self.image is not None:
            self.found.points.append(SourcePoint(self.image, label, x, y, "pixel", where, key))


def _whole_number(text: str | None) -> int | None:
    value = number_in_text(text or "")
    return int(value) if value is not None and value.is_integer() and abs(value) < 2**53 else None
