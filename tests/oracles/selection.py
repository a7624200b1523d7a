"""The select pass's choice: the first highest score among valid proposals."""

from oracles import boxes as box_oracle


def best(values, valid):
    """Index of the first highest valid value, -1 if none."""
    index = -1
    for i, value in enumerate(values):
        if valid[i] and (index < 0 or value > values[index]):
            index = i
    return index


def select(scores, guidance, case):
    """List of (box, index, score, guidance) per prompt from scores (G, M, K) as nested lists."""
    chosen = []
    for g, label in enumerate(case.prompts.labels.tolist()):
        values = [row[label] for row in scores[g]]
        index = best(values, case.bags.valid[g].tolist())
        if index < 0:
            chosen.append(([0.0] * 4, -1, 0.0, 1.0))
            continue
        height, width = case.image_sizes[case.prompts.image_index[g]].tolist()
        box = box_oracle.clip(case.bags.boxes[g, index].tolist(), height, width)
        chosen.append((box, index, values[index], guidance[g][index]))
    return chosen
