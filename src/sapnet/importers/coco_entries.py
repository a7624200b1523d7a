"""The lists of a COCO-shaped file, row by row: what cannot be used is collected, never raised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sapnet.errors import DataError, nearest
from sapnet.importers.collecting import Collector
from sapnet.importers.records import SourceImage, SourcePoint, SourceRegion
from sapnet.importers.sources import list_of, number, object_of, read_json_value, shown, text_of, whole

_SECTIONS = ("images", "annotations")


@dataclass(frozen=True, slots=True)
class Row:
    """One annotation whose image is known."""

    entry: dict[str, Any]
    where: str
    image: SourceImage
    category: dict[str, Any]
    """Its entry in ``categories``; empty where the file has none."""
    label: str
    """The category's name; empty where the file has no categories."""
    number: int | None
    """Its id."""

    @property
    def left_out(self) -> bool:
        """Whether it is a crowd or to be ignored."""
        flags = self.entry.get("iscrowd"), self.entry.get("ignore")
        return any(type(flag) in (int, bool) and flag == 1 for flag in flags)


@dataclass
class CocoEntries:
    """A COCO-shaped file while it is being read."""

    document: dict[str, Any]
    found: Collector = field(default_factory=Collector)
    images: dict[int, SourceImage] = field(default_factory=dict)
    categories: dict[int, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> CocoEntries:
        """Read the images and categories of a file.

        Raises:
            DataError: It is no JSON object with the lists ``images`` and ``annotations``.
        """
        document = read_json_value(path)
        if not isinstance(document, dict):
            raise DataError(
                str(path), [f"expected an object with images and annotations, got {shown(document)}"]
            )
        problems = [
            f"expected a list {key!r}, got {shown(document[key])}"
            if key in document
            else f"the key {key!r} is missing{nearest(key, document)}"
            for key in _SECTIONS
            if not isinstance(document.get(key), list)
        ]
        if problems:
            raise DataError(str(path), problems)
        entries = cls(document)
        entries._read_categories()
        entries._read_images()
        return entries

    def rows(self) -> Iterator[Row]:
        """Step through the annotations whose image and category are known; the others are problems."""
        for index, entry in enumerate(self.document["annotations"]):
            where = _where("annotations", index, entry)
            if not isinstance(entry, dict):
                self.found.wrong(where, f"expected an object, got {shown(entry)}")
                continue
            image_id = whole(entry.get("image_id"))
            image = None if image_id is None else self.images.get(image_id)
            if image is None:
                self.found.wrong(where, f"there is no image with the image_id {shown(entry.get('image_id'))}")
                continue
            category_id = entry.get("category_id")
            category = self.categories.get(category_id) if type(category_id) is int else None
            if category is None and (self.categories or category_id is not None):
                known = ", ".join(map(str, list(self.categories)[:12])) or "none"
                text = f"there is no category with the category_id {shown(category_id)} (known ids: {known})"
                self.found.wrong(where, text)
                continue
            category = category or {}
            label = text_of(category.get("name")) or ""
            yield Row(entry, where, image, category, label, whole(entry.get("id")))

    def region(self, row: Row, tight: tuple[float, float, float, float] | None = None) -> None:
        """Keep an annotation as a region to leave out of account, by its box.

        Args:
            row: The annotation.
            tight: The ``xyxy`` box of its mask, for where it has no ``bbox``.
        """
        box = box_of(row.entry.get("bbox")) or box_of(row.entry.get("true_bbox")) or tight
        if box is None:
            self.found.wrong(row.where, "is a crowd or to be ignored, but has no bbox")
        else:
            self.found.regions.append(SourceRegion(row.image.name, row.label, "pixel", row.where, box=box))

    def _read_images(self) -> None:
        for index, entry in enumerate(self.document["images"]):
            where = _where("images", index, entry)
            if not isinstance(entry, dict):
                self.found.wrong(where, f"expected an object, got {shown(entry)}")
                continue
            image_id = whole(entry.get("id"))
            name = self.found.name(where, entry.get("file_name"), "file_name")
            if image_id is None:
                self.found.wrong(where, f"'id' must be an integer, got {shown(entry.get('id'))}")
            elif image_id in self.images:
                self.found.wrong(where, f"the id {image_id} is already used by {self.images[image_id].where}")
            elif name is not None:
                width, height = self.found.size(where, entry.get("width"), entry.get("height"))
                image = SourceImage(name, width, height, where, image_id)
                self.images[image_id] = image
                self.found.images.append(image)
                self._read_ignored(entry, image)

    def _read_ignored(self, entry: dict[str, Any], image: SourceImage) -> None:
        """Read the key ``ignore_regions`` that points files of this package may have."""
        for index, value in enumerate(list_of(entry.get("ignore_regions"))):
            where = f"{image.where}: ignore_regions[{index}]"
            region = object_of(value)
            category = self.categories.get(whole(region.get("category_id")) or 0, {})
            label = text_of(category.get("name")) or "" if "category_id" in region else ""
            box, xy = box_of(region.get("bbox")), point_of(region.get("point"))
            vertices = [point_of(item) for item in list_of(region.get("polygon"))]
            polygon = tuple(item for item in vertices if item is not None)
            if box is not None:
                self.found.regions.append(SourceRegion(image.name, label, "pixel", where, box=box))
            elif xy is not None:
                self.found.points.append(SourcePoint(image.name, label, *xy, "pixel", where, role="ignore"))
            elif polygon and len(polygon) == len(vertices):
                self.found.regions.append(SourceRegion(image.name, label, "pixel", where, polygon=polygon))
            else:
                self.found.wrong(where, f"expected an object with bbox, polygon or point, got {shown(value)}")

    def _read_categories(self) -> None:
        if not isinstance(self.document.get("categories", []), list):
            what = shown(self.document["categories"])
            self.found.wrong("categories", f"expected a list, got {what}")
        names: dict[str, int] = {}
        for index, entry in enumerate(list_of(self.document.get("categories"))):
            where = _where("categories", index, entry)
            category_id, name = whole(object_of(entry).get("id")), text_of(object_of(entry).get("name"))
            if category_id is None or name is None:
                self.found.wrong(where, "expected an object with an integer 'id' and a text 'name'")
            elif category_id in self.categories:
                self.found.wrong(where, f"the id {category_id} is already used by an earlier category")
            elif name in names:
                self.found.doubtful(where, f"the name {name!r} is that of category {names[name]} too; united")
                self.categories[category_id] = entry
            else:
                names[name] = category_id
                self.categories[category_id] = entry
        self._list_categories()

    def _list_categories(self) -> None:
        """List the classes, but for the unused parent of all others that Roboflow puts first."""
        used = Counter(
            entry.get("category_id")
            for entry in self.document["annotations"]
            if isinstance(entry, dict) and type(entry.get("category_id")) is int
        )
        parents = {text_of(entry.get("supercategory")) for entry in self.categories.values()}
        for category_id, entry in self.categories.items():
            name = text_of(entry["name"]) or ""
            if not used[category_id] and entry.get("supercategory") == "none" and name in parents:
                self.found.notes.append(
                    f"the unused class {name!r} (id {category_id}), parent of others, is left out"
                )
            else:
                self.found.categories.append((category_id, name))


def point_of(value: Any) -> tuple[float, float] | None:
    """Return a finite ``[x, y]`` as a pair; None for everything else."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    x, y = number(value[0]), number(value[1])
    return None if x is None or y is None else (x, y)


def box_of(value: Any) -> tuple[float, float, float, float] | None:
    """Return COCO's ``[x, y, width, height]`` as ``xyxy``; None for everything else."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    x, y, width, height = map(number, value)
    if x is None or y is None or width is None or height is None or min(width, height) < 0:
        return None
    return x, y, x + width, y + height


def _where(section: str, index: int, entry: Any) -> str:
    entry_id = whole(object_of(entry).get("id"))
    return f"{section}[{index}]" if entry_id is None else f"{section}[{index}] (id {entry_id})"
