"""Equations 3 and 5 to 9 on lists of floats."""

import math


def selection_loss(bag_scores, labels):
    total = 0.0
    for row, label in zip(bag_scores, labels, strict=True):
        for k, p in enumerate(row):
            total -= math.log(p) if k == label else math.log(1 - p)
    return total


def refinement_positive(bag_scores, labels, weights, gamma):
    total = 0.0
    for row, label, weight in zip(bag_scores, labels, weights, strict=True):
        for k, p in enumerate(row):
            q = 1.0 if k == label else 0.0
            total -= weight * abs(p - q) ** gamma * (q * math.log(p) if q else math.log(1 - p))
    return total


def refinement_negative(class_probs, gamma):
    return -sum(p**gamma * math.log(1 - p) for row in class_probs for p in row)


def total(sums, *, alpha, selection_weight, refinement_weight, mask_weight, category_weight):
    """Equations 6, 8 and 9 from a dictionary of the fields of LossSums."""
    prompts = max(sums["num_prompts"], 1)
    beta = sums["selected_score_sum"] / prompts
    positive = sums["refinement_positive"] / prompts
    negative = beta * sums["refinement_negative"] / max(sums["num_negatives"], 1)
    return (
        mask_weight * sums["mask"] / max(sums["num_positive_cells"], 1)
        + category_weight * sums["category"] / (sums["num_positive_cells"] + 1)
        + selection_weight * sums["selection"] / prompts
        + refinement_weight * (alpha * positive + (1 - alpha) * negative)
    )
