"""COCO average precision of masks and of the boxes around them, through pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sapnet.data.annotations import InstanceSet
from sapnet.evaluation.matching import mask_areas, mask_boxes, to_rles
from sapnet.evaluation.predictions import Predictions, image_sizes, load_ground_truth, load_predictions

MAX_DETECTIONS = 100
"""Detections per image and class that count, as in the COCO protocol."""
COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10)


class _Evaluation(COCOeval):
    """COCOeval that also honours ``ignore`` of objects that are no crowd regions."""

    def _prepare(self) -> None:
        super()._prepare()
        for objects in self._gts.values():
            for item in objects:
                item["ignore"] = int(bool(item["ignore"]) or bool(item["ignored_object"]))


def evaluate_coco(
    predictions: Path | str | Sequence[Mapping[str, Any]], instances: Path | str | InstanceSet
) -> dict[str, Any]:
    """Compute the COCO metrics of predicted instances.

    Args:
        predictions: COCO results, a file or the list itself; ids must be of the ground truth. Boxes
            in it are not read: the box metrics are those of the tight boxes around the masks.
        instances: Ground truth, a file or a loaded set.

    Returns:
        ``AP, AP50, AP75, APs, APm, APl`` of the masks as fractions (None where there is no object
        to find), the same under ``box``, ``per_class`` (name to ``AP, AP50, AP75, objects``) and
        the counts ``images, objects, predictions``. JSON-serialisable.

    Raises:
        DataError: A file is wrong; every problem is listed.
    """
    ground_truth = load_ground_truth(instances)
    found = load_predictions(predictions, ground_truth)
    masks = coco_precision(found, ground_truth, "segm", COCO_THRESHOLDS)
    boxes = coco_precision(found, ground_truth, "bbox", COCO_THRESHOLDS)
    counted = np.bincount(
        ground_truth.annotation_labels[~_left_out(ground_truth)], minlength=len(ground_truth.categories)
    )
    per_class = {
        category.name: {
            "AP": mean_precision(masks[:, :, label, 0]),
            "AP50": mean_precision(masks[0, :, label, 0]),
            "AP75": mean_precision(masks[5, :, label, 0]),
            "objects": int(counted[label]),
        }
        for label, category in enumerate(ground_truth.categories)
    }
    return {
        **_summary(masks),
        "box": _summary(boxes),
        "per_class": per_class,
        "images": len(ground_truth.images.ids),
        "objects": int(counted.sum()),
        "predictions": len(found.masks),
    }


def coco_precision(
    predictions: Predictions, instances: InstanceSet, kind: str, thresholds: ndarray
) -> ndarray:
    """Return interpolated precision by the COCO protocol, at most 100 detections per image and class.

    Args:
        predictions: Predicted masks.
        instances: Ground truth; crowd and ignored objects count neither for nor against.
        kind: ``segm`` or ``bbox`` (tight boxes of the masks).
        thresholds: (T,) IoU thresholds.

    Returns:
        (T, 101, K, 4) precision at 101 recalls for areas all, small, medium, large; -1 where there
        is no object.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = _Evaluation(
            _coco_objects(instances), _coco_detections(predictions, instances, kind), kind
        )
        evaluation.params.iouThrs = np.asarray(thresholds, dtype=np.float64)
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.params.imgIds = list(range(1, len(instances.images.ids) + 1))
        evaluation.params.catIds = list(range(1, len(instances.categories) + 1))
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"])[..., 0]


def mean_precision(precision: ndarray) -> float | None:
    """Return the mean over the entries that exist (are not -1), None if there is none."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None


def _summary(precision: ndarray) -> dict[str, float | None]:
    return {
        "AP": mean_precision(precision[..., 0]),
        "AP50": mean_precision(precision[0, ..., 0]),
        "AP75": mean_precision(precision[5, ..., 0]),
        "APs": mean_precision(precision[..., 1]),
        "APm": mean_precision(precision[..., 2]),
        "APl": mean_precision(precision[..., 3]),
    }


def _left_out(instances: InstanceSet) -> ndarray:
    return np.asarray(instances.iscrowd, dtype=bool) | np.asarray(instances.ignore, dtype=bool)


def _coco(instances: InstanceSet, annotations: list[dict[str, Any]]) -> COCO:
    # Ids are renumbered from 1: pycocotools takes a match with annotation id 0 for no match.
    coco = COCO()
    sizes = image_sizes(instances).tolist()
    coco.dataset = {
        "images": [{"id": row, "height": size[0], "width": size[1]} for row, size in enumerate(sizes, 1)],
        "categories": [{"id": row, "name": item.name} for row, item in enumerate(instances.categories, 1)],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _coco_objects(instances: InstanceSet) -> COCO:
    index = np.asarray(instances.annotation_image_index)
    masks = to_rles(instances.counts, image_sizes(instances)[index])
    boxes = np.array(instances.boxes, dtype=np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    annotations = [
        {
            "id": row + 1,
            "image_id": int(index[row]) + 1,
            "category_id": int(instances.annotation_labels[row]) + 1,
            "segmentation": masks[row],
            "bbox": boxes[row].tolist(),
            "area": float(instances.areas[row]),
            "iscrowd": int(instances.iscrowd[row]),
            "ignored_object": bool(instances.ignore[row]),
        }
        for row in range(len(masks))
    ]
    return _coco(instances, annotations)


def _coco_detections(predictions: Predictions, instances: InstanceSet, kind: str) -> COCO:
    boxes = mask_boxes(predictions.masks)
    boxes[:, 2:] -= boxes[:, :2]
    # As COCO.loadRes has it: a detection that matches nothing is small or large by what is compared.
    areas = boxes[:, 2] * boxes[:, 3] if kind == "bbox" else mask_areas(predictions.masks)
    annotations = [
        {
            "id": row + 1,
            "image_id": int(predictions.image_index[row]) + 1,
            "category_id": int(predictions.labels[row]) + 1,
            "score": float(predictions.scores[row]),
            "segmentation": mask,
            "bbox": boxes[row].tolist(),
            "area": float(areas[row]),
            "iscrowd": 0,
        }
        for row, mask in enumerate(predictions.masks)
    ]
    return _coco(instances, annotations)
