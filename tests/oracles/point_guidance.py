"""Equation 2 as four nested loops: prompt, proposal, other prompt, proposal of the other."""

import math


def _overlaps(case, i, m, j, overlap, stride):
    box, (x, y) = case.bags.boxes[i, m].tolist(), case.prompts.xy[j].tolist()
    if overlap == "box-covers-point":
        return box[0] <= x < box[2] and box[1] <= y < box[3]
    if overlap == "mask-covers-point":
        return bool(case.bags.masks[i, m, int(y // stride), int(x // stride)])
    for n in range(case.bags.boxes.shape[1]):
        other = case.bags.boxes[j, n].tolist()
        width = min(box[2], other[2]) - max(box[0], other[0])
        height = min(box[3], other[3]) - max(box[1], other[1])
        if bool(case.bags.valid[j, n]) and width > 0 and height > 0:
            return True
    return False


def point_guidance(case, *, overlap, distance, exponent, stride):
    """Factors (G, M); masks are looked up on their grid, which is all there is to look at."""
    prompts, bags = case.prompts, case.bags
    factors = []
    for i in range(len(prompts.labels)):
        row = []
        for m in range(bags.boxes.shape[1]):
            weight = 0.0
            for j in range(len(prompts.labels)):
                same_image = prompts.image_index[i] == prompts.image_index[j]
                same_class = prompts.labels[i] == prompts.labels[j]
                if i == j or not same_image or not same_class or not bags.valid[i, m]:
                    continue
                if _overlaps(case, i, m, j, overlap, stride):
                    length = math.dist(prompts.xy[i].tolist(), prompts.xy[j].tolist())
                    weight += math.sqrt(length) if distance == "square-root" else length
            row.append(1.0 if weight == 0 else (1 / (1 + math.exp(-1 / weight))) ** exponent)
        factors.append(row)
    return factors
