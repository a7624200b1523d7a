"""What ``sapnet predict`` writes, brought to the ids of the ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from sapnet.data.instances import InstanceSet
from sapnet.errors import nearest


def to_ground_truth_ids(
    document: Mapping[str, Any], instances: InstanceSet
) -> tuple[list[dict[str, Any]], list[str]]:
    """Match images by file name and categories by name.

    ``sapnet predict`` numbers the images it is given, which says nothing about any ground truth.

    Args:
        document: ``images`` with ``file_name``, ``categories`` with ``name``, ``annotations``.
        instances: Ground truth. Its image is the one with the same file name, else the only one with
            the same last part of the name.

    Returns:
        The annotations with the ground truth's ids, and the problems found: predicted images or
        categories that the ground truth lacks. Images without predictions need no match.
    """
    images, image_problems = _image_ids(document, instances)
    categories, category_problems = _category_ids(document, instances)
    used = {entry.get("image_id") for entry in document["annotations"]}
    classes = {entry.get("category_id") for entry in document["annotations"]}
    problems = [text for key, text in image_problems.items() if key in used]
    problems += [text for key, text in category_problems.items() if key in classes]
    entries = [
        {
            **entry,
            "image_id": images.get(entry.get("image_id"), entry.get("image_id")),
            "category_id": categories.get(entry.get("category_id"), entry.get("category_id")),
        }
        for entry in document["annotations"]
    ]
    return entries, problems


def _image_ids(document: Mapping[str, Any], instances: InstanceSet) -> tuple[dict[Any, int], dict[Any, str]]:
    names = [str(name) for name in instances.images.file_names]
    ids = instances.images.ids.tolist()
    exact = dict(zip(names, ids, strict=True))
    last_parts: dict[str, list[int]] = {}
    for name, image_id in zip(names, ids, strict=True):
        last_parts.setdefault(PurePath(name).name, []).append(image_id)
    found: dict[Any, int] = {}
    problems: dict[Any, str] = {}
    for image in document["images"]:
        name = str(image["file_name"])
        alike = last_parts.get(PurePath(name).name, [])
        if name in exact:
            found[image["id"]] = exact[name]
        elif len(alike) == 1:
            found[image["id"]] = alike[0]
        else:
            reason = f"matches {len(alike)} images" if alike else f"is no image{nearest(name, names)}"
            problems[image["id"]] = f"predicted image {name} {reason} of the ground truth"
    return found, problems


def _category_ids(
    document: Mapping[str, Any], instances: InstanceSet
) -> tuple[dict[Any, int], dict[Any, str]]:
    known = {item.name: item.id for item in instances.categories}
    found: dict[Any, int] = {}
    problems: dict[Any, str] = {}
    for category in document["categories"]:
        name = str(category["name"])
        if name in known:
            found[category["id"]] = known[name]
        else:
            problems[category["id"]] = (
                f"predicted category {name!r} is none of the ground truth's{nearest(name, known)}"
            )
    return found, problems
