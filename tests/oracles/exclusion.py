"""Mutual exclusion of the clicks of an image, one pair of proposals at a time."""

import math

import torch


def exclude(scores, bags, image_index, weight):
    """Scores after two rounds of penalties for what is covered of the other objects."""
    clicks, proposals = scores.shape
    cells = [
        [{tuple(cell) for cell in mask.nonzero().tolist()} for mask in bags.masks[click]]
        for click in range(clicks)
    ]
    now = scores.tolist()
    for _ in range(2):
        belief = []
        for click in range(clicks):
            powers = [now[click][i] ** 2 if bags.valid[click, i] else 0.0 for i in range(proposals)]
            belief.append([power / sum(powers) if sum(powers) else 0.0 for power in powers])
        now = [
            [
                float(scores[g, i])
                * math.exp(-weight * number_covered(g, i, cells, belief, bags, image_index))
                for i in range(proposals)
            ]
            for g in range(clicks)
        ]
    return torch.tensor(now, dtype=torch.float64)


def number_covered(click, proposal, cells, belief, bags, image_index):
    """How many other objects of the image a proposal is expected to cover."""
    if not bags.valid[click, proposal]:
        return 0.0
    mine, total = cells[click][proposal], 0.0
    for other in range(len(cells)):
        if other != click and image_index[other] == image_index[click]:
            for rival, theirs in enumerate(cells[other]):
                total += belief[other][rival] * len(mine & theirs) / max(len(theirs), 1)
    return total
