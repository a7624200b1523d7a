"""Labels as COCO instances."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

from sapnet.data.coco_json import parse_extras
from sapnet.data.tables import common_json
from sapnet.exporters.losses import Losses, add
from sapnet.exporters.polygons import flat_ring, mask_parts, outline
from sapnet.labels.label_set import LabelSet

Shapes = Literal["mask", "polygon"]


def coco_document(labels: LabelSet, lost: Losses, *, shapes: Shapes = "mask") -> dict[str, Any]:
    """Build a COCO instances object.

    Args:
        labels: The objects.
        lost: Counts what is left out.
        shapes: ``mask``: compressed run lengths, exact, with ``iscrowd`` 0. ``polygon``: one polygon
            per part, holes joined to it by a seam; exact too where polygons are filled as
            pycocotools does. Crowd regions stay run lengths.

    Returns:
        The object. ``area`` and ``bbox`` (XYWH) are those of the mask; ``score``, ``point`` and all
        other keys of an object are kept. Empty masks have no polygon and are left out then.
    """
    document = common_json(labels)
    document["annotations"] = list(_annotations(labels, lost, shapes))
    return document


def _annotations(labels: LabelSet, lost: Losses, shapes: Shapes) -> Iterator[dict[str, Any]]:
    for index in range(len(labels.images)):
        rows = labels.rows_of(index)
        boxes, areas = labels.boxes_of(rows), labels.areas_of(rows)
        for place, row in enumerate(rows.tolist()):
            crowd = bool(labels.iscrowd[row])
            if shapes == "polygon" and not crowd and not areas[place]:
                add(lost, "empty_masks_left_out", 1)
                continue
            left, top, right, bottom = boxes[place].tolist()
            yield {
                "id": int(labels.annotation_ids[row]),
                "image_id": int(labels.images.ids[index]),
                "category_id": labels.category_id_of(int(labels.annotation_labels[row])),
                "segmentation": _segmentation(labels, row, "mask" if crowd else shapes),
                "bbox": [left, top, right - left, bottom - top],
                "area": int(areas[place]),
                "iscrowd": int(crowd),
                **_known(labels, row),
                **parse_extras(labels.annotation_extras[row]),
            }


def _segmentation(labels: LabelSet, row: int, shapes: Shapes) -> Any:
    if shapes == "mask":
        return {"size": list(labels.size_of_row(row)), "counts": labels.counts[row].decode("ascii")}
    return [flat_ring(outline([part.outer, *part.holes])) for part in mask_parts(labels.mask_of(row))]


def _known(labels: LabelSet, row: int) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if not math.isnan(labels.scores[row]):
        known["score"] = float(labels.scores[row])
    if not math.isnan(labels.points[row, 0]):
        known["point"] = labels.points[row].tolist()
    return known
