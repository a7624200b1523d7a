"""Quality of the labels made from clicks, beside what rules without a model would have picked.

Objects are matched by annotation id: the id of a label is that of its click, which is that of the
ground truth object. Crowd and ignored objects are left out. An object without a label counts with
overlap 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from sapnet.data.annotations import InstanceSet
from sapnet.errors import DataError
from sapnet.evaluation.bag_picks import (
    BagQuality,
    BagSource,
    EvaluatedObjects,
    PickQuality,
    measure_bags,
    measure_pick,
)
from sapnet.evaluation.label_scores import score_figures
from sapnet.evaluation.label_table import Label, read_labels, recorded_limit
from sapnet.evaluation.matching import SIZE_NAMES, compactness, size_index, to_rles
from sapnet.evaluation.predictions import image_sizes, load_ground_truth, read_json

SELECTED = "selected"
"""Name of the labels' own picks beside the rules of ``bag_picks.RULES``."""
LIMITS = (0.5, 0.75, 0.9)
"""From which IoU on labels are counted: a mean rises as well with bad labels that are less bad."""


def evaluate_labels(
    labels: Path | str | Mapping[str, Any],
    instances: Path | str | InstanceSet,
    store: BagSource | None = None,
    *,
    max_proposals: int | None = None,
) -> dict[str, Any]:
    """Measure labels against ground truth, and the rules without a model if a store is given.

    Args:
        labels: ``labels.json`` of a run (COCO instances whose ids are the clicks' ids), a file or
            its content. Only images that it lists are judged.
        instances: Ground truth, a file or a loaded set.
        store: The proposals that the labels were picked from; anything with
            ``image_id in store`` and ``of_image(image_id) -> ImageProposals``.
        max_proposals: How many proposals per click were seen; if None, as the labels record, or all.

    Returns:
        JSON-serialisable: ``objects`` and ``sizes`` (how many are judged), ``missing`` (ids of
        objects without a label), ``unknown`` (ids of labels that are no judged object), ``left_out``
        (crowd and ignored objects); per pick ``selected`` and, with a store, ``top_score``,
        ``largest_alone`` and ``oracle``: ``{"mask_miou": {"all", "small", "medium", "large"}, "box_miou":
        {...}, "at_least": {limit: share of such}, "gap"}``; ``gap_threshold`` and ``gap_objects`` (eq. 10);
        ``share_closed``, the share of the distance from top_score to oracle that the labels closed;
        ``by_score`` (``label_scores.score_figures``); ``per_class`` (name to ``objects`` and the mask mIoU
        of every pick); ``per_object``, columns of equal length by object: ``annotation_id, image_id,
        category_id, area, size, labelled, score`` and the mask and box IoU of every pick (``selected_iou``,
        ``selected_box_iou``, ...). Figures without anything to measure are None.

    Raises:
        DataError: A file is wrong, or no label belongs to an object of the ground truth.
    """
    ground_truth = load_ground_truth(instances)
    content, subject = (labels, "labels") if isinstance(labels, Mapping) else (read_json(labels), str(labels))
    table = read_labels(content, subject, ground_truth)
    judged = _judged_rows(content, ground_truth)
    objects = _objects(ground_truth, judged, table)
    ids = objects.annotation_ids.tolist()
    place = {annotation_id: row for row, annotation_id in enumerate(ids)}
    labelled = [annotation_id for annotation_id in table if annotation_id in place]
    if table and not labelled:
        raise DataError(subject, ["no label belongs to an object of the ground truth: their ids differ"])
    rows = np.array([place[annotation_id] for annotation_id in labelled], dtype=np.int64)
    limit = recorded_limit(content, subject) if max_proposals is None else max_proposals
    bags = None if store is None else measure_bags(store, objects, max_proposals=limit)
    selected = measure_pick([table[item].mask for item in labelled], objects, rows)
    picks = {SELECTED: selected, **(bags.picks if bags is not None else {})}
    sizes = size_index(np.asarray(ground_truth.areas, dtype=np.float64)[judged])
    columns = _per_object(picks, objects, ground_truth, judged, table)
    return {
        "objects": len(ids),
        "sizes": dict(zip(SIZE_NAMES, np.bincount(sizes, minlength=len(SIZE_NAMES)).tolist(), strict=True)),
        "missing": [annotation_id for annotation_id in ids if annotation_id not in table],
        "unknown": sorted(set(table) - set(labelled)),
        "left_out": int(_left_out(ground_truth).sum()),
        **_pick_figures(picks, bags, objects, sizes),
        "by_score": _by_score(columns["score"], selected),
        "per_class": _per_class(picks, objects, ground_truth),
        "per_object": columns,
    }


def gap_figures(
    picks: Mapping[str, PickQuality], bags: BagQuality, object_compactness: ndarray
) -> dict[str, Any]:
    """Compute the Gap of every pick (eq. 10).

    R_v is the area of a mask over the area of its box, T_rv the mean over all objects of the highest
    R_v in the bag. Over the objects whose highest R_v exceeds T_rv, the Gap is the mean of R_v of
    the pick minus R_v of the ground truth: how much more compact, and so how much more part-like,
    the picks are than the objects.

    Args:
        picks: Picks by name.
        bags: What the bags hold.
        object_compactness: (n,) R_v of the ground truth masks.

    Returns:
        ``threshold`` (T_rv), ``objects`` (how many exceed it) and ``gap`` by name, None where no
        object exceeds it.
    """
    known = ~np.isnan(bags.max_compactness)
    threshold = float(bags.max_compactness[known].mean()) if known.any() else None
    exceeding = known & (np.nan_to_num(bags.max_compactness) > (np.inf if threshold is None else threshold))
    gap = {
        name: _mean((pick.compactness - object_compactness)[exceeding & pick.picked])
        for name, pick in picks.items()
    }
    return {"threshold": threshold, "objects": int(exceeding.sum()), "gap": gap}


def _left_out(ground_truth: InstanceSet) -> ndarray:
    return np.asarray(ground_truth.iscrowd, dtype=bool) | np.asarray(ground_truth.ignore, dtype=bool)


def _judged_rows(content: Mapping[str, Any], ground_truth: InstanceSet) -> ndarray:
    """Return the rows of the judged objects, sorted by image, then in file order."""
    index = np.asarray(ground_truth.annotation_image_index)
    judged = ~_left_out(ground_truth)
    if "images" in content:
        listed = [image["id"] for image in content["images"]]
        judged &= np.isin(np.asarray(ground_truth.images.ids)[index], np.array(listed, dtype=np.int64))
    rows = np.flatnonzero(judged)
    return rows[np.argsort(index[rows], kind="stable")]


def _objects(ground_truth: InstanceSet, judged: ndarray, table: Mapping[int, Label]) -> EvaluatedObjects:
    index = np.asarray(ground_truth.annotation_image_index)[judged]
    masks = to_rles([ground_truth.counts[row] for row in judged], image_sizes(ground_truth)[index])
    annotation_ids = np.asarray(ground_truth.annotation_ids, dtype=np.int64)[judged]
    clicks = np.full((len(judged), 2), np.nan)
    for row, annotation_id in enumerate(annotation_ids.tolist()):
        if annotation_id in table:
            clicks[row] = table[annotation_id].click
    return EvaluatedObjects(
        annotation_ids=annotation_ids,
        image_ids=np.asarray(ground_truth.images.ids, dtype=np.int64)[index],
        labels=np.asarray(ground_truth.annotation_labels, dtype=np.int64)[judged],
        masks=tuple(masks),
        boxes=np.asarray(ground_truth.boxes, dtype=np.float64)[judged],
        clicks=clicks,
    )


def _pick_figures(
    picks: Mapping[str, PickQuality], bags: BagQuality | None, objects: EvaluatedObjects, sizes: ndarray
) -> dict[str, Any]:
    gap = None if bags is None else gap_figures(picks, bags, compactness(objects.masks))
    figures: dict[str, Any] = {
        name: {
            "mask_miou": _by_size(pick.mask_iou, sizes),
            "box_miou": _by_size(pick.box_iou, sizes),
            "at_least": {str(limit): _mean(pick.mask_iou >= limit) for limit in LIMITS},
            "gap": None if gap is None else gap["gap"][name],
        }
        for name, pick in picks.items()
    }
    share = None
    if bags is not None and len(sizes):
        top, best, ours = (figures[name]["mask_miou"]["all"] for name in ("top_score", "oracle", SELECTED))
        share = (ours - top) / (best - top) if best - top > 1e-9 else None
    figures["gap_threshold"] = None if gap is None else gap["threshold"]
    figures["gap_objects"] = None if gap is None else gap["objects"]
    figures["share_closed"] = share
    figures["proposals_per_object"] = None if bags is None else _mean(bags.num_proposals)
    return figures


def _by_score(scores: list[float | None], pick: PickQuality) -> dict[str, Any]:
    """Of the objects whose labels have a score."""
    known = np.array(scores, dtype=np.float64)
    scored = ~np.isnan(known)
    return score_figures(known[scored], pick.mask_iou[scored])


def _by_size(values: ndarray, sizes: ndarray) -> dict[str, float | None]:
    return {"all": _mean(values)} | {name: _mean(values[sizes == row]) for row, name in enumerate(SIZE_NAMES)}


def _mean(values: ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _per_class(
    picks: Mapping[str, PickQuality], objects: EvaluatedObjects, ground_truth: InstanceSet
) -> dict[str, dict[str, Any]]:
    return {
        category.name: {
            "objects": int((objects.labels == label).sum()),
            **{name: _mean(pick.mask_iou[objects.labels == label]) for name, pick in picks.items()},
        }
        for label, category in enumerate(ground_truth.categories)
    }


def _per_object(
    picks: Mapping[str, PickQuality],
    objects: EvaluatedObjects,
    ground_truth: InstanceSet,
    judged: ndarray,
    table: Mapping[int, Label],
) -> dict[str, list[Any]]:
    category_ids = np.array([category.id for category in ground_truth.categories], dtype=np.int64)
    areas = np.asarray(ground_truth.areas, dtype=np.float64)[judged]
    ids = objects.annotation_ids.tolist()
    columns: dict[str, list[Any]] = {
        "annotation_id": ids,
        "image_id": objects.image_ids.tolist(),
        "category_id": category_ids[objects.labels].tolist(),
        "area": areas.tolist(),
        "size": [SIZE_NAMES[row] for row in size_index(areas)],
        "labelled": [annotation_id in table for annotation_id in ids],
        "score": [table[annotation_id].score if annotation_id in table else None for annotation_id in ids],
    }
    for name, pick in picks.items():
        columns[f"{name}_iou"] = pick.mask_iou.round(6).tolist()
        columns[f"{name}_box_iou"] = pick.box_iou.round(6).tolist()
    return columns
