"""Objects out of single points: one click each, with its further and its negative points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sapnet.importers.records import Problem, SourcePoint

Placed = tuple[SourcePoint, str, str, tuple[float, float]]
"""A point of the source, its file, its class (empty: none), its place in pixels of the upright image."""


@dataclass(slots=True)
class PlacedObject:
    """One clicked object. Points are ``(x, y)`` in pixels of the upright image."""

    file: str
    label: str
    xy: tuple[float, float]
    number: int | None
    extra: list[tuple[float, float]] = field(default_factory=list)
    negative: list[tuple[float, float]] = field(default_factory=list)


def group_objects(points: Sequence[Placed]) -> tuple[list[PlacedObject], list[Problem], int]:
    """Group points into objects, in the order of the objects' first points.

    A second ``point`` of an object is an extra point.

    Returns:
        The objects, the problems, and how many points the objects hold.
    """
    problems: list[Problem] = []
    groups: dict[tuple[str, str] | int, list[Placed]] = {}
    for index, placed in enumerate(points):
        key = placed[0].object_key
        groups.setdefault(index if key is None else (placed[1], key), []).append(placed)
    objects = []
    used = 0
    seen: dict[tuple[str, str, tuple[float, float]], str] = {}
    for group in groups.values():
        made = _object_of(group, problems)
        if made is None:
            continue
        objects.append(made)
        used += 1 + len(made.extra) + len(made.negative)
        where = group[0][0].where
        other = seen.setdefault((made.file, made.label, made.xy), where)
        if other is not where:
            text = f"the same click ({made.xy[0]:g}, {made.xy[1]:g}) on the same class as {other}"
            problems.append(Problem(where, text, doubtful=True))
    return objects, problems, used


def _object_of(group: list[Placed], problems: list[Problem]) -> PlacedObject | None:
    first = next((placed for placed in group if placed[0].role == "point"), None)
    if first is None:
        for point, *_ in group:
            kind = "negative" if point.role == "negative" else "further"
            problems.append(Problem(point.where, f"a {kind} point, but its object has no click"))
        return None
    point, file, label, xy = first
    made = PlacedObject(file, label, xy, point.number)
    for placed in group:
        if placed is first:
            continue
        if placed[2] not in {"", label}:
            text = f"its object is of class {label!r} ({point.where}), this point of {placed[2]!r}"
            problems.append(Problem(placed[0].where, text))
        elif placed[0].role == "negative":
            made.negative.append(placed[3])
        else:
            made.extra.append(placed[3])
    return made
