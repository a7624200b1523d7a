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
    """The regions while they are merged, as plain lists: single numbers are what merging reads."""

    def __init__(self, leaves: ndarray, gradient: ndarray, lab: ndarray) -> None:
        count = int(leaves.max()) + 1
        flat = leaves.ravel()
        later = [0.0] * (count - 1)
        self.num_leaves = count
        self.area = np.bincount(flat, minlength=count).astype(float).tolist() + later
        self._light, self._green_red, self._blue_yellow = (
            np.bincount(flat, weights=lab[..., c].ravel(), minlength=count).tolist() + later for c in range(3)
        )
        # Of every region: its neighbours, with sum and count of the gradient on the common boundary.
        self.borders: list[dict[int, tuple[float, int]]] = [{} for _ in range(2 * count - 1)]
        pairs, sums, counts = _adjacency(leaves, gradient)
        for (a, b), total, length in zip(pairs.tolist(), sums.tolist(), counts.tolist(), strict=True):
            self.borders[a][b] = self.borders[b][a] = (total, length)

    def costs(self, node: int) -> list[tuple[float, int, int]]:
        """Return the cost of merging every neighbour with a region, the neighbour and the region."""
        area, light, green_red, blue_yellow = self.area, self._light, self._green_red, self._blue_yellow
        own = area[node]
        own_light, own_green, own_blue = light[node] / own, green_red[node] / own, blue_yellow[node] / own
        found = []
        for other, (total, length) in self.borders[node].items():
            theirs = area[other]
            difference = sqrt(
                (light[other] / theirs - own_light) ** 2
                + (green_red[other] / theirs - own_green) ** 2
                + (blue_yellow[other] / theirs - own_blue) ** 2
            )
            smaller = theirs if theirs < own else own
            found.append(((total / length + _COLOR_WEIGHT * difference) * smaller**_AREA_POWER, other, node))
        return found

    def join(self, a: int, b: int, node: int) -> None:
        """Make ``node`` the union of two neighbours, which lose their borders."""
        for column in (self.area, self._light, self._green_red, self._blue_yellow):
            column[node] = column[a] + column[b]
        joined = self.borders[a]
        for other, (total, length) in self.borders[b].items():
            before = joined.get(other, (0.0, 0))
            joined[other] = (total + before[0], length + before[1])
        joined.pop(a, None)
        joined.pop(b, None)
        self.borders[node], self.borders[a], self.borders[b] = joined, {}, {}
        for other, border in joined.items():
            theirs = self.borders[other]
            theirs.pop(a, None)
            theirs.pop(b, None)
            theirs[node] = border


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
    heap = [item for leaf in range(count) for item in regions.costs(leaf) if item[1] < leaf]
    heapq.heapify(heap)
    parent = list(range(2 * count - 1))
    height = [0.0] * (2 * count - 1)
    node = count
    while node < 2 * count - 1:
        value, a, b = heapq.heappop(heap)
        if parent[a] != a or parent[b] != b:
            continue
        parent[a] = parent[b] = node
        height[node] = max(value, height[a], height[b])
        regions.join(a, b, node)
        for item in regions.costs(node):
            heapq.heappush(heap, item)
        node += 1
    return _ordered(leaves, gradient, np.asarray(parent), np.asarray(height), np.asarray(regions.area))


def _ordered(
    leaves: ndarray, gradient: ndarray, parent: ndarray, height: ndarray, area: ndarray
) -> RegionTree:
    """Number the leaves depth first, so that every node is a range of places."""
    nodes = len(parent)
    count = (nodes + 1) // 2
    size = np.ones(nodes, dtype=np.int64)
    size[count:] = 0
    for node in range(nodes - 1):
        size[parent[node]] += size[node]
    first = np.zeros(nodes, dtype=np.int64)
    filled = np.zeros(nodes, dtype=np.int64)
    for node in range(nodes - 2, -1, -1):
        above = parent[node]
        first[node] = first[above] + filled[above]
        filled[above] += size[node]
    return RegionTree(leaves, parent, height, area, first, first + size, first[:count], gradient)
