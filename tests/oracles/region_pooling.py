"""RoIAlign with loops (Mask R-CNN, section 3, with aligned half-pixel centres)."""

import math


def bilinear(rows, y, x):
    """Value of one channel (nested lists) at a continuous position; 0 beyond one cell outside."""
    height, width = len(rows), len(rows[0])
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = rows[top][left] * (1 - dx) + rows[top][right] * dx
    lower = rows[bottom][left] * (1 - dx) + rows[bottom][right] * dx
    return upper * (1 - dy) + lower * dy


def align(rows, box, size, stride, samples):
    """``size`` x ``size`` nested lists for one channel and one box in pixels."""
    x1, y1, x2, y2 = (value / stride - 0.5 for value in box)
    result = []
    for i in range(size):
        row = []
        for j in range(size):
            total = 0.0
            for a in range(samples):
                for b in range(samples):
                    y = y1 + (y2 - y1) / size * (i + (a + 0.5) / samples)
                    x = x1 + (x2 - x1) / size * (j + (b + 0.5) / samples)
                    total += bilinear(rows, y, x)
            row.append(total / samples**2)
        result.append(row)
    return result
