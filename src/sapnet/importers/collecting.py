"""What a reader gathers on its way through a source: the good rows, and what is wrong with the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sapnet.importers.records import Imported, Problem, SourceImage, SourcePoint, SourceRegion
from sapnet.importers.sources import number, shown, side, text_of

_BRIEF = 80


def brief(value: Any) -> str:
    """Return a name or an id as it is shown in places: a short text as it is, everything else described."""
    text = text_of(value)
    return text if text is not None and len(text) <= _BRIEF and text.isprintable() else shown(value)


@dataclass
class Collector:
    """Rows, problems and counts of one source, in its order."""

    images: list[SourceImage] = field(default_factory=list)
    points: list[SourcePoint] = field(default_factory=list)
    regions: list[SourceRegion] = field(default_factory=list)
    categories: list[tuple[int | None, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """How often something was left out on purpose, by its description ("tags were not read")."""
    notes: list[str] = field(default_factory=list)
    _named: set[str] = field(default_factory=set)

    def wrong(self, where: str, text: str) -> None:
        """Add a problem of a row that is left out."""
        self.problems.append(Problem(where, text))

    def doubtful(self, where: str, text: str) -> None:
        """Add a problem of a row that is used nevertheless."""
        self.problems.append(Problem(where, text, doubtful=True))

    def position(self, where: str, x: Any, y: Any) -> tuple[float, float] | None:
        """Return finite coordinates, or None and a problem."""
        pair = number(x), number(y)
        if pair[0] is None or pair[1] is None:
            self.wrong(where, f"expected two finite numbers x and y, got {shown(x)} and {shown(y)}")
            return None
        return pair[0], pair[1]

    def size(self, where: str, width: Any, height: Any) -> tuple[int | None, int | None]:
        """Return a declared ``(width, height)`` in pixels; a problem where it is given but cannot be one."""
        pair = side(width), side(height)
        if None not in pair:
            return pair
        if (width, height) != (None, None):
            what = f"width {shown(width)} and height {shown(height)}"
            self.doubtful(where, f"expected a size in whole pixels, got {what}; taken from the image file")
        return None, None

    def name(self, where: str, value: Any, key: str) -> str | None:
        """Return the text that names an image, or None and a problem."""
        result = text_of(value)
        if result is None:
            self.wrong(where, f"{key!r} must name an image, got {shown(value)}")
        return result

    def label(self, where: str, value: Any) -> str | None:
        """Return the name of a class, empty where there is none; None and a problem where it is no text."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return ""
        result = text_of(str(value) if type(value) in (int, float) else value)
        if result is None:
            self.wrong(where, f"expected the name of a class, got {shown(value)}")
        return result

    def category(self, name: str, number: int | None = None) -> None:
        """List a class, unless its name is listed already."""
        if name not in self._named:
            self._named.add(name)
            self.categories.append((number, name))

    def imported(self) -> Imported:
        """Return everything, the counts as notes."""
        notes = [*self.notes, *(f"{count} {what}" for what, count in self.counts.items())]
        return Imported(
            images=tuple(self.images),
            points=tuple(self.points),
            regions=tuple(self.regions),
            categories=tuple(self.categories),
            problems=tuple(self.problems),
            notes=tuple(notes),
        )
