"""The refine pass's choice and its way back to a proposal."""

from oracles import boxes as box_oracle
from oracles.selection import best


def refine(scores, regions, bags, labels):
    """List of (box, proposal index, score) from scores (G, P, K) as nested lists."""
    chosen = []
    for g, label in enumerate(labels.tolist()):
        values = [row[label] for row in scores[g]]
        picked = best(values, regions.positive_valid[g].tolist())
        if picked < 0 or not bags.valid[g].any():
            chosen.append(([0.0] * 4, -1, 0.0))
            continue
        box = regions.positive_boxes[g, picked].tolist()
        index = picked
        if picked >= bags.boxes.shape[1]:
            index = box_oracle.nearest(box, bags.boxes[g].tolist(), bags.valid[g].tolist())
        chosen.append((box, index, values[picked]))
    return chosen
