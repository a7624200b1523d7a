"""Equations 1 and 3 by hand."""

import math


def _softmax(values):
    total = sum(math.exp(v) for v in values)
    return [math.exp(v) / total for v in values]


def bag_scores(class_logits, instance_logits, valid, *, num_classes, class_activation, guidance):
    """Per-proposal scores (G, P, K) and bag scores (G, K) as nested lists."""
    scores, totals = [], []
    for g in range(len(valid)):
        rows = []
        members = [p for p in range(len(valid[g])) if valid[g][p]]
        for p in range(len(valid[g])):
            row = []
            for k in range(num_classes):
                if not valid[g][p]:
                    row.append(0.0)
                    continue
                if class_activation == "softmax":
                    class_prob = _softmax(class_logits[g][p])[k]
                else:
                    class_prob = 1 / (1 + math.exp(-class_logits[g][p][k]))
                column = _softmax([instance_logits[g][i][k] for i in members])
                row.append(class_prob * column[members.index(p)] * guidance[g][p])
            rows.append(row)
        scores.append(rows)
        totals.append([sum(row[k] for row in rows) for k in range(num_classes)])
    return scores, totals
