"""Matrix NMS with loops (SOLOv2, 3.3.3)."""

import math


def overlap(first, second):
    """IoU of two sets of cells."""
    union = len(first | second)
    return len(first & second) / union if union else 0.0


def decayed_scores(masks, labels, scores, kernel, sigma):
    """``masks``: sets of cells. Returns the decayed scores in the order given."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))

    def f(x):
        return math.exp(-sigma * x * x) if kernel == "gaussian" else 1 - x

    result = list(scores)
    for place, j in enumerate(order):
        decay = 1.0
        for place_i, i in enumerate(order[:place]):
            if labels[i] != labels[j]:
                continue
            better = [overlap(masks[k], masks[i]) for k in order[:place_i] if labels[k] == labels[i]]
            by = f(max(better, default=0.0))
            if by > 0:
                decay = min(decay, f(overlap(masks[i], masks[j])) / by)
        result[j] = scores[j] * decay
    return result
