"""Loops over prompts, proposals and cells for ``sapnet.mil.label_rule``."""


def voted_label(masks, votes):
    """Cells ``(y, x)`` that more than half of the weight covers; None where the own mask stays.

    Args:
        masks: One set of cells per proposal of a bag.
        votes: One weight per proposal, adding up to 1.
    """
    voted = set()
    for cell in set().union(*masks):
        weight = 0.0
        for mask, vote in zip(masks, votes, strict=True):
            if cell in mask:
                weight += vote
        if weight > 0.5 + 1e-6:
            voted.add(cell)
    smallest = min(
        (len(mask) for mask, vote in zip(masks, votes, strict=True) if 0 < vote >= 0.1 * max(votes)),
        default=float("inf"),
    )
    return voted if voted and len(voted) >= smallest / 2 else None


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
