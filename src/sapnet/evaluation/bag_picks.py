"""What rules without a model would pick from a proposal store, measured against ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.evaluation.matching import (
    Rle,
    best_of_groups,
    compactness,
    covers_points,
    mask_boxes,
    paired_box_iou,
    paired_mask_iou,
    ranks_in_groups,
    to_rles,
)
from sapnet.proposals.proposer import ImageProposals

RULES = ("top_score", "largest_alone", "oracle")
"""top_score: highest proposer score (SAM-top1); largest_alone: the largest mask that covers no other
click of its class; oracle: highest mask IoU with the ground truth."""


class BagSource(Protocol):
    """What is read of a proposal store."""

    def __contains__(self, image_id: int) -> bool:
        """Whether the store has the image; one that was skipped it has not."""
        ...

    def of_image(self, image_id: int) -> ImageProposals:
        """Return the proposals of one image."""
        ...


@dataclass(frozen=True)
class EvaluatedObjects:
    """The ground truth objects that are judged; those of an image lie together."""

    annotation_ids: Int[ndarray, " n"]
    image_ids: Int[ndarray, " n"]
    labels: Int[ndarray, " n"]
    masks: tuple[Rle, ...]
    boxes: Float[ndarray, "n 4"]
    """``xyxy`` pixels: the boxes of the ground truth file."""
    clicks: Float[ndarray, "n 2"]
    """(x, y) of the click of each object; nan where unknown."""


@dataclass(frozen=True)
class PickQuality:
    """How well one pick per object fits; 0 where there is no pick."""

    mask_iou: Float[ndarray, " n"]
    box_iou: Float[ndarray, " n"]
    compactness: Float[ndarray, " n"]
    """R_v of the pick: mask area over box area."""
    picked: Bool[ndarray, " n"]


@dataclass(frozen=True)
class BagQuality:
    """The picks of every rule and what the bags hold."""

    picks: Mapping[str, PickQuality]
    """Rule name to its picks."""
    max_compactness: Float[ndarray, " n"]
    """Highest R_v in the bag; nan for an empty bag."""
    num_proposals: Int[ndarray, " n"]


def measure_pick(masks: list[Rle], objects: EvaluatedObjects, rows: Int[ndarray, " m"]) -> PickQuality:
    """Measure m masks, each against the object in the given row (every row at most once)."""
    size = len(objects.annotation_ids)
    wanted = [objects.masks[row] for row in rows]
    quality = PickQuality(np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size, dtype=bool))
    quality.mask_iou[rows] = paired_mask_iou(masks, wanted)
    quality.box_iou[rows] = paired_box_iou(mask_boxes(masks), objects.boxes[rows])
    quality.compactness[rows] = compactness(masks)
    quality.picked[rows] = True
    return quality


def measure_bags(
    store: BagSource, objects: EvaluatedObjects, *, max_proposals: int | None = None
) -> BagQuality:
    """Apply every rule of ``RULES`` to the bags of the objects.

    Args:
        store: Where the bags are.
        objects: Objects, image by image; one without a bag, or with an empty one, has no pick.
        max_proposals: Use only so many proposals per prompt, best score first; all where None.
    """
    size = len(objects.annotation_ids)
    columns: dict[str, dict[str, Any]] = {
        rule: {name: np.zeros(size) for name in ("mask_iou", "box_iou", "compactness")} for rule in RULES
    }
    highest = np.full(size, np.nan)
    number = np.zeros(size, dtype=np.int64)
    found = np.unique(objects.image_ids, return_index=True, return_counts=True)
    for image_id, start, length in zip(*(part.tolist() for part in found), strict=True):
        if image_id not in store:
            continue
        span = slice(start, start + length)
        rows, chosen, values = _measure_image(store.of_image(image_id), objects, span, max_proposals)
        if not len(rows):
            continue
        number += np.bincount(rows, minlength=size)
        highest[np.unique(rows)] = values["compactness"][best_of_groups(rows, -values["compactness"])]
        for rule, best in chosen.items():
            for name, column in columns[rule].items():
                column[rows[best]] = values[name][best]
    picks = {rule: PickQuality(picked=number > 0, **columns[rule]) for rule in RULES}
    return BagQuality(picks, highest, number)


def _measure_image(
    proposals: ImageProposals, objects: EvaluatedObjects, span: slice, max_proposals: int | None
) -> tuple[ndarray, dict[str, ndarray], dict[str, ndarray]]:
    """Return, for the proposals of judged objects: the object's row, the picks, the measures."""
    annotation_ids = objects.annotation_ids[span]
    by_id = np.argsort(annotation_ids, kind="stable")
    owner_ids = np.asarray(proposals.annotation_ids, dtype=np.int64)[proposals.prompt_index]
    place = np.searchsorted(annotation_ids, owner_ids, sorter=by_id).clip(max=len(by_id) - 1)
    local = by_id[place]
    kept = annotation_ids[local] == owner_ids
    if max_proposals is not None:
        kept &= ranks_in_groups(proposals.prompt_index, proposals.scores) < max_proposals
    kept_rows = np.flatnonzero(kept)
    local = local[kept_rows]
    rows = span.start + local
    sizes = np.broadcast_to(np.asarray(proposals.image_size), (len(rows), 2))
    masks = to_rles([proposals.counts[row] for row in kept_rows], sizes)
    values = {
        "mask_iou": paired_mask_iou(masks, [objects.masks[row] for row in rows]),
        "box_iou": paired_box_iou(proposals.boxes[kept_rows].astype(np.float64), objects.boxes[rows]),
        "compactness": compactness(masks),
    }
    others = _covered_clicks(masks, local, objects, span, proposals.image_size)
    picks = {
        "top_score": best_of_groups(rows, -proposals.scores[kept_rows]),
        "largest_alone": best_of_groups(rows, others, -proposals.areas[kept_rows]),
        "oracle": best_of_groups(rows, -values["mask_iou"]),
    }
    return rows, picks, values


def _covered_clicks(
    masks: list[Rle], owner: ndarray, objects: EvaluatedObjects, span: slice, size: tuple[int, int]
) -> Int[ndarray, " n"]:
    """Count the clicks of other objects of its class that each mask covers."""
    clicks, labels = objects.clicks[span], objects.labels[span]
    covered = np.zeros(len(masks), dtype=np.int64)
    for label in np.unique(labels[owner]):
        mine = np.flatnonzero(labels[owner] == label)
        of_class = np.flatnonzero((labels == label) & ~np.isnan(clicks).any(axis=1))
        inside = covers_points([masks[row] for row in mine], clicks[of_class], size)
        inside &= owner[mine][:, None] != of_class[None, :]
        covered[mine] = inside.sum(axis=1)
    return covered
