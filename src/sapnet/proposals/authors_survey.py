"""Checks the authors' proposal JSON against the clicks, and finds the annotation of every click in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from sapnet.errors import nearest
from sapnet.proposals.authors_rows import read_bag
from sapnet.proposals.json_stream import JsonScan

if TYPE_CHECKING:
    from sapnet.data.annotations import PointSet

_FARTHEST_CLICK = 1.0
"""Pixels along each axis by which a ``point`` may differ: half a pixel lies between conventions."""
_LISTED = 50


@dataclass
class Survey:
    """Checks a file entry by entry and notes where the annotation of every click lies.

    Args:
        points: The clicks that the annotations must be about.
        skip_bad: Accept annotations that no click has, and clicks without an annotation.

    Attributes:
        problems: The first fifty problems, a sentence each; ``num_problems`` counts them all.
        crowds: Annotations marked ``iscrowd`` or ``ignore`` that no click has.
        unknown: Other annotations that no click has, where they are accepted.
        info: The file's ``info``.
        offset: (N,) byte in the file where the annotation of each click starts, -1 where it has none.
        length: (N,) its length in bytes.
    """

    points: PointSet
    skip_bad: bool
    problems: list[str] = field(default_factory=list)
    num_problems: int = 0
    crowds: int = 0
    unknown: int = 0
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.offset = np.full(len(self.points), -1, dtype=np.int64)
        self.length = np.zeros(len(self.points), dtype=np.int64)
        self._order = np.argsort(self.points.annotation_ids, kind="stable")
        self._sorted = self.points.annotation_ids[self._order]

    def read(self, scan: JsonScan) -> None:
        """Take in the whole file."""
        for element in scan:
            where = f"{element.section}[{element.number}]"
            entry = element.value
            if element.section == "info" and isinstance(entry, dict):
                self.info = entry
            elif element.section not in ("images", "annotations"):
                continue
            elif element.number is None:
                self._add(f"{element.section!r} must be a list, got {type(entry).__name__}.")
            elif not isinstance(entry, dict) or type(entry.get("id")) is not int:
                self._add(f"{where}: expected an object with an integer 'id'.")
            elif element.section == "images":
                self._check_image(entry, f"{where} (id {entry['id']})")
            else:
                place = (element.offset, element.length)
                self._check_annotation(entry, f"{where} (id {entry['id']})", place)
        if "annotations" not in scan.sections:
            self._add(f"the key 'annotations' is missing{nearest('annotations', scan.sections)}.")
        elif not self.skip_bad:
            for row in np.flatnonzero(self.offset < 0).tolist():
                self._add(f"annotation {self.points.annotation_ids[row]} of the points has no proposals.")

    def _add(self, problem: str) -> None:
        self.num_problems += 1
        if len(self.problems) < _LISTED:
            self.problems.append(problem)

    def _check_image(self, entry: Mapping[str, Any], where: str) -> None:
        try:
            height, width = self.points.images.size(self.points.images.index_of(entry["id"]))
        except (KeyError, OverflowError):
            # Images that the clicks do not have are no concern; their annotations are.
            return
        found = (entry.get("width", width), entry.get("height", height))
        if found != (width, height):
            expected = f"{width} x {height} (width x height in the points file)"
            self._add(f"{where} has {found[0]} x {found[1]} pixels, expected {expected}.")

    def _check_annotation(self, entry: Mapping[str, Any], where: str, place: tuple[int, int]) -> None:
        row = self._row(entry["id"])
        if row is None:
            if entry.get("iscrowd") or entry.get("ignore"):
                self.crowds += 1
            elif self.skip_bad:
                self.unknown += 1
            else:
                self._add(f"{where}: no annotation of the points has this id.")
            return
        if self.offset[row] >= 0:
            self._add(f"{where}: the id occurs twice.")
        self.offset[row], self.length[row] = place
        image = int(self.points.annotation_image_index[row])
        size = self.points.images.size(image)
        for problem in (*self._differences(entry, row, image), *read_bag(entry, size)[1]):
            self._add(f"{where}: {problem}.")

    def _row(self, annotation_id: int) -> int | None:
        if not -(2**63) <= annotation_id < 2**63:
            return None
        rank = int(np.searchsorted(self._sorted, annotation_id))
        if rank == len(self._sorted) or self._sorted[rank] != annotation_id:
            return None
        return int(self._order[rank])

    def _differences(self, entry: Mapping[str, Any], row: int, image: int) -> Iterator[str]:
        """Say where an annotation is about something else than the click with its id."""
        expected = {
            "image_id": int(self.points.images.ids[image]),
            "category_id": self.points.category_id_of(int(self.points.annotation_labels[row])),
        }
        for key, value in expected.items():
            if entry.get(key, value) != value:
                yield f"its {key} is {entry[key]!r}, that of the click is {value}"
        click, found = self.points.xy[row], entry.get("point")
        if found is not None and not _is_near(found, click):
            yield f"its point is {found!r}, the click is at [{click[0]:g}, {click[1]:g}]"


def _is_near(found: Any, click: ndarray) -> bool:
    if not isinstance(found, list) or len(found) != 2 or any(type(x) not in (int, float) for x in found):
        return False
    low, high = click - _FARTHEST_CLICK, click + _FARTHEST_CLICK
    return bool(low[0] <= found[0] <= high[0] and low[1] <= found[1] <= high[1])
