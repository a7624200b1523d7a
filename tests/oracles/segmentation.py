"""The losses of the SOLOv2 branch with loops (method.md 1.3 and 1.8)."""

import math


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def focal(logit, target, alpha, gamma):
    p = sigmoid(logit)
    if target:
        return -alpha * (1 - p) ** gamma * math.log(p)
    return -(1 - alpha) * p**gamma * math.log(1 - p)


def dice(probs, mask, eps=1e-3):
    """Of two flat lists."""
    overlap = sum(p * q for p, q in zip(probs, mask, strict=True))
    return 1 - 2 * overlap / (sum(p * p for p in probs) + eps + sum(q * q for q in mask) + eps)


def dynamic_mask(kernel, features):
    """Flat list of logits; ``features`` is D flat lists."""
    return [sum(k * f[i] for k, f in zip(kernel, features, strict=True)) for i in range(len(features[0]))]


def mean_of_touched(values, row, column, size):
    """Mean of the entries of nested lists that a cell of a size x size grid over them touches."""
    touched = [
        values[i][j]
        for i in range(len(values))
        for j in range(len(values[0]))
        if (i + 1) * size > row * len(values)
        and i * size < (row + 1) * len(values)
        and (j + 1) * size > column * len(values[0])
        and j * size < (column + 1) * len(values[0])
    ]
    return sum(touched) / len(touched)


def known_category(category_logits, prompts, cells, known, alpha, gamma):
    """The category sum where cells without an owner count as far as ``known[image]`` says; None: fully."""
    total = 0.0
    for level, of_level in enumerate(category_logits):
        for image, of_image in enumerate(of_level):
            for label, rows in enumerate(of_image):
                for i, row in enumerate(rows):
                    for j, logit in enumerate(row):
                        owner = cells.get((0, image, level, i, j))
                        hit = owner is not None and prompts[owner[0]]["label"] == label
                        surely = owner or known is None
                        weight = 1.0 if surely else mean_of_touched(known[image], i, j, len(rows))
                        total += weight * focal(logit, hit, alpha, gamma)
    return total


def losses(
    category_logits, kernels, features, prompts, cells, alternate_weight, num_alternates, alpha, gamma
):
    """Category sum, mask sum and number of positives.

    ``category_logits[level][image][class][row][column]``, ``kernels`` likewise with the kernel's
    entries in place of classes, ``features[image]``: D flat lists, ``cells``: what
    ``oracles.solov2_targets.assign`` returns.
    """
    category = known_category(category_logits, prompts, cells, None, alpha, gamma)
    mask_sum, count = 0.0, 0
    for (rank, image, level, i, j), (prompt, _) in cells.items():
        kernel = [entry[i][j] for entry in kernels[level][image]]
        probs = [sigmoid(value) for value in dynamic_mask(kernel, features[image])]
        mask = [float(value) for row in prompts[prompt]["masks"][rank] for value in row]
        weight = 1.0 if rank == 0 else alternate_weight / (2 * num_alternates)
        mask_sum += weight * dice(probs, mask)
        count += rank == 0
    return category, mask_sum, count
