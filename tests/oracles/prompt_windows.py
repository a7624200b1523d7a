"""The promptable head's windows, cell by cell."""

import math


def cell_center(window, cells, row, column):
    x, y, side = window
    unit = side / cells
    return x - side / 2 + (column + 0.5) * unit, y - side / 2 + (row + 0.5) * unit


def bilinear(values, x, y):
    """Value of a map (rows of numbers) at a place in units of its cells; 0 off the map."""
    height, width = len(values), len(values[0])
    if not (0 <= x <= width and 0 <= y <= height):
        return 0.0
    column = min(max(x - 0.5, 0.0), width - 1.0)
    row = min(max(y - 0.5, 0.0), height - 1.0)
    total = 0.0
    for i in range(height):
        for j in range(width):
            total += max(0.0, 1 - abs(row - i)) * max(0.0, 1 - abs(column - j)) * values[i][j]
    return total


def sampled(values, stride, window, cells):
    """One channel of a window cut from a map."""
    result = []
    for row in range(cells):
        line = []
        for column in range(cells):
            x, y = cell_center(window, cells, row, column)
            line.append(bilinear(values, x / stride, y / stride))
        result.append(line)
    return result


def disc(points, window, cells, deviation):
    """Sum of Gaussian marks of some points, at most 1."""
    unit = window[2] / cells
    result = []
    for row in range(cells):
        line = []
        for column in range(cells):
            x, y = cell_center(window, cells, row, column)
            total = 0.0
            for a, b in points:
                squared = ((x - a) / unit) ** 2 + ((y - b) / unit) ** 2
                total += math.exp(-squared / (2 * deviation**2))
            line.append(min(total, 1.0))
        result.append(line)
    return result


def box_share(box, window, cells):
    """Share of every cell that a box covers."""
    unit = window[2] / cells
    result = []
    for row in range(cells):
        line = []
        for column in range(cells):
            x, y = cell_center(window, cells, row, column)
            across = min(x + unit / 2, box[2]) - max(x - unit / 2, box[0])
            down = min(y + unit / 2, box[3]) - max(y - unit / 2, box[1])
            line.append(max(across, 0.0) * max(down, 0.0) / unit**2)
        result.append(line)
    return result


def pasted(logits, rectangle, columns, rows):
    """Where one mask lies on a grid of positions."""
    cells = len(logits)
    result = []
    for y in rows:
        line = []
        for x in columns:
            u = (x - rectangle[0]) / (rectangle[2] - rectangle[0]) * cells
            v = (y - rectangle[1]) / (rectangle[3] - rectangle[1]) * cells
            line.append(bilinear(logits, u, v) > 0)
        result.append(line)
    return result
