"""Which proposal of every click is the best: what no choice of proposals can surpass."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from sapnet.data.annotations import InstanceSet
from sapnet.errors import DataError
from sapnet.evaluation.bag_picks import BagSource
from sapnet.proposals.proposer import ImageProposals


def best_picks(
    store: BagSource, instances: InstanceSet, *, max_proposals: int
) -> dict[int, tuple[int, float]]:
    """Pick the proposal with the highest mask IoU with the object of its click.

    Args:
        store: Where the bags are.
        instances: Ground truth.
        max_proposals: Only so many proposals of a click are looked at, best score first.

    Returns:
        Annotation id to (index into the bag, IoU) of every object whose bag is not empty; the lowest index
        among equals.

    Raises:
        DataError: Proposals were made at another image size than that of the ground truth.
    """
    picks: dict[int, tuple[int, float]] = {}
    image_ids = np.asarray(instances.images.ids)[instances.annotation_image_index]
    sizes = {int(key): instances.images.size(row) for row, key in enumerate(instances.images.ids)}
    objects = {int(key): row for row, key in enumerate(instances.annotation_ids)}
    for image_id in np.unique(image_ids).tolist():
        if image_id not in store:
            continue
        proposals = store.of_image(image_id)
        _refuse_other_size(proposals, sizes[image_id])
        size = list(proposals.image_size)
        for prompt, key in enumerate(proposals.annotation_ids.tolist()):
            rows = proposals.of_prompt(prompt)
            if key not in objects or rows.start == rows.stop:
                continue
            masks = [{"size": size, "counts": item} for item in proposals.counts[rows.start : rows.stop]]
            wanted = {"size": size, "counts": instances.counts[objects[key]]}
            overlaps = np.asarray(coco_mask.iou(masks[:max_proposals], [wanted], [0]))[:, 0]
            picks[key] = (int(overlaps.argmax()), float(overlaps.max()))
    return picks


def _refuse_other_size(proposals: ImageProposals, expected: tuple[int, int]) -> None:
    if tuple(proposals.image_size) != tuple(expected):
        found = f"{proposals.image_size[1]} x {proposals.image_size[0]} pixels (width x height)"
        problem = f"its proposals were made at {found}, the ground truth is {expected[1]} x {expected[0]}"
        raise DataError(f"image {proposals.image_id}", [problem])
