"""VOC average precision of masks at IoU 0.25, 0.5, 0.7 and 0.75, under both conventions in use.

Papers that report on VOC 2012 differ in the script, and their figures are not comparable:
``area`` is the area under the monotone precision envelope with matching by the highest overlap
(the VOC tool chain), ``coco101`` the mean precision at 101 recalls with COCO's matching.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.data.annotations import InstanceSet
from sapnet.evaluation.coco_ap import coco_precision, mean_precision
from sapnet.evaluation.matching import mask_iou_matrix, match_by_highest_overlap, to_rles
from sapnet.evaluation.predictions import Predictions, image_sizes, load_ground_truth, load_predictions

VOC_THRESHOLDS = (0.25, 0.5, 0.7, 0.75)
VOC_NAMES = ("AP25", "AP50", "AP70", "AP75")

_NO_OBJECT, _FOUND, _NOT_COUNTED = 0, 1, 2


def evaluate_voc(
    predictions: Path | str | Sequence[Mapping[str, Any]], instances: Path | str | InstanceSet
) -> dict[str, Any]:
    """Compute VOC average precision under both conventions.

    Args:
        predictions: COCO results, a file or the list itself.
        instances: Ground truth, a file or a loaded set. Crowd and ignored objects are no objects to
            find, and a detection that finds nothing but lies in one of them is not counted.

    Returns:
        ``{"area": {"AP25", "AP50", "AP70", "AP75"}, "coco101": {...}, "per_class": {name:
        {"area": {...}, "coco101": {...}, "objects"}}, "images", "objects", "predictions"}``;
        fractions, None where a class has no object. Means are over the classes that have objects.

    Raises:
        DataError: A file is wrong; every problem is listed.
    """
    ground_truth = load_ground_truth(instances)
    found = load_predictions(predictions, ground_truth)
    counted = ~(np.asarray(ground_truth.iscrowd, dtype=bool) | np.asarray(ground_truth.ignore, dtype=bool))
    objects = np.bincount(ground_truth.annotation_labels[counted], minlength=len(ground_truth.categories))
    area = area_precision(found, ground_truth, counted, objects)
    points = coco_precision(found, ground_truth, "segm", np.asarray(VOC_THRESHOLDS))[..., 0]
    per_class = {}
    for label, category in enumerate(ground_truth.categories):
        curves = [mean_precision(points[row, :, label]) for row in range(len(VOC_NAMES))]
        per_class[category.name] = {
            "area": _named(area[:, label]),
            "coco101": dict(zip(VOC_NAMES, curves, strict=True)),
            "objects": int(objects[label]),
        }
    means = [mean_precision(points[row]) for row in range(len(VOC_NAMES))]
    return {
        "area": _named([_mean(row) for row in area]),
        "coco101": dict(zip(VOC_NAMES, means, strict=True)),
        "per_class": per_class,
        "images": len(ground_truth.images.ids),
        "objects": int(objects.sum()),
        "predictions": len(found.masks),
    }


def area_precision(
    predictions: Predictions,
    instances: InstanceSet,
    counted: Bool[ndarray, " N"],
    objects: Int[ndarray, " K"],
) -> Float[ndarray, "T K"]:
    """Return the area under the precision envelope per threshold and class (nan: no object).

    Args:
        predictions: Predicted masks; no cap on their number.
        instances: Ground truth of N objects.
        counted: Which of them are to be found.
        objects: How many of them there are per class.
    """
    order = np.argsort(-predictions.scores, kind="stable")
    outcomes = _outcomes(predictions, instances, counted, order)
    labels = predictions.labels[order]
    result = np.full((len(VOC_THRESHOLDS), len(objects)), np.nan)
    for label in np.flatnonzero(objects):
        for row, outcome in enumerate(outcomes[:, labels == label]):
            found = outcome[outcome != _NOT_COUNTED] == _FOUND
            result[row, label] = area_under_envelope(found, objects[label])
    return result


def area_under_envelope(found: Bool[ndarray, " n"], num_objects: int) -> float:
    """Return the area under the monotone envelope of the precision-recall curve.

    Args:
        found: By falling score, whether each detection found an object.
        num_objects: Objects to find, at least 1.
    """
    hits = np.cumsum(found)
    precision = hits / np.arange(1, len(found) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall rises by 1 / num_objects exactly at the detections that found an object.
    return float(envelope[found].sum() / num_objects)


def _outcomes(
    predictions: Predictions, instances: InstanceSet, counted: ndarray, order: ndarray
) -> Int[ndarray, "T n"]:
    """Return the outcome of every detection (in ``order``) at every threshold."""
    sizes = image_sizes(instances)
    image_index = np.asarray(instances.annotation_image_index)
    masks = to_rles(instances.counts, sizes[image_index])
    num_classes = max(len(instances.categories), 1)
    object_groups = _rows_of_groups(image_index * num_classes + instances.annotation_labels)
    groups = _rows_of_groups((predictions.image_index * num_classes + predictions.labels)[order])
    outcomes = np.full((len(VOC_THRESHOLDS), len(order)), _NO_OBJECT)
    for group, places in groups.items():
        detections = [predictions.masks[row] for row in order[places]]
        rows = object_groups.get(group, np.zeros(0, dtype=np.int64))
        wanted, spared = rows[counted[rows]], rows[~counted[rows]]
        overlaps = mask_iou_matrix(detections, [masks[row] for row in wanted])
        inside = mask_iou_matrix(detections, [masks[row] for row in spared], [1] * len(spared))
        covered = inside.max(axis=1, initial=0.0)
        for level, threshold in enumerate(VOC_THRESHOLDS):
            match = match_by_highest_overlap(overlaps, threshold)
            outcome = np.where(match == 1, _FOUND, _NO_OBJECT)
            outcome[(match == -1) & (covered >= threshold)] = _NOT_COUNTED
            outcomes[level, places] = outcome
    return outcomes


def _rows_of_groups(groups: ndarray) -> dict[int, ndarray]:
    """Return the rows of every group number, each in rising order."""
    order = np.argsort(groups, kind="stable")
    numbers, first = np.unique(groups[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, first[1:]), strict=True)) if len(order) else {}


def _mean(values: ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _named(values: Sequence[float] | ndarray) -> dict[str, float | None]:
    return {
        name: None if np.isnan(value) else float(value) for name, value in zip(VOC_NAMES, values, strict=True)
    }
