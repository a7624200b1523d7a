"""Label Studio: the JSON export with its tasks, and JSON-MIN.

Points are the regions of ``<KeyPointLabels>``, or of ``<KeyPoint>`` with the labels of the same region; their
coordinates are percent of the image. What a model predicted, and drafts, are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapnet.errors import DataError
from sapnet.importers.addresses import looks_like_image, path_in
from sapnet.importers.collecting import Collector, brief
from sapnet.importers.label_studio_short import is_short_entry, read_short_entries
from sapnet.importers.records import Imported, ReaderOptions, SourceImage, SourcePoint
from sapnet.importers.sources import list_of, object_of, read_json_value, shown, text_of, whole

if TYPE_CHECKING:
    from sapnet.importers.sketch import Sketch

_POINT_TYPES = frozenset({"keypointlabels", "keypoint"})
_WITHOUT_PLACE = frozenset(
    {"relation", "choices", "textarea", "rating", "number", "datetime", "taxonomy", "pairwise"}
)


def is_label_studio(sketch: Sketch) -> bool:
    """Tell whether a source is a list of tasks, one task, or a JSON-MIN export."""
    if isinstance(sketch.document, dict):
        return "data" in sketch.keys and bool(sketch.keys & {"annotations", "completions"})
    entry = object_of(sketch.first_entry)
    return ("data" in entry and bool({"annotations", "completions"} & entry.keys())) or is_short_entry(entry)


def read_label_studio(source: Path, options: ReaderOptions) -> Imported:
    """Read an export of Label Studio, or a folder with one file per task as version 0.x kept them.

    Of several annotations of a task the one that was changed last counts, unless ``options.annotations`` is
    ``all``. Skipped (cancelled) annotations do not count, and tasks without any other are left out, because
    an image without points would mean that nothing is on it. A region with ``is_positive`` 0 is a negative
    point of the object whose other points have the same ``parentID``.

    Raises:
        DataError: The source is no such export.
    """
    found = Collector()
    files = sorted(source.rglob("*.json")) if source.is_dir() else [source]
    tasks: list[tuple[str, Any]] = []
    for file in files:
        document = read_json_value(file)
        inside = f"{file.relative_to(source)}: " if source.is_dir() else ""
        entries = [document] if isinstance(document, dict) else list_of(document)
        tasks += [(f"{inside}{_place(entry, index)}", entry) for index, entry in enumerate(entries)]
    shorts = [is_short_entry(object_of(entry)) for _, entry in tasks]
    if tasks and not any(
        "data" in object_of(entry) or short for (_, entry), short in zip(tasks, shorts, strict=True)
    ):
        raise DataError(str(source), ["expected a list of Label Studio tasks with 'data' and 'annotations'"])
    if any(shorts):
        read_short_entries(tasks, options, found)
        return found.imported()
    for where, task in tasks:
        _read_task(object_of(task), where, options, found)
    return found.imported()


def _place(entry: Any, index: int) -> str:
    number = object_of(entry).get("id")
    return f"task {brief(number)}" if type(number) in (int, str) else f"tasks[{index}]"


def _read_task(task: dict[str, Any], where: str, options: ReaderOptions, found: Collector) -> None:
    data = object_of(task.get("data"))
    if not data:
        found.wrong(where, f"expected a task with 'data', got {shown(task.get('data'))}")
        return
    if list_of(task.get("predictions")):
        found.counts["tasks have predictions, which were not read"] += 1
    given = [object_of(item) for item in list_of(task.get("annotations", task.get("completions")))]
    annotations = [item for item in given if not (item.get("was_cancelled") or item.get("skipped"))]
    if not annotations:
        what = "were skipped by their annotators" if given else "have no annotation"
        found.counts[f"tasks {what} and were left out"] += 1
        return
    if len(annotations) > 1 and options.annotations == "latest":
        annotations = [max(enumerate(annotations), key=_age)[1]]
        found.counts["tasks have several annotations; the latest was read"] += 1
    reader = _TaskReader(task, data, where, options, found)
    for number, annotation in enumerate(annotations):
        reader.read(list_of(annotation.get("result")), f"annotation {brief(annotation.get('id', number))}")
    reader.finish()


def _age(item: tuple[int, dict[str, Any]]) -> tuple[str, int]:
    index, annotation = item
    changed = annotation.get("updated_at", annotation.get("created_at"))
    return (changed if isinstance(changed, str) else "", index)


@dataclass
class _TaskReader:
    """Reads the regions of one task; a task may hold several images."""

    task: dict[str, Any]
    data: dict[str, Any]
    where: str
    options: ReaderOptions
    found: Collector

    def __post_init__(self) -> None:
        self._names: dict[str, str | None] = {}
        self._sizes: dict[str, tuple[int | None, int | None]] = {}

    def read(self, result: list[Any], annotation: str) -> None:
        """Read the regions of one annotation."""
        entries = [item for item in result if isinstance(item, dict)]
        labels = _labels_by_region(entries)
        parents = {text_of(item.get("parentID")) for item in entries if _negative(item)}
        for entry in entries:
            kind = text_of(entry.get("type"))
            if kind in _POINT_TYPES:
                self._read_point(entry, labels, parents, annotation)
            elif kind is not None and kind not in _WITHOUT_PLACE and kind != "labels":
                self.found.counts[f"regions of type {shown(kind)} were not read"] += 1

    def finish(self) -> None:
        """List the images; that of a task without points is the first one in its data."""
        if not self._names:
            self._name_of({})
        for name in filter(None, dict.fromkeys(self._names.values())):
            number = whole(self.task.get("id")) if len(self._names) == 1 else None
            self.found.images.append(
                SourceImage(name, *self._sizes.get(name, (None, None)), self.where, number)
            )

    def _read_point(
        self, entry: dict[str, Any], labels: dict[str, list[str]], parents: set[str | None], annotation: str
    ) -> None:
        where = f"{self.where}, {annotation}, region {brief(entry.get('id', '?'))}"
        value = object_of(entry.get("value"))
        position = self.found.position(where, value.get("x"), value.get("y"))
        name = self._name_of(entry)
        if position is None or name is None:
            return
        if entry.get("image_rotation"):
            turned = f"the image was turned by {shown(entry['image_rotation'])} degrees in Label Studio"
            self.found.wrong(where, f"{turned}; turn it back there, or turn the file")
            return
        self._note_size(name, entry, where)
        parent = text_of(entry.get("parentID"))
        key = parent if parent in parents or self.options.several == "one" else None
        if _negative(entry) and key is None:
            self.found.wrong(
                where, "a negative point without parentID; which object it belongs to is not known"
            )
            return
        names = labels.get(str(entry.get("id")), []) or _labels_in(entry)
        if len(names) > 1:
            self.found.doubtful(
                where, f"has several labels ({', '.join(map(brief, names[:4]))}); the first was taken"
            )
        self.found.points.append(
            SourcePoint(
                image=name,
                label=names[0] if names else "",
                x=position[0],
                y=position[1],
                unit="percent",
                where=where,
                object_key=f"{annotation}/{key}" if key is not None else None,
                role="negative" if _negative(entry) else "point",
            )
        )

    def _note_size(self, name: str, entry: dict[str, Any], where: str) -> None:
        size = self.found.size(where, entry.get("original_width"), entry.get("original_height"))
        known = self._sizes.setdefault(name, size)
        if known != size and None not in known and None not in size:
            self.found.doubtful(
                where, f"says the image has {size[0]} x {size[1]} pixels, an earlier one {known}"
            )

    def _name_of(self, entry: dict[str, Any]) -> str | None:
        """Return the name of the image that a region is on; a problem once per task where there is none."""
        key = self._data_key(entry)
        if key not in self._names:
            address = text_of(self.data.get(key))
            if address is not None and address.startswith("data:"):
                address = text_of(self.task.get("file_upload"))
            self._names[key] = path_in(address) if address else None
            if address is None:
                keys = ", ".join(map(shown, list(self.data)[:8]))
                self.found.wrong(self.where, f"no image address in 'data' (it has {keys})")
        return self._names[key]

    def _data_key(self, entry: dict[str, Any]) -> str:
        """Return the key of ``data`` that holds the image: as the region says, else what looks like one."""
        source = entry.get("source")
        wanted = (source[1:] if isinstance(source, str) else None, entry.get("to_name"), "image")
        for key in wanted:
            if isinstance(key, str) and looks_like_image(self.data.get(key)):
                return key
        alike = [key for key, value in self.data.items() if looks_like_image(value)]
        if len(alike) > 1 and alike[0] not in self._names:
            self.found.doubtful(
                self.where,
                f"data has several images ({', '.join(map(brief, alike[:4]))}); {brief(alike[0])} was taken",
            )
        return alike[0] if alike else "image"


def _negative(entry: dict[str, Any]) -> bool:
    value = entry.get("is_positive", object_of(entry.get("value")).get("is_positive", True))
    return value is not None and str(value).lower() in {"0", "false"}


def _labels_by_region(entries: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the labels of every region, which may stand in another entry with the same id."""
    labels: dict[str, list[str]] = {}
    for entry in entries:
        region = str(entry.get("id"))
        labels[region] = list(dict.fromkeys([*labels.get(region, []), *_labels_in(entry)]))
    return labels


def _labels_in(entry: dict[str, Any]) -> list[str]:
    value = object_of(entry.get("value"))
    return list(_texts(item for key in ("keypointlabels", "labels") for item in list_of(value.get(key))))


def _texts(values: Iterator[Any]) -> Iterator[str]:
    yield from filter(None, map(text_of, values))
