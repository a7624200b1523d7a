"""SOLOv2's target assignment with loops (SOLOv2, 3.1; method.md 1.3 and 1.8)."""

import math


def center(mask, stride):
    """(x, y) in pixels of a mask given as nested lists of booleans; None if empty."""
    count, sum_x, sum_y = 0, 0.0, 0.0
    for i, row in enumerate(mask):
        for j, inside in enumerate(row):
            if inside:
                count += 1
                sum_x += j + 0.5
                sum_y += i + 0.5
    return (sum_x / count * stride, sum_y / count * stride, count) if count else None


def clamp(value, low, high):
    return min(max(value, low), high)


def assign(prompts, num_grids, scale_ranges, sigma, stride):
    """Positive cells of a batch.

    ``prompts``: dicts with ``image``, ``box`` and ``masks`` (None for an invalid one). Returns a dict
    from (rank, image, level, row, column) to (prompt, is the centre cell).
    """
    smallest = min(low for low, _ in scale_ranges)
    largest = max(high for _, high in scale_ranges)
    winners = {}
    for index, prompt in enumerate(prompts):
        x1, y1, x2, y2 = prompt["box"]
        scale = clamp(math.sqrt((x2 - x1) * (y2 - y1)), smallest, largest)
        for rank, mask in enumerate(prompt["masks"]):
            middle = center(mask, stride) if mask is not None else None
            if middle is None:
                continue
            cx, cy, area = middle
            height, width = len(mask) * stride, len(mask[0]) * stride
            half_w, half_h = sigma * (x2 - x1) / 2, sigma * (y2 - y1) / 2
            for level, (grid, (low, high)) in enumerate(zip(num_grids, scale_ranges, strict=True)):
                if not low <= scale <= high:
                    continue

                def cell(value, size, grid=grid):
                    return clamp(math.floor(value / size * grid), 0, grid - 1)

                column, row = cell(cx, width), cell(cy, height)
                for i in range(cell(cy - half_h, height), cell(cy + half_h, height) + 1):
                    for j in range(cell(cx - half_w, width), cell(cx + half_w, width) + 1):
                        if abs(i - row) > 1 or abs(j - column) > 1:
                            continue
                        key = (rank, prompt["image"], level, i, j)
                        claim = (area, index, (i, j) == (row, column))
                        if key not in winners or claim < winners[key]:
                            winners[key] = claim
    return {key: (index, is_center) for key, (_, index, is_center) in winners.items()}
