"""Area averages of masks on a grid, clicks under masks and quasi-centre weights, one pixel at a time."""

from __future__ import annotations

import math


def share_of_cell(mask, top, bottom, left, right):
    """Which share of the rectangle [left, right) x [top, bottom) the filled pixels cover."""
    total = 0.0
    for row in range(len(mask)):
        for column in range(len(mask[0])):
            if mask[row][column]:
                tall = max(0.0, min(bottom, row + 1) - max(top, row))
                wide = max(0.0, min(right, column + 1) - max(left, column))
                total += tall * wide
    return total / ((bottom - top) * (right - left))


def mask_on_input_grid(mask, input_size, flipped, stride):
    """Resize and mirror a mask, then average it over squares of ``stride`` input pixels."""
    height, width = len(mask), len(mask[0])
    scale_y, scale_x = input_size[0] / height, input_size[1] / width
    shares = []
    for top in range(0, input_size[0], stride):
        line = []
        for left in range(0, input_size[1], stride):
            bottom, right = min(top + stride, input_size[0]), min(left + stride, input_size[1])
            x0, x1 = (input_size[1] - right, input_size[1] - left) if flipped else (left, right)
            line.append(share_of_cell(mask, top / scale_y, bottom / scale_y, x0 / scale_x, x1 / scale_x))
        shares.append(line)
    filled = [[share >= 0.5 - 1e-5 for share in line] for line in shares]
    best = max(max(line) for line in shares)
    if best > 0 and not any(any(line) for line in filled):
        for row, line in enumerate(shares):
            for column, share in enumerate(line):
                if share == best:
                    filled[row][column] = True
                    return shares, filled
    return shares, filled


def covered_clicks(masks, owners, clicks, labels, input_size):
    """For every mask: whether it covers another click of the class, and the sum of their distances."""
    result = []
    for mask, owner in zip(masks, owners, strict=True):
        scale_y, scale_x = input_size[0] / len(mask), input_size[1] / len(mask[0])
        covered, distance = False, 0.0
        for index, (x, y) in enumerate(clicks):
            same_class = labels[index] == labels[owner]
            if index != owner and same_class and mask[math.floor(y)][math.floor(x)]:
                covered = True
                dx, dy = x - clicks[owner][0], y - clicks[owner][1]
                distance += math.hypot(dx * scale_x, dy * scale_y)
        result.append((covered, distance))
    return result


def quasi_center_weights(mask):
    """Probability of every pixel of a mask cropped to its box (Gaussian x mask x ellipse)."""
    height, width = len(mask), len(mask[0])
    semi_x, semi_y = min(96, 0.25 * width / 2), min(96, 0.25 * height / 2)
    gauss, central = {}, {}
    for row in range(height):
        for column in range(width):
            x, y = (column + 0.5) / width - 0.5, (row + 0.5) / height - 0.5
            value = math.exp(-(x**2 / 0.25**2 + y**2 / 0.25**2) / 2) / (2 * math.pi * 0.25 * 0.25)
            value *= bool(mask[row][column])
            gauss[row, column] = value
            inside = (x * width / semi_x) ** 2 + (y * height / semi_y) ** 2 <= 1
            central[row, column] = value if inside else 0.0
    chosen = central if sum(central.values()) > 0 else gauss
    total = sum(chosen.values())
    return {place: value / total for place, value in chosen.items()}
