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
    """Weight above which a vote keeps a cell of an object as large as is expected.

    Args:
        belief: One number per proposal, adding up to 1.
        areas: Of their masks.
        image_area: In the same unit.
        large: What is needed where the object takes up three tenths of the image each way.
    """
    expected = sum(share * area for share, area in zip(belief, areas, strict=True))
    side = math.sqrt(expected / image_area)
    if side <= 0.05:
        return 0.5
    if side >= 0.3:
        return large
    way = math.log(side / 0.05) / math.log(0.3 / 0.05)
    return 0.5 * (1 - way) + large * way


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
