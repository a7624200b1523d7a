"""A click on a shape, for sources whose shapes are to count as clicks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Vertices = Sequence[tuple[float, float]]


def center_of(vertices: Vertices) -> tuple[float, float]:
    """Return the middle of the smallest upright box around the vertices ``(x, y)``."""
    x, y = zip(*vertices, strict=True)
    return min(x) / 2 + max(x) / 2, min(y) / 2 + max(y) / 2


def point_on_polygon(vertices: Vertices) -> tuple[float, float]:
    """Return a point inside a polygon: the middle of its widest stretch half way down.

    Args:
        vertices: ``(x, y)`` of at least one corner; even-odd where edges cross.

    Returns:
        ``(x, y)``; the middle of the surrounding box where the polygon has no inside.
    """
    corners = sorted({y for _, y in vertices})
    if len(corners) < 2:
        return center_of(vertices)
    middle = corners[0] / 2 + corners[-1] / 2
    # A line through a corner would count it for both of its edges; take one between two corners.
    gaps = [(low, high) for low, high in pairwise(corners) if low <= middle <= high]
    level = gaps[0][0] / 2 + gaps[0][1] / 2
    edges = zip(vertices, [*vertices[1:], vertices[0]], strict=True)
    crossings = sorted(
        x1 + (x2 - x1) * ((level - y1) / (y2 - y1))
        for (x1, y1), (x2, y2) in edges
        if (y1 < level) != (y2 < level)
    )
    stretches = list(zip(crossings[::2], crossings[1::2], strict=False))
    if not stretches:
        return center_of(vertices)
    left, right = max(stretches, key=lambda stretch: stretch[1] - stretch[0])
    return left / 2 + right / 2, level
