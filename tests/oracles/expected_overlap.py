"""Expected overlap and the mean over views, one click and one pair of proposals at a time."""

import math

import torch


def mask_iou(first, second):
    """Intersection over union of two masks given as sets of cells."""
    return len(first & second) / len(first | second) if first | second else 0.0


def expected_overlap(scores, bags, temperature):
    """The sum of p_j IoU(i, j) over the valid proposals of a bag, near copies sharing one voice."""
    found = torch.zeros(scores.shape, dtype=torch.float64)
    for click, usable in enumerate(bags.valid.tolist()):
        valid = [proposal for proposal, good in enumerate(usable) if good]
        cells = {item: {tuple(cell) for cell in bags.masks[click, item].nonzero().tolist()} for item in valid}
        weights = {}
        for item in valid:
            copies = sum(other == item or mask_iou(cells[item], cells[other]) >= 0.8 for other in valid)
            weights[item] = float(scores[click, item]) ** (1 / temperature) / copies
        for item in valid:
            total = sum(weights[other] * mask_iou(cells[item], cells[other]) for other in valid)
            found[click, item] = total / sum(weights.values())
    return found


def mean_of_views(views):
    """The n-th root of the product of n scores, entry by entry."""
    found = torch.zeros_like(views[0])
    for click in range(found.shape[0]):
        for proposal in range(found.shape[1]):
            product = math.prod(float(view[click, proposal]) for view in views)
            found[click, proposal] = product ** (1 / len(views))
    return found
