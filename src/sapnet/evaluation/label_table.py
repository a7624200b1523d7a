"""Reading of label files (COCO instances with the id of the click) against a ground truth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sapnet.data.annotations import InstanceSet, PointSet
from sapnet.data.rle import segmentation_to_counts
from sapnet.errors import DataError
from sapnet.evaluation.matching import Rle
from sapnet.evaluation.predictions import image_sizes, raise_problems

_NAMED = 10
"""Ids that a message names at most."""


def refuse_unfit(points: PointSet, instances: InstanceSet, subject: str) -> None:
    """Refuse ground truth that labels of these clicks cannot be measured against.

    Args:
        points: The clicks.
        instances: Ground truth of their images.
        subject: Name of the ground truth for messages.

    Raises:
        DataError: Clicks have no instance with their id or one in another image, or images have
            another size; every problem is listed.
    """
    images = points.images
    owners = images.ids[points.annotation_image_index].tolist()
    image_of_object = _image_of_object(instances)
    clicks = dict(zip(points.annotation_ids.tolist(), owners, strict=True))
    missing = [click for click in clicks if click not in image_of_object]
    problems = [
        f"the object with the id of click {click} is in image {image_of_object[click]}, not {image}"
        for click, image in clicks.items()
        if image_of_object.get(click, image) != image
    ]
    if missing:
        named = ", ".join(map(str, missing[:_NAMED])) + (", ..." if len(missing) > _NAMED else "")
        problems.insert(0, f"{len(missing)} of {len(clicks)} clicks have no instance with their id: {named}")
    sizes = dict(zip(instances.images.ids.tolist(), image_sizes(instances).tolist(), strict=True))
    for row, image in enumerate(images.ids.tolist()):
        size = list(images.size(row))
        if sizes.get(image, size) != size:
            other = sizes[image]
            problems.append(
                f"image {image} is {other[1]} x {other[0]}, but {size[1]} x {size[0]} in the points file"
            )
    raise_problems(subject, problems)


def _image_of_object(instances: InstanceSet) -> dict[int, int]:
    image_ids = np.asarray(instances.images.ids)
    owners = image_ids[np.asarray(instances.annotation_image_index)].tolist()
    return dict(zip(np.asarray(instances.annotation_ids).tolist(), owners, strict=True))


@dataclass(frozen=True)
class Label:
    """What a label file says of one clicked object, in the original frame."""

    mask: Rle
    click: tuple[float, float]
    """(x, y) pixels; nan where the file has none."""
    score: float | None


def read_labels(content: Any, subject: str, instances: InstanceSet) -> dict[int, Label]:
    """Read the labels of a parsed label file.

    Args:
        content: The parsed file: ``annotations``, each with ``id``, ``image_id``,
            ``segmentation`` and maybe ``point`` and ``score``.
        subject: Name of the file for messages.
        instances: Ground truth; the images must be its own.

    Returns:
        Annotation id to label, in file order.

    Raises:
        DataError: Any label is wrong or in another image than the object with its id; every
            problem is listed.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("annotations"), list):
        raise DataError(subject, ["expected an object with a list under 'annotations'"])
    image_ids = np.asarray(instances.images.ids)
    sizes = dict(zip(image_ids.tolist(), image_sizes(instances).tolist(), strict=True))
    image_of_object = _image_of_object(instances)
    table: dict[int, Label] = {}
    problems: list[str] = []
    for position, entry in enumerate(content["annotations"]):
        found = _entry_problem(entry, sizes, image_of_object, table)
        if found is None:
            try:
                table[entry["id"]] = _label(entry, sizes[entry["image_id"]])
            except (ValueError, TypeError) as error:
                found = str(error)
        if found is not None:
            name = entry.get("id") if isinstance(entry, Mapping) else None
            where = f"at place {position}" if name is None else repr(name)
            problems.append(f"annotation {where}: {found}")
    raise_problems(subject, problems)
    return table


def recorded_limit(content: Mapping[str, Any], subject: str) -> int | None:
    """Return how many proposals per click could be picked, as a label file records it.

    Args:
        content: The parsed file.
        subject: Name of the file for messages.

    Raises:
        DataError: What it records is no positive whole number.
    """
    info = content.get("info")
    limit = info.get("max_proposals") if isinstance(info, Mapping) else None
    if limit is not None and (type(limit) is not int or limit < 1):
        raise DataError(subject, [f"info.max_proposals: expected a positive whole number, found {limit!r}"])
    return limit


def _entry_problem(
    entry: Any, sizes: Mapping[int, Any], image_of_object: Mapping[int, int], table: Mapping[int, Label]
) -> str | None:
    if not isinstance(entry, Mapping):
        return f"expected an object, found {type(entry).__name__}"
    missing = [key for key in ("id", "image_id", "segmentation") if key not in entry]
    if missing:
        return f"{', '.join(missing)} missing"
    if type(entry["id"]) is not int or type(entry["image_id"]) is not int:
        return "id and image_id must be integers"
    if entry["id"] in table:
        return "the id occurs twice"
    if entry["image_id"] not in sizes:
        return f"image_id {entry['image_id']} is no image of the ground truth"
    image = image_of_object.get(entry["id"], entry["image_id"])
    if image != entry["image_id"]:
        return f"is in image {entry['image_id']}, but the object with its id is in image {image}"
    return None


def _label(entry: Mapping[str, Any], size: list[int]) -> Label:
    counts = segmentation_to_counts(entry["segmentation"], (size[0], size[1]))
    x, y = entry.get("point") or (math.nan, math.nan)
    score = entry.get("score")
    return Label(
        {"size": size, "counts": counts}, (float(x), float(y)), None if score is None else float(score)
    )
