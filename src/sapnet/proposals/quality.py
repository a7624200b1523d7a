"""How good bags of proposals are, against ground truth (evaluation only)."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray
from pycocotools import mask as coco_mask

from sapnet.data.rle import mask_box
from sapnet.proposals.proposer import ImageProposals

if TYPE_CHECKING:
    from sapnet.data.instances import InstanceSet

_DEPTHS = (3, 6, 12)
_SMALL, _LARGE = 32.0**2, 96.0**2
_HIT = 0.5


@dataclass(frozen=True)
class _BagOverlaps:
    """Overlaps of all proposals with the ground truth of their click."""

    mask_iou: ndarray
    box_iou: ndarray
    click: ndarray
    """(n,) row of the click each proposal belongs to."""
    rank: ndarray
    """(n,) place of the proposal in its bag, 0 for the best score."""
    kinds: ndarray
    areas: ndarray
    """(C,) ground-truth area of every click, in pixels."""
    annotation_ids: ndarray
    """(C,) ids of the clicks."""

    def of_kind(self, kind: str) -> _BagOverlaps:
        """The same clicks with the proposals of one kind alone, ranked among themselves."""
        rows = np.flatnonzero(self.kinds == kind)
        # The rows of a click follow each other, best first.
        _, first, counts = np.unique(self.click[rows], return_index=True, return_counts=True)
        return _BagOverlaps(
            mask_iou=self.mask_iou[rows],
            box_iou=self.box_iou[rows],
            click=self.click[rows],
            rank=np.arange(len(rows)) - np.repeat(first, counts),
            kinds=self.kinds[rows],
            areas=self.areas,
            annotation_ids=self.annotation_ids,
        )


def bag_quality(
    bags: Iterable[ImageProposals], gt_instances: InstanceSet, *, only: Container[int] | None = None
) -> dict[str, Any]:
    """Measure bags of proposals against ground truth.

    Every click whose annotation id is a non-crowd instance counts, an empty bag with overlap 0.
    ``top1`` is the proposal with the highest score, ``best_of_M`` the best of the M highest scores,
    ``oracle`` the best of the bag; masks and boxes are judged each on their own. Small, medium and
    large follow COCO (areas below 32^2, below 96^2, and above, in pixels of the original image).

    Args:
        bags: The proposals of each image: a store or any iterable.
        gt_instances: Ground truth of the same annotation ids.
        only: Annotation ids of the clicks that count; all where None.

    Returns:
        ``{"all" | "small" | "medium" | "large": {"clicks", "mask": {"top1", "best_of_3",
        "best_of_6", "best_of_12", "oracle"}, "box": {...}, "below_half"}, "kinds": {kind: {"share",
        "share_of_top1", "mask_mean", "mask_oracle", "all" | "small" | "medium" | "large": {"mask":
        {"top1", "oracle"}, "box": {...}}}}, "proposals_per_click"}``; ``below_half`` is the share of
        clicks whose best mask overlaps less than 0.5. Figures of a kind are those of bags that hold no
        other kind. None where there are no clicks.
    """
    overlaps = _overlaps(bags, gt_instances, only)
    size_of = np.digitize(overlaps.areas, [_SMALL, _LARGE])
    groups = {
        "all": np.ones(len(overlaps.areas), dtype=bool),
        **{name: size_of == i for i, name in enumerate(("small", "medium", "large"))},
    }
    best = _best(overlaps)
    result: dict[str, Any] = {}
    for name, member in groups.items():
        figures: dict[str, Any] = {"clicks": int(member.sum())} | _means(best, member)
        figures["below_half"] = _mean(best["mask"]["oracle"][member] < _HIT)
        result[name] = figures
    result["kinds"] = {kind: _of_kind(overlaps, kind, groups) for kind in np.unique(overlaps.kinds).tolist()}
    clicks = len(overlaps.areas)
    result["proposals_per_click"] = len(overlaps.click) / clicks if clicks else None
    return result


def best_overlaps(bags: Iterable[ImageProposals], gt_instances: InstanceSet) -> dict[int, float]:
    """Return the IoU of the best mask of every click, by annotation id; 0 for an empty bag.

    Args:
        bags: The proposals of each image: a store or any iterable.
        gt_instances: Ground truth of the same annotation ids; crowds do not count.
    """
    overlaps = _overlaps(bags, gt_instances, None)
    best = _best_by_depth(overlaps.mask_iou, overlaps)["oracle"]
    return dict(zip(overlaps.annotation_ids.tolist(), best.tolist(), strict=True))


def _overlaps(
    bags: Iterable[ImageProposals], gt_instances: InstanceSet, only: Container[int] | None
) -> _BagOverlaps:
    """Compare every proposal with its click's ground truth, bag by bag to bound memory."""
    usable = np.flatnonzero(~gt_instances.iscrowd)
    row_of = dict(zip(gt_instances.annotation_ids[usable].tolist(), usable.tolist(), strict=True))
    mask_iou, box_iou, click, rank = [], [], [], []
    kinds: list[str] = []
    areas: list[float] = []
    annotation_ids: list[int] = []
    for bag in bags:
        size = list(bag.image_size)
        for prompt, annotation_id in enumerate(bag.annotation_ids.tolist()):
            if annotation_id not in row_of or (only is not None and annotation_id not in only):
                continue
            gt_counts = gt_instances.counts[row_of[annotation_id]]
            rows = bag.of_prompt(prompt)
            encoded = [{"size": size, "counts": counts} for counts in bag.counts[rows]]
            if encoded:
                target = [{"size": size, "counts": gt_counts}]
                mask_iou.append(np.asarray(coco_mask.iou(encoded, target, [0]))[:, 0])
                box_iou.append(_box_iou(bag.boxes[rows], mask_box([gt_counts], bag.image_size)[0]))
                click.append(np.full(len(encoded), len(areas)))
                rank.append(np.arange(len(encoded)))
                kinds.extend(bag.kinds[rows])
            areas.append(float(gt_instances.areas[row_of[annotation_id]]))
            annotation_ids.append(annotation_id)
    return _BagOverlaps(
        mask_iou=np.concatenate([*mask_iou, np.zeros(0)]),
        box_iou=np.concatenate([*box_iou, np.zeros(0)]),
        click=np.concatenate([*click, np.zeros(0)]).astype(np.int64),
        rank=np.concatenate([*rank, np.zeros(0)]).astype(np.int64),
        kinds=np.asarray(kinds, dtype=str),
        areas=np.asarray(areas, dtype=np.float64),
        annotation_ids=np.asarray(annotation_ids, dtype=np.int64),
    )


def _best(overlaps: _BagOverlaps) -> dict[str, dict[str, ndarray]]:
    """Return the best overlaps (C,) of masks and of boxes by depth."""
    return {
        "mask": _best_by_depth(overlaps.mask_iou, overlaps),
        "box": _best_by_depth(overlaps.box_iou, overlaps),
    }


def _best_by_depth(iou: ndarray, overlaps: _BagOverlaps) -> dict[str, ndarray]:
    """Return the best overlap of each click (C,) among its first 1, 3, 6, 12 and all proposals."""
    depths = {"top1": 1, **{f"best_of_{depth}": depth for depth in _DEPTHS}, "oracle": len(iou) + 1}
    columns = {}
    for name, depth in depths.items():
        best = np.zeros(len(overlaps.areas))
        taken = overlaps.rank < depth
        np.maximum.at(best, overlaps.click[taken], iou[taken])
        columns[name] = best
    return columns


def _means(best: dict[str, dict[str, ndarray]], member: ndarray) -> dict[str, dict[str, float | None]]:
    return {
        what: {depth: _mean(values[member]) for depth, values in columns.items()}
        for what, columns in best.items()
    }


def _of_kind(overlaps: _BagOverlaps, kind: str, groups: dict[str, ndarray]) -> dict[str, Any]:
    alone = overlaps.of_kind(kind)
    member = overlaps.kinds == kind
    best = {
        what: {depth: columns[depth] for depth in ("top1", "oracle")}
        for what, columns in _best(alone).items()
    }
    return {
        "share": _mean(member),
        "share_of_top1": _mean(member[overlaps.rank == 0]),
        "mask_mean": _mean(alone.mask_iou),
        "mask_oracle": _mean(best["mask"]["oracle"]),
        **{name: _means(best, rows) for name, rows in groups.items()},
    }


def _box_iou(boxes: ndarray, gt_box: ndarray) -> ndarray:
    corner = np.minimum(boxes[:, 2:], gt_box[2:]) - np.maximum(boxes[:, :2], gt_box[:2])
    intersection = np.clip(corner, 0, None).prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (gt_box[2:] - gt_box[:2]).prod() - intersection
    return intersection / np.maximum(union, 1e-9)


def _mean(values: ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
