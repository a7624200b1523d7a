"""How good estimated boxes of clicks are, against ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from sapnet.data.annotations import InstanceSet, PointSet
from sapnet.data.rle import mask_box

_SMALL, _LARGE = 32.0**2, 96.0**2
_HIT = 0.5


def box_quality(
    points: PointSet, boxes: Mapping[int, tuple[float, float, float, float]], gt_instances: InstanceSet
) -> dict[str, Any]:
    """Measure one box per click against the tight box of the object's mask.

    Every click whose annotation id is a non-crowd instance counts; one without a box has overlap 0. Small,
    medium and large follow COCO (mask areas below 32^2, below 96^2, and above, in pixels of the original
    image), as in ``proposals.quality.bag_quality``.

    Args:
        points: The clicks.
        boxes: ``xyxy`` by annotation id, original frame.
        gt_instances: Ground truth of the same annotation ids.

    Returns:
        ``{"all" | "small" | "medium" | "large": {"clicks", "box_miou", "above_half"}}``; ``above_half`` is
        the share of clicks whose box overlaps at least 0.5. None where there are no clicks.
    """
    clicked = set(points.annotation_ids.tolist())
    rows = [
        row
        for row, key in enumerate(gt_instances.annotation_ids.tolist())
        if key in clicked and not gt_instances.iscrowd[row]
    ]
    overlaps = np.zeros(len(rows))
    for place, row in enumerate(rows):
        found = boxes.get(int(gt_instances.annotation_ids[row]))
        if found is not None:
            size = gt_instances.images.size(int(gt_instances.annotation_image_index[row]))
            gt_box = mask_box([gt_instances.counts[row]], size)[0]
            overlaps[place] = _overlap(np.asarray(found, dtype=np.float64), gt_box)
    group = np.digitize(np.asarray(gt_instances.areas, dtype=np.float64)[rows], [_SMALL, _LARGE])
    members = {"all": np.ones(len(rows), dtype=bool)}
    members |= {name: group == index for index, name in enumerate(("small", "medium", "large"))}
    return {name: _figures(overlaps[member]) for name, member in members.items()}


def _figures(overlaps: ndarray) -> dict[str, Any]:
    count = len(overlaps)
    return {
        "clicks": count,
        "box_miou": float(overlaps.mean()) if count else None,
        "above_half": float((overlaps >= _HIT).mean()) if count else None,
    }


def _overlap(box: ndarray, gt_box: ndarray) -> float:
    sides = np.minimum(box[2:], gt_box[2:]) - np.maximum(box[:2], gt_box[:2])
    intersection = np.clip(sides, 0, None).prod()
    union = (box[2:] - box[:2]).prod() + (gt_box[2:] - gt_box[:2]).prod() - intersection
    return float(intersection / union) if union > 0 else 0.0
