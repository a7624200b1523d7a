"""What ``sapnet predict`` writes, brought to the ids of the ground truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from sapnet.data.instances import InstanceSet
from sapnet.errors import nearest
from sapnet.importers.matching import longest_common_tails

_NEEDED: dict[str, dict[str, type]] = {
    "images": {"id": int, "file_name": str},
    "categories": {"id": int, "name": str},
    "annotations": {"image_id": int, "category_id": int},
}
_WORDS = {int: "a whole number", str: "a text"}


def to_ground_truth_ids(
    document: Mapping[str, Any], instances: InstanceSet
) -> tuple[list[dict[str, Any]], list[str]]:
    """Match images by file name and categories by name.

    ``sapnet predict`` numbers the images it is given, which says nothing about any ground truth.

    Args:
        document: ``images`` with ``file_name``, ``categories`` with ``name``, ``annotations``.
        instances: Ground truth. Its image is the one with the same file name, else the one that shares the
            most folders with it, counted from the last part of the name.

    Returns:
        The annotations with the ground truth's ids, and the problems found: entries of another
        shape, ids given twice, and predicted images or categories that the ground truth lacks or
        that two of them claim. Images without predictions need no match.
    """
    problems = _shape_problems(document)
    if problems:
        return [], problems
    images, image_problems = _image_ids(document, instances)
    categories, category_problems = _category_ids(document, instances)
    used = {entry["image_id"] for entry in document["annotations"]}
    classes = {entry["category_id"] for entry in document["annotations"]}
    problems = [text for key, text in image_problems.items() if key in used]
    problems += [text for key, text in category_problems.items() if key in classes]
    problems += _claimed_twice({key: images[key] for key in images if key in used}, document["images"])
    entries = [
        {
            **entry,
            "image_id": images.get(entry["image_id"], entry["image_id"]),
            "category_id": categories.get(entry["category_id"], entry["category_id"]),
        }
        for entry in document["annotations"]
    ]
    return entries, problems


def _shape_problems(document: Mapping[str, Any]) -> list[str]:
    """Everything that is not of the form of ``sapnet predict``, so that the rest may rely on it."""
    problems = []
    for key, needed in _NEEDED.items():
        entries = document[key]
        if not isinstance(entries, list):
            problems.append(f"{key}: expected a list, found {type(entries).__name__}")
            continue
        for place, entry in enumerate(entries):
            problems += [f"{key} {place}: {text}" for text in _entry_problems(entry, needed)]
        ids = [entry.get("id") for entry in entries if isinstance(entry, Mapping)] if "id" in needed else []
        twice = [number for number, count in Counter(i for i in ids if _is(i, int)).items() if count > 1]
        problems += [f"{key}: id {number} is given more than once" for number in twice]
    return problems


def _entry_problems(entry: Any, needed: Mapping[str, type]) -> list[str]:
    if not isinstance(entry, Mapping):
        return [f"expected an object, found {type(entry).__name__}"]
    wrong = [name for name, kind in needed.items() if not _is(entry.get(name), kind)]
    return [f"{name}: expected {_WORDS[needed[name]]}" for name in wrong]


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _claimed_twice(found: Mapping[int, int], images: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say which predicted images stand for one image of the ground truth."""
    claims: dict[int, list[str]] = {}
    for image in images:
        if image["id"] in found:
            claims.setdefault(found[image["id"]], []).append(image["file_name"])
    return [
        f"predicted images {' and '.join(names)} are one image of the ground truth (id {target})"
        for target, names in claims.items()
        if len(names) > 1
    ]


def _image_ids(document: Mapping[str, Any], instances: InstanceSet) -> tuple[dict[int, int], dict[int, str]]:
    names = [str(name) for name in instances.images.file_names]
    ids = instances.images.ids.tolist()
    exact = dict(zip(names, ids, strict=True))
    last_parts: dict[str, list[str]] = {}
    for name in names:
        last_parts.setdefault(PurePath(name).name, []).append(name)
    found: dict[int, int] = {}
    problems: dict[int, str] = {}
    for image in document["images"]:
        name = image["file_name"]
        path = PurePath(name)
        alike = longest_common_tails(path.as_posix(), last_parts.get(path.name, []))
        if name in exact:
            found[image["id"]] = exact[name]
        elif len(alike) == 1:
            found[image["id"]] = exact[alike[0]]
        else:
            reason = f"matches {len(alike)} images" if alike else f"is no image{nearest(name, names)}"
            problems[image["id"]] = f"predicted image {name} {reason} of the ground truth"
    return found, problems


def _category_ids(
    document: Mapping[str, Any], instances: InstanceSet
) -> tuple[dict[int, int], dict[int, str]]:
    known = {item.name: item.id for item in instances.categories}
    found: dict[int, int] = {}
    problems: dict[int, str] = {}
    for category in document["categories"]:
        name = category["name"]
        if name in known:
            found[category["id"]] = known[name]
        else:
            problems[category["id"]] = (
                f"predicted category {name!r} is none of the ground truth's{nearest(name, known)}"
            )
    return found, problems
