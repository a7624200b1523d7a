"""Loops over prompts, proposals and cells for ``sapnet.mil.label_rule``."""

import math


def voted_label(masks, votes, needed=0.5):
    """Cells ``(y, x)`` that more than the needed weight covers; None where the own mask stays.

    Args:
        masks: One set of cells per proposal of a bag.
        votes: One weight per proposal, adding up to 1.
        needed: Weight above which a cell is kept.
    """
    voted = set()
    for cell in set().union(*masks):
        weight = 0.0
        for mask, vote in zip(masks, votes, strict=True):
            if cell in mask:
                weight += vote
        if weight > needed + 1e-6:
            voted.add(cell)
    smallest = min(
        (len(mask) for mask, vote in zip(masks, votes, strict=True) if 0 < vote >= 0.1 * max(votes)),
        default=float("inf"),
    )
    return voted if voted and len(voted) >= smallest / 2 else None


def needed(belief, areas, image_area, large):
    """Weight above which a vote keeps a cell of an object as large, and with its belief as divided, as it is.

    Args:
        belief: One number per proposal, adding up to 1.
        areas: Of their masks.
        image_area: In the same unit.
        large: What is needed of four equal voices where the object takes up three tenths of the image each way.
    """
    expected = sum(share * area for share, area in zip(belief, areas, strict=True))
    concentration = sum(share**2 for share in belief)
    if concentration == 0:
        return 0.5
    size = between(math.sqrt(expected / image_area), 0.05, 0.3)
    return 0.5 - (0.5 - large) * size * between(1 / concentration, 2.5, 4.0)


def between(value, low, high):
    """How far a number is on the way from a low one to a high one, by ratios: 0 to 1."""
    if value <= low:
        return 0.0
    if value >= high:
        return 1.0
    return math.log(value / low) / math.log(high / low)


def promised(label, masks, belief):
    """Expected overlap of a label with the object, which is proposal j with probability ``belief[j]``.

    Args:
        label: A set of cells.
        masks: One set of cells per proposal of a bag.
        belief: One number per proposal.
    """
    total = 0.0
    for mask, share in zip(masks, belief, strict=True):
        either = len(label | mask)
        total += share * len(label & mask) / either if either else 0.0
    return total


def bounds(cells, stride):
    """Box around some cells, in input pixels."""
    rows, columns = [y for y, _ in cells], [x for _, x in cells]
    return [min(columns) * stride, min(rows) * stride, (max(columns) + 1) * stride, (max(rows) + 1) * stride]
