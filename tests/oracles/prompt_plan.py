"""The prompts of every click, written as loops over clicks and points from the issue's description."""

from __future__ import annotations

import math


def planned(prompts, kinds, boxes, max_negatives, negatives):
    """Return a list of (owner, kind, [(x, y, positive), ...], box or None); kinds without jitter."""
    queries = []
    for i in range(len(prompts.annotation_ids)):
        own = [(*prompts.xy[i], True)]
        for point, owner in zip(prompts.extra_xy, prompts.extra_owner, strict=True):
            if owner == i:
                own.append((*point, True))
        for point, owner in zip(prompts.negative_xy, prompts.negative_owner, strict=True):
            if owner == i:
                own.append((*point, False))
        near = nearest_others(prompts, i, max_negatives, negatives)
        box = None if boxes is None or any(math.isnan(value) for value in boxes[i]) else tuple(boxes[i])
        for kind in kinds:
            if kind == "point":
                queries.append((i, kind, own, None))
            if kind == "point+negatives" and near:
                queries.append((i, kind, own + near, None))
            if kind == "box" and box:
                queries.append((i, kind, [], box))
            if kind == "box+point" and box:
                queries.append((i, kind, own, box))
    return queries


def nearest_others(prompts, i, most, negatives):
    """Return the nearest clicks on other objects as negative points, nearest first."""
    found = []
    for j in range(len(prompts.annotation_ids)):
        if negatives == "same-class" and prompts.labels[j] != prompts.labels[i]:
            continue
        distance = (prompts.xy[j][0] - prompts.xy[i][0]) ** 2 + (prompts.xy[j][1] - prompts.xy[i][1]) ** 2
        if j != i and distance > 0:
            found.append((distance, prompts.annotation_ids[j], (*prompts.xy[j], False)))
    return [point for _, _, point in sorted(found)[:most]]
