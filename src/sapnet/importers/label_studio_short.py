"""Label Studio's JSON-MIN: one flat object per annotation, its regions under the names of their tags."""

from __future__ import annotations

from typing import Any

from sapnet.importers.addresses import looks_like_image, path_in
from sapnet.importers.collecting import Collector, brief
from sapnet.importers.records import ReaderOptions, SourceImage, SourcePoint
from sapnet.importers.sources import list_of, object_of, shown, text_of, whole

_OWN_KEYS = frozenset({"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"})


def is_short_entry(entry: dict[str, Any]) -> bool:
    """Tell whether an object is an annotation as JSON-MIN has them: with an image and when it was made."""
    marks = len(entry.keys() & {"annotation_id", "annotator", "lead_time", "created_at"})
    return "data" not in entry and marks >= 2 and any(map(looks_like_image, entry.values()))


def read_short_entries(entries: list[tuple[str, Any]], options: ReaderOptions, found: Collector) -> None:
    """Read ``(where, entry)`` into ``found``; of several annotations of a task one, unless all count."""
    latest: dict[Any, tuple[str, int]] = {}
    if options.annotations == "latest":
        for index, (_, entry) in enumerate(entries):
            task = _task(entry, index)
            latest[task] = max(latest.get(task, ("", -1)), (_changed(entry), index))
        if len(latest) < len(entries):
            left = len(entries) - len(latest)
            found.counts["annotations are not the latest of their task and were not read"] += left
    listed: set[str] = set()
    for index, (where, entry) in enumerate(entries):
        if options.annotations == "all" or latest[_task(entry, index)][1] == index:
            _read_entry(object_of(entry), where, found, listed)


def _task(entry: Any, index: int) -> Any:
    number = object_of(entry).get("id")
    return number if type(number) in (int, str) else ("without id", index)


def _changed(entry: Any) -> str:
    given = object_of(entry)
    changed = given.get("updated_at", given.get("created_at"))
    return changed if isinstance(changed, str) else ""


def _read_entry(entry: dict[str, Any], where: str, found: Collector, listed: set[str]) -> None:
    addresses = [value for key, value in entry.items() if key not in _OWN_KEYS and looks_like_image(value)]
    address = next(
        (text_of(item) for item in (entry.get("image"), *addresses) if looks_like_image(item)), None
    )
    if address is None or address.startswith("data:"):
        keys = ", ".join(map(shown, sorted(entry.keys() - _OWN_KEYS)[:8]))
        found.wrong(where, f"no image address in the task (it has {keys})")
        return
    name = path_in(address)
    regions = _regions(entry, found)
    sizes = [(region.get("original_width"), region.get("original_height")) for region in regions]
    width, height = found.size(where, *sizes[0]) if sizes else (None, None)
    if name not in listed:
        listed.add(name)
        found.images.append(SourceImage(name, width, height, where, whole(entry.get("id"))))
    for number, region in enumerate(regions):
        place = f"{where}, point {number + 1}"
        position = found.position(place, region.get("x"), region.get("y"))
        if region.get("image_rotation"):
            found.wrong(
                place, f"the image was turned by {shown(region['image_rotation'])} degrees in Label Studio"
            )
        elif position is not None:
            labels = _labels(region)
            if len(labels) > 1:
                found.doubtful(
                    place, f"has several labels ({', '.join(map(brief, labels[:4]))}); the first was taken"
                )
            label = labels[0] if labels else ""
            found.points.append(SourcePoint(name, label, position[0], position[1], "percent", place))


def _regions(entry: dict[str, Any], found: Collector) -> list[dict[str, Any]]:
    """Return the points of an entry; with ``<KeyPoint>`` and ``<Labels>`` each is there twice."""
    regions: dict[Any, dict[str, Any]] = {}
    for key, value in entry.items():
        for item in list_of(value) if key not in _OWN_KEYS else ():
            region = object_of(item)
            if not {"x", "y"} & region.keys():
                continue
            if {"height", "points", "radiusX", "rotation"} & region.keys():
                found.counts["regions that are no points were not read"] += 1
                continue
            spot = (str(region.get("x")), str(region.get("y")))
            twin = regions.get(spot)
            if twin is not None and bool(_labels(twin)) != bool(_labels(region)):
                regions[spot] = {**twin, **region}
            else:
                regions[spot if twin is None else (*spot, len(regions))] = region
    return list(regions.values())


def _labels(region: dict[str, Any]) -> list[str]:
    given = [item for key in ("keypointlabels", "labels") for item in list_of(region.get(key))]
    return list(dict.fromkeys(filter(None, map(text_of, given))))
