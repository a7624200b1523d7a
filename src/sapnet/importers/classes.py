"""The classes of a source: names, ids, the user's renaming, and what looks like a slip of the pen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sapnet.errors import nearest
from sapnet.importers.records import Problem, SourcePoint, SourceRegion


class Classes:
    """Collects the classes in the source's order, then in the order of their first use.

    Args:
        listed: ``(id or None, name)`` of the source.
        default: The class of points that have none; None makes them a problem.
        renamed: New names, by the names in the source.
    """

    def __init__(
        self, listed: tuple[tuple[int | None, str], ...], default: str | None, renamed: Mapping[str, str]
    ) -> None:
        self._default = default
        self._renamed = renamed
        self._ids: dict[str, int | None] = {}
        self._met: dict[str, str] = {}
        self._first_use: dict[str, str] = {}
        self._problems: list[Problem] = []
        taken: set[int] = set()
        for number, name in listed:
            label = self._met.setdefault(name, renamed.get(name, name))
            if number is None or label in self._ids:
                self._ids.setdefault(label, None)
            elif number in taken:
                self._problems.append(
                    Problem(
                        "", f"class {name!r} has the id {number} of another class; it gets a new id", True
                    )
                )
                self._ids[label] = None
            else:
                taken.add(number)
                self._ids[label] = number

    def label(self, point: SourcePoint) -> str | None:
        """Return the class of a point after renaming; None and a problem where it has none.

        Only clicks need one; an empty text stands for the others' lack of one.
        """
        if point.label:
            return self._named(point.label, point.where)
        if point.role != "point":
            return ""
        if self._default is None:
            self._problems.append(
                Problem(point.where, "the point has no class (--class names one for all such)")
            )
            return None
        return self._named(self._default, point.where, rename=False)

    def region_label(self, region: SourceRegion) -> str:
        """Return the class of a region after renaming; empty where it has none."""
        return self._named(region.label, region.where) if region.label else ""

    def id_of(self, label: str) -> int:
        """Return the id of a class that was met."""
        number = self._ids[label]
        return self._numbered()[label] if number is None else number

    def entries(self) -> list[dict[str, Any]]:
        """Return the categories of the points file."""
        return [{"id": number, "name": label} for label, number in self._numbered().items()]

    def problems(self) -> list[Problem]:
        """Return what was found: classes without name, likely slips of the pen, renamings without effect."""
        unused = [
            Problem("class map", f"there is no class {name!r} in the source{nearest(name, self._met)}")
            for name in self._renamed
            if name not in self._met
        ]
        first: dict[str, str] = {}
        slips = []
        for label in self._ids:
            folded = " ".join(label.casefold().replace("_", " ").replace("-", " ").split())
            other = first.setdefault(folded, label)
            if other != label:
                text = f"classes {other!r} and {label!r} differ only in spelling (--class-map can unite them)"
                slips.append(Problem(self._first_use.get(label, ""), text, doubtful=True))
        return [*self._problems, *unused, *slips]

    def _named(self, name: str, where: str, *, rename: bool = True) -> str:
        label = self._met.get(name) if rename else name
        if label is None:
            label = self._renamed.get(name, name)
            self._met[name] = label
        if label not in self._first_use:
            self._first_use[label] = where
        self._ids.setdefault(label, None)
        return label

    def _numbered(self) -> dict[str, int]:
        if any(number is None for number in self._ids.values()):
            taken = {number for number in self._ids.values() if number is not None}
            following = max(taken, default=0)
            for label, number in self._ids.items():
                if number is None:
                    following += 1
                    self._ids[label] = following
        return {label: number for label, number in self._ids.items() if number is not None}
