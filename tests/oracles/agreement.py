"""Agreement with the segmenter, one click, cell and level at a time."""

import math

import torch


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def drawn_mask(outputs, prompts, click, padded_size):
    """The mask that the segmenter draws at a click, as nested lists of probabilities."""
    height, width = padded_size
    x, y = prompts.xy[click].tolist()
    image, label = int(prompts.image_index[click]), int(prompts.labels[click])
    features = outputs.mask_features[image].tolist()
    rows, columns = len(features[0]), len(features[0][0])
    weighted = [[0.0] * columns for _ in range(rows)]
    total = 0.0
    for category_logits, kernels in zip(outputs.category_logits, outputs.kernels, strict=True):
        grid = category_logits.shape[-1]
        row = min(max(math.floor(y / height * grid), 0), grid - 1)
        column = min(max(math.floor(x / width * grid), 0), grid - 1)
        weight = sigmoid(float(category_logits[image, label, row, column]))
        kernel = kernels[image, :, row, column].tolist()
        total += weight
        for i in range(rows):
            for j in range(columns):
                logit = sum(k * features[d][i][j] for d, k in enumerate(kernel))
                weighted[i][j] += weight * sigmoid(logit)
    return [[value / max(total, 1e-6) for value in line] for line in weighted]


def window_cells(masks, size, mask_stride):
    """Cells of the window around all masks of a bag: half the extent and one cell more on each side."""
    rows, columns = len(masks[0]), len(masks[0][0])
    covered = [(i, j) for i in range(rows) for j in range(columns) if any(mask[i][j] for mask in masks)]
    if not covered:
        return []
    top, bottom = min(i for i, _ in covered), max(i for i, _ in covered)
    left, right = min(j for _, j in covered), max(j for _, j in covered)
    reach = ((bottom - top + 1) / 2 + 1, (right - left + 1) / 2 + 1)
    return [
        (i, j)
        for i in range(rows)
        for j in range(columns)
        if top - reach[0] <= i <= bottom + reach[0]
        and left - reach[1] <= j <= right + reach[1]
        and i * mask_stride < size[0]
        and j * mask_stride < size[1]
    ]


def correlation(first, second):
    """Pearson's correlation of two lists; 0 if one of them is constant."""
    mean = (sum(first) / len(first), sum(second) / len(second))
    covariance = sum((x - mean[0]) * (y - mean[1]) for x, y in zip(first, second, strict=True))
    spread = sum((x - mean[0]) ** 2 for x in first) * sum((y - mean[1]) ** 2 for y in second)
    return covariance / math.sqrt(spread) if spread > 0 else 0.0


def agreement(outputs, prompts, bags, image_sizes, mask_stride):
    """Correlation of every proposal with the mask drawn at its click, not below 0, as ``(G, M)``."""
    rows, columns = outputs.mask_features.shape[-2:]
    result = torch.zeros(bags.valid.shape, dtype=torch.float64)
    for click in range(len(prompts.xy)):
        usable = [place for place, valid in enumerate(bags.valid[click].tolist()) if valid]
        if not usable:
            continue
        drawn = drawn_mask(outputs, prompts, click, (rows * mask_stride, columns * mask_stride))
        masks = {place: bags.masks[click, place].tolist() for place in usable}
        size = image_sizes[int(prompts.image_index[click])].tolist()
        cells = window_cells(list(masks.values()), size, mask_stride)
        for place, mask in masks.items():
            if cells:
                values = [float(mask[i][j]) for i, j in cells], [drawn[i][j] for i, j in cells]
                result[click, place] = max(0.0, correlation(*values))
    return result
