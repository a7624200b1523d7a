"""What readers of foreign formats hand over: names, places and units as the source has them.

Coordinates are ``(x, y)`` from the top-left corner of the picture that the source's author saw. Whether that
picture was turned by EXIF, and which file it is, :mod:`sapnet.importers.assemble` finds out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Unit = Literal["pixel", "percent", "fraction"]
"""Pixels; 0 to 100 or 0 to 1 of width and height. All count from the top-left corner of the picture."""
Role = Literal["point", "extra", "negative", "ignore"]
"""An object's click; a further click on it; a click outside of it; a place to leave out of account."""
Several = Literal["each", "one"]
Mode = Literal["center", "quasi-center", "random"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or doubtful, in one place of a source."""

    where: str
    """File, line or id, for people."""
    text: str
    """What is wrong, what was expected, and the nearest valid name."""
    doubtful: bool = False
    """True: the row was used nevertheless (an error with ``--strict``). False: it was left out."""

    def __str__(self) -> str:
        text = f"{self.where}: {self.text}" if self.where else self.text
        # What a source holds may be no text that a terminal or a file can take (lone surrogates).
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class SourcePoint:
    """One click of a source; ``x`` and ``y`` are finite."""

    image: str
    """The image's name, exactly as in :class:`SourceImage`."""
    label: str
    """Name of the class; empty where the role or the format has none."""
    x: float
    y: float
    unit: Unit
    where: str
    """The place for people: file, line or id."""
    object_key: str | None = None
    """Points of one image with one key are one object. None: an object of its own."""
    role: Role = "point"
    number: int | None = None
    """The annotation's id, where the source has one; of an object, that of its ``point`` counts."""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image that a source lists, with or without points."""

    name: str
    """File name, path or address as the source has it."""
    width: int | None
    """As declared by the source; None where it says nothing."""
    height: int | None
    where: str
    number: int | None = None
    """The image's id, where the source has one."""


@dataclass(frozen=True, slots=True)
class SourceRegion:
    """A region that is to be left out of account (crowd, ignore). Exactly one of box and polygon is given."""

    image: str
    label: str
    """Name of the class; empty where it concerns all classes."""
    unit: Unit
    where: str
    box: tuple[float, float, float, float] | None = None
    """``xyxy``, in ``unit``."""
    polygon: tuple[tuple[float, float], ...] | None = None
    """Vertices ``(x, y)``, in ``unit``."""


@dataclass(frozen=True)
class Imported:
    """What one source says.

    A reader leaves out what is wrong and collects a problem for it; it never raises for a row.
    """

    images: tuple[SourceImage, ...] = ()
    """In the source's order. Images that occur only in ``points`` need not be listed."""
    points: tuple[SourcePoint, ...] = ()
    regions: tuple[SourceRegion, ...] = ()
    categories: tuple[tuple[int | None, str], ...] = ()
    """``(id or None, name)`` in the source's order; those only in ``points`` need not be listed."""
    problems: tuple[Problem, ...] = ()
    slack: float = 0.0
    """Pixels by which the format lets points lie outside of their image; such points are moved inside."""
    notes: tuple[str, ...] = ()
    """What people should know and is neither wrong nor doubtful ("12 polygons were not read")."""


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """The choices that a format may leave open. A reader ignores those that do not concern it."""

    unit: Unit | None = None
    """Unit of the coordinates of a table."""
    several: Several | None = None
    """Several points in one element: ``each`` is an object of its own, or all are ``one`` object (the first
    its click, the others extra points). None: what is usual in the format, or a problem where nothing is."""
    shapes: bool = False
    """Take centres of circles and boxes and points on polygons as clicks too."""
    attribute: str | None = None
    """The attribute that holds the class, where the author of the source chose its name."""
    annotations: Literal["latest", "all"] = "latest"
    """Which of several annotations of one task count."""
    mode: Mode = "center"
    """Where in a mask the click lies, for sources that have masks and no points."""
    seed: int = 0
    """Seed of the modes that draw at random."""


Reader = Callable[[Path, ReaderOptions], Imported]
"""Reads a file or folder. Raises ``DataError`` only where the source as a whole is not of the format."""
