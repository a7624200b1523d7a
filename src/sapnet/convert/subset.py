"""Subsets of COCO-shaped files: instances, points or labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sapnet.data.coco_json import EntryReader
from sapnet.data.tables import read_common
from sapnet.errors import DataError, nearest


def subset_document(
    document: dict[str, Any],
    subject: str,
    *,
    classes: Sequence[str] | None = None,
    num_images: int | None = None,
    keep_empty: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Take some classes and some images; every entry that stays is unchanged, ids included.

    Args:
        document: A COCO-shaped object.
        subject: What to call it in messages.
        classes: Names of the classes to keep, in the order of the file; all if None. Images without
            an object of theirs are dropped.
        num_images: How many images to draw from those; all if None. With one seed, the images of a
            smaller number are among those of a larger.
        keep_empty: Keep images without objects of the classes.
        seed: Seed of the draw.

    Raises:
        DataError: The document is malformed, a class is unknown, or there are fewer images than asked.
    """
    problems: list[str] = []
    common = read_common(document, problems)
    reader = EntryReader(document, "annotations", problems, frozenset())
    for index in reader:
        common.read_annotation(reader, index)
    names = [item.name for item in common.categories]
    problems += [
        f"there is no class {name!r}{nearest(name, names)}" for name in classes or [] if name not in names
    ]
    if problems:
        raise DataError(subject, problems)
    categories = {item.id for item in common.categories if classes is None or item.name in classes}
    annotations = [entry for entry in document["annotations"] if entry["category_id"] in categories]
    used = {entry["image_id"] for entry in annotations}
    eligible = [
        image_id
        for image_id in common.images.ids.tolist()
        if classes is None or keep_empty or image_id in used
    ]
    if num_images is not None:
        if num_images > len(eligible):
            raise DataError(subject, [f"{num_images} images asked for, but only {len(eligible)} qualify"])
        # Sorted, so that the draw does not depend on the order of the file.
        order = np.random.default_rng(seed).permutation(len(eligible))[:num_images]
        eligible = [sorted(eligible)[place] for place in order.tolist()]
    kept = set(eligible)
    return {
        **document,
        "images": [entry for entry in document["images"] if entry["id"] in kept],
        "categories": [entry for entry in document["categories"] if entry["id"] in categories],
        "annotations": [entry for entry in annotations if entry["image_id"] in kept],
    }
