"""A tree of nested regions from an image alone: gradient, watershed, greedy merging.

The leaves are watershed basins of a colour gradient. Neighbours are merged, cheapest pair first;
the cost of a pair is the mean gradient on the common boundary plus the difference of mean colours,
times a small power of the smaller area (so that specks go first). Costs along a path to the root
are made to rise, which makes the tree an ultrametric: cutting it at any height gives a
segmentation (Arbelaez et al., "Contour Detection and Hierarchical Image Segmentation", 2011).

Everything is in the frame of the image that is given (a reduced copy of the original).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from skimage.segmentation import watershed

_FINE_SIGMA, _COARSE_SIGMA = 1.2, 2.4
"""Gaussian smoothing before the two gradients, in pixels."""
_COLOR_WEIGHT = 0.1
"""Weight of the difference of mean colours against the mean boundary gradient."""
_AREA_POWER = 0.3
_MIN_BASIN_DEPTH = 0.02
"""Basins shallower than this share of the largest gradient are no leaves of their own."""


@dataclass(frozen=True)
class RegionTree:
    """A binary tree over the leaves 0..L-1; inner nodes are L..2L-2, the root is the last.

    ``T`` is the number of nodes, 2L - 1.
    """

    leaves: Int[ndarray, "h w"]
    """Leaf of every pixel."""
    parent: Int[ndarray, " T"]
    """Parent node; the root is its own."""
    height: Float[ndarray, " T"]
    """Merging cost at which a node came to be; 0 for leaves; never falls towards the root."""
    area: Float[ndarray, " T"]
    """Pixels of each node."""
    first: Int[ndarray, " T"]
    """A node holds the leaves whose place in depth-first order is in [first, last)."""
    last: Int[ndarray, " T"]
    place: Int[ndarray, " L"]
    """Place of each leaf in depth-first order."""
    gradient: Float[ndarray, "h w"]
    """The image gradient that the tree was built from."""

    def path(self, row: int, column: int) -> Int[ndarray, " d"]:
        """Return the nodes that contain a pixel, from the leaf up to the root."""
        node = int(self.leaves[row, column])
        nodes = [node]
        while self.parent[node] != node:
            node = int(self.parent[node])
            nodes.append(node)
        return np.asarray(nodes)

    def masks(self, nodes: Int[ndarray, " n"], *, step: int = 1) -> Bool[ndarray, "n h2 w2"]:
        """Return the pixels of each node, on every ``step``-th row and column."""
        place = np.ascontiguousarray(self._place_of_pixel[::step, ::step])
        first = self.first[nodes].astype(np.int32)
        length = (self.last - self.first)[nodes].astype(np.uint32)
        # Places before a range wrap round to large numbers: one comparison for both ends.
        return (place - first[:, None, None]).view(np.uint32) < length[:, None, None]

    @cached_property
    def _place_of_pixel(self) -> ndarray:
        return self.place[self.leaves].astype(np.int32)


def color_gradient(lab: Float[ndarray, "h w 3"]) -> Float[ndarray, "h w"]:
    """Return the gradient magnitude over the channels, the mean of a fine and a coarse scale.

    Args:
        lab: Lab colours.

    Returns:
        float32, in colour units: about the height of a step edge at the step.
    """
    total = np.zeros(lab.shape[:2], dtype=np.float32)
    for sigma in (_FINE_SIGMA, _COARSE_SIGMA):
        smooth = cv2.GaussianBlur(lab, (0, 0), sigma)
        along_x = cv2.Scharr(smooth, cv2.CV_32F, 1, 0, scale=1.0 / 32.0)
        along_y = cv2.Scharr(smooth, cv2.CV_32F, 0, 1, scale=1.0 / 32.0)
        # A step of height 1 has a slope of 1 / (sigma sqrt(2 pi)) after smoothing.
        total += np.sqrt((along_x**2 + along_y**2).sum(2)) * np.float32(sigma * np.sqrt(2.0 * np.pi))
    return total / 2.0


def build_region_tree(image: UInt8[ndarray, "h w 3"]) -> RegionTree:
    """Build the tree of an RGB image.

    Args:
        image: uint8 (h, w, 3); costs about 0.2 s at 384 x 288.

    Returns:
        The tree; a single leaf where the image is of one colour.
    """
    lab = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB).astype(np.float32)
    gradient = color_gradient(lab)
    step = max(float(gradient.max()) * _MIN_BASIN_DEPTH, 1e-6)
    # A flat image has no basin at all and comes back as zeros.
    leaves = np.maximum(watershed(np.round(gradient / step).astype(np.int32)) - 1, 0)
    return merge_leaves(leaves.astype(np.int64), gradient, lab)


def _adjacency(leaves: ndarray, gradient: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """Return neighbouring leaf pairs (e, 2), and sum and count of the gradient on their boundary."""
    pairs, strength = [], []
    for before, after, slope_before, slope_after in (
        (leaves[:, :-1], leaves[:, 1:], gradient[:, :-1], gradient[:, 1:]),
        (leaves[:-1], leaves[1:], gradient[:-1], gradient[1:]),
    ):
        border = before != after
        a, b = before[border], after[border]
        pairs.append(np.stack([np.minimum(a, b), np.maximum(a, b)], axis=1))
        strength.append(np.maximum(slope_before[border], slope_after[border]))
    pair, value = np.concatenate(pairs), np.concatenate(strength)
    count = int(leaves.max()) + 1
    code, inverse = np.unique(pair[:, 0] * count + pair[:, 1], return_inverse=True)
    sums = np.bincount(inverse, weights=value, minlength=len(code))
    return np.stack([code // count, code % count], axis=1), sums, np.bincount(inverse, minlength=len(code))


class _Regions:
    """The regions while they are merged, as plain lists: single numbers are what merging reads.

    A region lives in the slot of one of its leaves. When two merge, the one with fewer neighbours moves in
    with the other, so that only its own neighbours have to learn of it.
    """

    def __init__(self, leaves: ndarray, gradient: ndarray, lab: ndarray) -> None:
        count = int(leaves.max()) + 1
        flat = leaves.ravel()
        later = [0.0] * (count - 1)
        self.num_leaves = count
        self.area = np.bincount(flat, minlength=count).astype(float).tolist() + later
        self._sums = [
            np.bincount(flat, weights=lab[..., c].ravel(), minlength=count).tolist() + later for c in range(3)
        ]
        # Of the region in every slot: its number, a power of its area, and its mean colours.
        self._number = list(range(count))
        self._slot = list(range(count)) + [0] * (count - 1)
        self._power = [area**_AREA_POWER for area in self.area[:count]]
        self._means = [
            [total / area for total, area in zip(sums[:count], self.area[:count], strict=True)]
            for sums in self._sums
        ]
        # Of every slot: the neighbours' slots, with sum and count of the gradient on the common boundary
        # as the parts of a complex number, which adds up both at once.
        self._borders: list[dict[int, complex]] = [{} for _ in range(count)]
        pairs, sums, counts = _adjacency(leaves, gradient)
        for (a, b), total, length in zip(pairs.tolist(), sums.tolist(), counts.tolist(), strict=True):
            self._borders[a][b] = self._borders[b][a] = complex(total, length)

    def costs(self, node: int) -> list[tuple[float, int, int]]:
        """Return the cost of merging every neighbour with a region, the neighbour and the region."""
        number, power, (light, green_red, blue_yellow) = self._number, self._power, self._means
        slot = self._slot[node]
        own, own_light, own_green, own_blue = power[slot], light[slot], green_red[slot], blue_yellow[slot]
        found = []
        for other, border in self._borders[slot].items():
            difference = sqrt(
                (light[other] - own_light) ** 2
                + (green_red[other] - own_green) ** 2
                + (blue_yellow[other] - own_blue) ** 2
            )
            theirs = power[other]
            smaller = theirs if theirs < own else own
            cost = (border.real / border.imag + _COLOR_WEIGHT * difference) * smaller
            found.append((cost, number[other], node))
        return found

    def join(self, a: int, b: int, node: int) -> None:
        """Make ``node`` the union of two neighbours."""
        area = self.area[node] = self.area[a] + self.area[b]
        kept, left = self._slot[a], self._slot[b]
        if len(self._borders[kept]) < len(self._borders[left]):
            kept, left = left, kept
        self._slot[node], self._number[kept], self._power[kept] = kept, node, area**_AREA_POWER
        for sums, means in zip(self._sums, self._means, strict=True):
            total = sums[node] = sums[a] + sums[b]
            means[kept] = total / area
        joined, moved = self._borders[kept], self._borders[left]
        del joined[left], moved[kept]
        for other, border in moved.items():
            theirs = self._borders[other]
            del theirs[left]
            if other in joined:
                border += joined[other]
            joined[other] = theirs[kept] = border
        self._borders[left] = {}


def merge_leaves(leaves: ndarray, gradient: ndarray, lab: ndarray) -> RegionTree:
    """Merge the leaves, cheapest pair first; of equal costs the lower numbers first.

    Args:
        leaves: int (h, w) leaf of every pixel, 0..L-1.
        gradient: (h, w) strength of a border at every pixel.
        lab: (h, w, 3) colours, whose differences add to the cost.

    Returns:
        The tree, leaves first, the whole image last.
    """
    regions = _Regions(leaves, gradient, lab)
    count = regions.num_leaves
    # Every region has the cheapest of its own pairs in the heap, and the others in a heap of its own.
    own = [[item for item in regions.costs(leaf) if item[1] < leaf] for leaf in range(count)]
    for pairs in own:
        heapq.heapify(pairs)
    heap = [heapq.heappop(pairs) for pairs in own if pairs]
    heapq.heapify(heap)
    own += [[] for _ in range(count - 1)]
    parent = list(range(2 * count - 1))
    height = [0.0] * (2 * count - 1)
    node = count
    while node < 2 * count - 1:
        value, a, b = heap[0]
        if parent[b] != b or parent[a] != a:
            pairs = own[b] if parent[b] == b else []
            if pairs:
                heapq.heapreplace(heap, heapq.heappop(pairs))
            else:
                heapq.heappop(heap)
            continue
        parent[a] = parent[b] = node
        height[node] = max(value, height[a], height[b])
        regions.join(a, b, node)
        own[a] = own[b] = []
        pairs = own[node] = regions.costs(node)
        if pairs:
            heapq.heapify(pairs)
            heapq.heapreplace(heap, heapq.heappop(pairs))
        node += 1
    return _ordered(leaves, gradient, np.asarray(parent), np.asarray(height), np.asarray(regions.area))


def _ordered(
    leaves: ndarray, gradient: ndarray, parent: ndarray, height: ndarray, area: ndarray
) -> RegionTree:
    """Number the leaves depth first, so that every node is a range of places."""
    nodes = len(parent)
    count = (nodes + 1) // 2
    above = parent.tolist()
    size = [1] * count + [0] * (nodes - count)
    for node in range(nodes - 1):
        size[above[node]] += size[node]
    first = [0] * nodes
    free = [0] * nodes
    for node in range(nodes - 2, -1, -1):
        start = first[node] = free[node] = free[above[node]]
        free[above[node]] = start + size[node]
    begin, length = np.asarray(first, dtype=np.int64), np.asarray(size, dtype=np.int64)
    return RegionTree(leaves, parent, height, area, begin, begin + length, begin[:count], gradient)
