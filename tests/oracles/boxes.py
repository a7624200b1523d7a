"""Box arithmetic on lists of four numbers."""


def area(box):
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def iou(first, second):
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    intersection = max(0.0, width) * max(0.0, height)
    union = area(first) + area(second) - intersection
    return intersection / union if union > 0 else 0.0


def clip(box, height, width):
    return [min(max(v, 0.0), limit) for v, limit in zip(box, (width, height, width, height), strict=True)]


def nearest(box, bag, allowed):
    """Index of the allowed box of the bag that overlaps most; the first among equals; -1 if none."""
    best, best_iou = -1, -1.0
    for m, other in enumerate(bag):
        if allowed[m] and iou(other, box) > best_iou:
            best, best_iou = m, iou(other, box)
    return best
