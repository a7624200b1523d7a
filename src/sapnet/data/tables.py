"""What point files and instance files share: images, categories, and one row per annotation."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from sapnet.data.coco_json import EntryReader, extras_json, parse_extras
from sapnet.data.columns import StringColumn

_IMAGE_KEYS = frozenset({"id", "file_name", "width", "height"})
_CATEGORY_KEYS = frozenset({"id", "name"})
_SECTIONS = frozenset({"images", "categories", "annotations"})


@dataclass(frozen=True, eq=False)
class ImageTable:
    """The images of a file, in file order. Sizes are in pixels, after EXIF rotation."""

    ids: Int[ndarray, " I"]
    file_names: StringColumn
    heights: Int[ndarray, " I"]
    widths: Int[ndarray, " I"]
    extras: StringColumn
    """The other keys of each image, as JSON, or an empty string."""

    def __len__(self) -> int:
        return len(self.ids)

    def size(self, index: int) -> tuple[int, int]:
        """Return ``(height, width)`` of the image in a row."""
        return int(self.heights[index]), int(self.widths[index])

    def index_of(self, image_id: int) -> int:
        """Return the row of an image id.

        Raises:
            KeyError: No image has that id.
        """
        order = self._order
        place = int(np.searchsorted(self.ids, image_id, sorter=order))
        if place == len(order) or self.ids[order[place]] != image_id:
            raise KeyError(f"no image has the id {image_id}")
        return int(order[place])

    @cached_property
    def _order(self) -> ndarray:
        return np.argsort(self.ids, kind="stable")


@dataclass(frozen=True)
class Category:
    """A class: its id in files (any integer) and its name."""

    id: int
    name: str
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The other keys of the category."""


@dataclass(frozen=True, eq=False, kw_only=True)
class AnnotationTable:
    """One row per annotation, in file order. A label is the rank of its category in the file."""

    images: ImageTable
    categories: tuple[Category, ...]
    annotation_ids: Int[ndarray, " N"]
    annotation_image_index: Int[ndarray, " N"]
    annotation_labels: Int[ndarray, " N"]
    annotation_extras: StringColumn
    """The other keys of each annotation, as JSON, or an empty string."""
    extra: str = ""
    """The other top-level keys, as JSON, or an empty string."""

    def __len__(self) -> int:
        return len(self.annotation_ids)

    def rows_of(self, index: int) -> Int[ndarray, " G"]:
        """Return the rows of the annotations of the image in row ``index``, in file order."""
        order, starts = self._by_image
        return order[starts[index] : starts[index + 1]]

    def category_id_of(self, label: int) -> int:
        """Return the category id of a label 0..K-1."""
        return self.categories[label].id

    def label_of(self, category_id: int) -> int:
        """Return the label 0..K-1 of a category id.

        Raises:
            KeyError: No category has that id.
        """
        return self._labels[category_id]

    @cached_property
    def _labels(self) -> dict[int, int]:
        return {category.id: label for label, category in enumerate(self.categories)}

    @cached_property
    def _by_image(self) -> tuple[ndarray, ndarray]:
        order = np.argsort(self.annotation_image_index, kind="stable")
        starts = np.searchsorted(self.annotation_image_index[order], np.arange(len(self.images) + 1))
        return order, starts


@dataclass
class KnownIds:
    """The ids that one section lists, with their rows."""

    section: str
    rows: dict[int, int]

    def hint(self, number: int) -> str:
        """Return which ids there are, or the closest one where there are many."""
        if not self.rows:
            return ""
        if len(self.rows) <= 12:
            return f" (known ids: {', '.join(map(str, self.rows))})"
        place = bisect.bisect(self._sorted, number)
        closest = min(self._sorted[max(0, place - 1) : place + 1], key=lambda item: abs(item - number))
        return f" (the nearest id is {closest})"

    @cached_property
    def _sorted(self) -> list[int]:
        return sorted(self.rows)


@dataclass
class CommonColumns:
    """The columns that every annotation file has, while it is being read."""

    images: ImageTable
    categories: tuple[Category, ...]
    extra: str
    known_images: KnownIds
    known_categories: KnownIds
    damaged_images: list[int]
    """Rows of images with a problem."""
    seen: dict[int, int] = field(default_factory=dict)
    ids: list[int] = field(default_factory=list)
    image_index: list[int] = field(default_factory=list)
    annotation_labels: list[int] = field(default_factory=list)
    extras: list[str] = field(default_factory=list)

    def read_annotation(self, reader: EntryReader, index: int) -> int | None:
        """Read id, image and category of one annotation.

        Returns:
            The row of its image, or None if that is not known.
        """
        number = reader.integer("id")
        if number is not None and self.seen.setdefault(number, index) != index:
            reader.problem(f"the id {number} is already used by annotations[{self.seen[number]}]")
        row = _known(reader, "image_id", self.known_images)
        label = _known(reader, "category_id", self.known_categories)
        self.ids.append(number or 0)
        self.image_index.append(row or 0)
        self.annotation_labels.append(label or 0)
        self.extras.append(reader.extras())
        return row

    def fields(self) -> dict[str, Any]:
        """Return the arguments of :class:`AnnotationTable`."""
        return {
            "images": self.images,
            "categories": self.categories,
            "extra": self.extra,
            "annotation_ids": np.asarray(self.ids, dtype=np.int64),
            "annotation_image_index": np.asarray(self.image_index, dtype=np.int64),
            "annotation_labels": np.asarray(self.annotation_labels, dtype=np.int64),
            "annotation_extras": StringColumn.of(self.extras),
        }


def read_common(document: dict[str, Any], problems: list[str]) -> CommonColumns:
    """Read images, categories and top-level keys of a COCO-shaped object.

    Args:
        document: The parsed file.
        problems: Where every problem is added as one sentence.
    """
    images, image_rows, damaged = _read_images(document, problems)
    categories = _read_categories(document, problems)
    return CommonColumns(
        images=images,
        categories=categories,
        extra=extras_json(document, _SECTIONS, problems.append),
        known_images=KnownIds("images", image_rows),
        known_categories=KnownIds("categories", {item.id: label for label, item in enumerate(categories)}),
        damaged_images=damaged,
    )


def common_json(table: AnnotationTable) -> dict[str, Any]:
    """Return the images, categories and top-level keys of a table as a COCO-shaped object."""
    images = [
        {
            "id": int(table.images.ids[row]),
            "file_name": table.images.file_names[row],
            "width": int(table.images.widths[row]),
            "height": int(table.images.heights[row]),
            **parse_extras(table.images.extras[row]),
        }
        for row in range(len(table.images))
    ]
    categories = [{"id": item.id, "name": item.name, **item.extra} for item in table.categories]
    return {**parse_extras(table.extra), "images": images, "categories": categories, "annotations": []}


def _read_images(
    document: dict[str, Any], problems: list[str]
) -> tuple[ImageTable, dict[int, int], list[int]]:
    reader = EntryReader(document, "images", problems, _IMAGE_KEYS)
    rows: dict[int, int] = {}
    ids: list[int] = []
    names, heights, widths, extras, damaged = [], [], [], [], []
    for _ in reader:
        known_problems = len(problems)
        number = reader.integer("id")
        if number is not None and number in rows:
            reader.problem(f"the id {number} is already used by an earlier image")
        elif number is not None:
            rows[number] = len(ids)
        ids.append(number or 0)
        names.append(reader.text("file_name") or "")
        heights.append(reader.integer("height", least=1) or 1)
        widths.append(reader.integer("width", least=1) or 1)
        extras.append(reader.extras())
        if len(problems) > known_problems:
            damaged.append(len(ids) - 1)
    table = ImageTable(
        ids=np.asarray(ids, dtype=np.int64),
        file_names=StringColumn.of(names),
        heights=np.asarray(heights, dtype=np.int64),
        widths=np.asarray(widths, dtype=np.int64),
        extras=StringColumn.of(extras),
    )
    return table, rows, damaged


def _read_categories(document: dict[str, Any], problems: list[str]) -> tuple[Category, ...]:
    reader = EntryReader(document, "categories", problems, _CATEGORY_KEYS)
    categories: list[Category] = []
    ids: set[int] = set()
    names: set[str] = set()
    for _ in reader:
        number, name = reader.integer("id"), reader.text("name")
        if number is not None and number in ids:
            reader.problem(f"the id {number} is already used by an earlier category")
        if name is not None and name in names:
            reader.problem(f"the name {name!r} is already used by an earlier category")
        if number is not None and name is not None:
            ids.add(number)
            names.add(name)
            categories.append(Category(number, name, parse_extras(reader.extras())))
    if not categories and isinstance(document.get("categories"), list) and document.get("annotations"):
        problems.append("categories is empty, but there are annotations")
    return tuple(categories)


def _known(reader: EntryReader, key: str, known: KnownIds) -> int | None:
    """Return the row of an id that must be listed in another section."""
    number = reader.integer(key)
    if number is None:
        return None
    if number not in known.rows:
        reader.problem(f"{key} {number} is not in {known.section}{known.hint(number)}")
        return None
    return known.rows[number]
