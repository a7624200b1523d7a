"""Greedy region merging written out: every pair is looked at anew before every merge."""

from __future__ import annotations

import math


def merge_regions(leaves, gradient, lab, *, color_weight, area_power):
    """Return the pixel sets of the nodes in the order they came to be, with heights (leaves: 0)."""
    rows, columns = leaves.shape
    pixels = {}
    for row in range(rows):
        for column in range(columns):
            pixels.setdefault(int(leaves[row, column]), set()).add((row, column))
    nodes = [(frozenset(pixels[leaf]), 0.0) for leaf in sorted(pixels)]
    alive = list(range(len(nodes)))
    while len(alive) > 1:
        best = None
        for i in alive:
            for j in alive:
                if i >= j:
                    continue
                strengths = []
                for row, column in nodes[i][0]:
                    for other in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                        if other in nodes[j][0]:
                            strengths.append(max(gradient[row, column], gradient[other]))
                if not strengths:
                    continue
                means = []
                for node in (i, j):
                    members = nodes[node][0]
                    means.append([sum(lab[p][c] for p in members) / len(members) for c in range(3)])
                cost = sum(strengths) / len(strengths) + color_weight * math.dist(*means)
                cost *= min(len(nodes[i][0]), len(nodes[j][0])) ** area_power
                if best is None or cost < best[0] - 1e-9:
                    best = (cost, i, j)
        cost, i, j = best
        nodes.append((nodes[i][0] | nodes[j][0], max(cost, nodes[i][1], nodes[j][1])))
        alive = [k for k in alive if k not in (i, j)] + [len(nodes) - 1]
    return nodes


def components(mask):
    """Return the 4-connected pieces of a mask as a list of pixel sets."""
    left = {(r, c) for r in range(mask.shape[0]) for c in range(mask.shape[1]) if mask[r, c]}
    pieces = []
    while left:
        piece, border = set(), [left.pop()]
        while border:
            row, column = border.pop()
            piece.add((row, column))
            for other in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if other in left:
                    left.remove(other)
                    border.append(other)
        pieces.append(piece)
    return pieces
