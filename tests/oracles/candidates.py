"""Scores of candidate masks, pixel by pixel, from the words of the docstring."""

from __future__ import annotations

import math


def score(masks, index, *, xy, inside, outside, neighbours, gradient, from_grabcut):
    """Return the score of one candidate."""
    height, width = len(masks[0]), len(masks[0][0])
    mask = masks[index]
    pixels = [(r, c) for r in range(height) for c in range(width) if mask[r][c]]
    members = set(pixels)
    top, bottom = min(r for r, _ in pixels), max(r for r, _ in pixels) + 1
    left, right = min(c for _, c in pixels), max(c for _, c in pixels) + 1
    off_x = abs((left + right) / 2 - xy[0]) / (right - left)
    off_y = abs((top + bottom) / 2 - xy[1]) / (bottom - top)
    edge = []
    for r, c in pixels:
        around = [(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)]
        if any(0 <= a < height and 0 <= b < width and (a, b) not in members for a, b in around):
            edge.append(float(gradient[r][c]))
    mean = sum(float(gradient[r][c]) for r in range(height) for c in range(width)) / (height * width)
    contrast = math.log((sum(edge) / len(edge) if edge else 0.0) / (mean + 1e-6) + 0.2)
    agreement = 0.0
    for other, theirs in enumerate(masks):
        if other != index:
            both = sum(1 for r, c in pixels if theirs[r][c])
            area = sum(1 for r in range(height) for c in range(width) if theirs[r][c])
            agreement += (both / (len(pixels) + area - both)) ** 2
    agreement /= max(len(masks) - 1, 1)
    log_size = math.log(math.sqrt(len(pixels) / (height * width)))

    def covered(points):
        return sum((math.floor(y), math.floor(x)) in members for x, y in points)

    total = -0.35 * max(off_x, off_y) + 0.19 * contrast + 0.27 * agreement
    total += -0.022 * (log_size + 2.46) ** 2 - 0.07 * min(covered(neighbours), 3)
    total += 0.05 * from_grabcut[index] - 1.0 * covered(outside)
    if len(inside):
        total -= 0.5 * (1 - covered(inside) / len(inside))
    return total


def novel_best(scores, overlap, discount, duplicate_iou, most):
    """Pick greedily, by loops: each time the free candidate of the highest discounted score."""
    picked, worth = [], []
    while len(picked) < most:
        best, value = None, None
        for index in range(len(scores)):
            likeness = max((float(overlap[index][other]) for other in picked), default=0.0)
            if index in picked or likeness >= duplicate_iou:
                continue
            discounted = float(scores[index]) * (1.0 - discount * likeness)
            if value is None or discounted > value:
                best, value = index, discounted
        if best is None:
            break
        picked.append(best)
        worth.append(value)
    return picked, worth
