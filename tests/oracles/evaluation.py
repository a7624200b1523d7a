"""Loop-written oracles of the evaluation, on decoded boolean masks."""

from __future__ import annotations

import math


def mask_iou(first, second):
    shared = union = 0
    for a, b in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True):
        shared += a and b
        union += a or b
    return shared / union if union else 0.0


def mask_share(first, second):
    """Share of the first mask that lies in the second."""
    area = int(first.sum())
    return int((first & second).sum()) / area if area else 0.0


def tight_box(mask):
    rows = [y for y in range(mask.shape[0]) if mask[y].any()]
    columns = [x for x in range(mask.shape[1]) if mask[:, x].any()]
    if not rows:
        return (0, 0, 0, 0)
    return (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def box_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union else 0.0


def compactness(mask):
    """R_v, section 4.3 of the paper."""
    x1, y1, x2, y2 = tight_box(mask)
    area = (x2 - x1) * (y2 - y1)
    return int(mask.sum()) / area if area else 0.0


def voc_area_ap(detections, objects, threshold):
    """Area under the monotone precision envelope of one class.

    detections: (image, score, mask) in file order; objects: (image, mask, counted).
    """
    order = sorted(range(len(detections)), key=lambda row: -detections[row][1])
    used, marks = set(), []
    for row in order:
        image, _, mask = detections[row]
        best, best_iou = None, -1.0
        for place, (other, truth, counted) in enumerate(objects):
            if other == image and counted:
                overlap = mask_iou(mask, truth)
                if overlap > best_iou:
                    best, best_iou = place, overlap
        if best is not None and best_iou >= threshold:
            marks.append(1 if best not in used else 0)
            used.add(best)
        elif not any(
            other == image and not counted and mask_share(mask, truth) >= threshold
            for other, truth, counted in objects
        ):
            marks.append(0)
    number = sum(1 for _, _, counted in objects if counted)
    if not number:
        return math.nan
    precision, recall, hits = [], [], 0
    for place, mark in enumerate(marks, 1):
        hits += mark
        precision.append(hits / place)
        recall.append(hits / number)
    area, before = 0.0, 0.0
    for place, value in enumerate(recall):
        if value > before:
            area += (value - before) * max(precision[place:])
            before = value
    return area


def rule_picks(bag, truth, other_clicks):
    """What the rules pick from a bag of (score, mask), as places in the bag.

    other_clicks: (x, y) of the clicks of other objects of the class in the image.
    """
    if not bag:
        return {}

    def covered(mask):
        height, width = mask.shape
        return sum(
            bool(mask[min(max(math.floor(y), 0), height - 1), min(max(math.floor(x), 0), width - 1)])
            for x, y in other_clicks
        )

    places = range(len(bag))
    return {
        "top_score": max(places, key=lambda place: (bag[place][0], -place)),
        "oracle": max(places, key=lambda place: (mask_iou(bag[place][1], truth), -place)),
        "largest_alone": min(
            places, key=lambda place: (covered(bag[place][1]), -int(bag[place][1].sum()), place)
        ),
    }


def gap(objects):
    """Eq. 10 over (bag of masks, picked mask, ground truth mask) per object."""
    highest = [max((compactness(mask) for mask in bag), default=None) for bag, _, _ in objects]
    known = [value for value in highest if value is not None]
    threshold = sum(known) / len(known)
    differences = [
        compactness(pick) - compactness(truth)
        for (_, pick, truth), value in zip(objects, highest, strict=True)
        if value is not None and value > threshold
    ]
    return threshold, (sum(differences) / len(differences) if differences else None)
