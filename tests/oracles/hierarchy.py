"""What the regions of a tree hold, counted pixel by pixel."""

from __future__ import annotations


def sums(mask, values):
    """Sum of the values (rows of columns of channels) over the pixels of a mask."""
    total = [0.0] * len(values[0][0])
    for row in range(len(mask)):
        for column in range(len(mask[0])):
            if mask[row][column]:
                for channel in range(len(total)):
                    total[channel] += float(values[row][column][channel])
    return total


def box(mask):
    """Tight half-open box of a mask."""
    rows = [row for row in range(len(mask)) if any(mask[row])]
    columns = [column for column in range(len(mask[0])) if any(line[column] for line in mask)]
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def contour(mask, strength):
    """Number of pixel edges between a mask and the rest, and the sum of the larger strength at each."""
    count, total = 0, 0.0
    height, width = len(mask), len(mask[0])
    for row in range(height):
        for column in range(width):
            if not mask[row][column]:
                continue
            for other_row, other_column in (
                (row + 1, column),
                (row - 1, column),
                (row, column + 1),
                (row, column - 1),
            ):
                if (
                    0 <= other_row < height
                    and 0 <= other_column < width
                    and not mask[other_row][other_column]
                ):
                    count += 1
                    total += float(max(strength[row][column], strength[other_row][other_column]))
    return count, total
