"""From boundary maps to trees of nested regions, and what can be said about every region of a tree.

A tree is made by watershed and greedy merging (:mod:`sapnet.proposals.region_tree`): neighbours with
the weakest mean boundary between them are merged first (ultrametric contours; Arbelaez et al., 2011).

A region is a range of leaves in depth-first order, so whatever adds up over pixels is known for all
``T`` regions of a tree at once from one running sum over the leaves. Everything is in the working frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray
from skimage.segmentation import watershed

from sapnet.proposals.region_tree import RegionTree, merge_leaves

_SMOOTHING = 0.8
"""Deviation in pixels of the blur before the watershed."""
_LEVELS = 60
"""Steps of boundary strength between 0 and 1 that the watershed tells apart."""


def contour_tree(
    strength: Float[ndarray, "h w"],
    lab: Float[ndarray, "h w 3"],
    *,
    color_weight: float,
    sharpness: float,
) -> RegionTree:
    """Build the tree of a boundary map.

    Args:
        strength: Boundary strength, 0 to 1.
        lab: Lab colours of the image.
        color_weight: Cost of merging two neighbours per unit of colour difference, against the mean
            boundary strength between them.
        sharpness: Power that the strength is raised to before means are taken. As the cost of merging
            also has a fixed power of the smaller area as a factor, this sets how soon specks go.

    Returns:
        The tree; its ``gradient`` is the strength, blurred and raised to the power.
    """
    smooth = np.clip(cv2.GaussianBlur(strength.astype(np.float32), (0, 0), _SMOOTHING), 0.0, 1.0)
    leaves = np.maximum(watershed(np.round(smooth * _LEVELS).astype(np.int32)) - 1, 0)
    powered = smooth**sharpness
    # Region merging weighs colour with a tenth.
    return merge_leaves(leaves.astype(np.int64), powered, lab * np.float32(10.0 * color_weight))


def region_sums(tree: RegionTree, channels: Iterable[Num[ndarray, "h w"]]) -> Float[ndarray, "T c"]:
    """Return the sums of pixel values over every region, float64.

    Args:
        tree: The regions.
        channels: Values of every pixel, channel after channel.
    """
    flat, count = tree.leaves.ravel(), len(tree.place)
    # Pixels are added up in the order of the image, whoever adds.
    sums = [np.bincount(flat, weights=channel.ravel(), minlength=count) for channel in channels]
    return _over_ranges(tree, np.stack(sums, axis=1))


def region_boxes(tree: RegionTree) -> Float[ndarray, "T 4"]:
    """Return the tight box of every region."""
    height, width = tree.leaves.shape
    flat = tree.leaves.ravel()
    count = len(tree.place)
    low = np.full((count, 2), max(height, width), dtype=np.int64)
    high = np.zeros((count, 2), dtype=np.int64)
    # The last assignment to a leaf stands: that of its last pixel, read in one direction or the other.
    by_column = tree.leaves.T.ravel()
    for axis, (pixels, length) in enumerate(((by_column, height), (flat, width))):
        # Where the leaf changes along a line: a leaf's other pixels on the line are after one such.
        turns = np.concatenate([[True], pixels[1:] != pixels[:-1]])
        turns[::length] = True
        starts = np.flatnonzero(turns)
        leaf, line = pixels[starts], starts // length
        high[leaf, axis] = line + 1
        low[leaf[::-1], axis] = line[::-1]
    order = np.argsort(tree.place)
    bounds = np.stack([tree.first, tree.last], axis=1).ravel()

    def reduced(ufunc: np.ufunc, values: ndarray) -> ndarray:
        # Every second interval is the one between two ranges, and the last bound needs a place to be.
        padded = np.concatenate([values[order], values[order][-1:]])
        return ufunc.reduceat(padded, bounds, axis=0)[::2]

    return np.concatenate([reduced(np.minimum, low), reduced(np.maximum, high)], axis=1).astype(np.float64)


@dataclass(frozen=True)
class Contours:
    """Lengths and strengths of the contours of all regions; the image's rim is no contour."""

    length: Float[ndarray, " T"]
    """Pixel edges between the region and others."""
    strength: Float[ndarray, "T c"]
    """Sums of each map over those edges."""


def region_contours(tree: RegionTree, maps: Float[ndarray, "c h w"]) -> Contours:
    """Return how long and how strong the contour of every region is.

    A pixel edge belongs to a region's contour if just one of its pixels is in it: of the edges at the
    region's pixels, those within it (whose two leaves have their lowest common region in it) are
    taken off twice.
    """
    pairs, values = _pixel_edges(tree.leaves, maps)
    count, channels = len(tree.place), values.shape[1]
    per_leaf = np.stack(
        [
            np.bincount(pairs.ravel(), weights=np.repeat(values[:, c], 2), minlength=count)
            for c in range(channels)
        ],
        axis=1,
    )
    met = _lowest_common(tree, pairs)
    within = np.stack(
        [np.bincount(met, weights=values[:, c], minlength=len(tree.parent)) for c in range(channels)], axis=1
    )
    # Children have smaller numbers than their parents, and a region's descendants lie within its range.
    order = np.argsort(tree.first * (len(tree.parent) + 1) - tree.last, kind="stable")
    totals = np.concatenate([np.zeros((1, channels)), np.cumsum(within[order], axis=0)])
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(len(order))
    size = 2 * (tree.last - tree.first) - 1
    internal = totals[position + size] - totals[position]
    contour = np.maximum(_over_ranges(tree, per_leaf) - 2.0 * internal, 0.0)
    return Contours(length=contour[:, 0], strength=contour[:, 1:])


def _over_ranges(tree: RegionTree, per_leaf: ndarray) -> ndarray:
    """Return sums (T, c) over the leaves of every region of values (L, c) per leaf."""
    order = np.argsort(tree.place)
    running = np.concatenate([np.zeros((1, per_leaf.shape[1])), np.cumsum(per_leaf[order], axis=0)])
    return running[tree.last] - running[tree.first]


def _pixel_edges(leaves: ndarray, maps: ndarray) -> tuple[Int[ndarray, "e 2"], Float[ndarray, "e c1"]]:
    """Return neighbouring leaves, and for each pair the number of pixel edges and the maps' sums."""
    pairs, values = [], []
    for before, after in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        differs = leaves[before] != leaves[after]
        pairs.append(np.stack([leaves[before][differs], leaves[after][differs]], axis=1))
        strongest = [np.maximum(values_of[before][differs], values_of[after][differs]) for values_of in maps]
        values.append(np.stack([np.ones(int(differs.sum())), *strongest], axis=1))
    pair = np.sort(np.concatenate(pairs), axis=1)
    value = np.concatenate(values)
    count = int(leaves.max()) + 1
    code, inverse = np.unique(pair[:, 0] * count + pair[:, 1], return_inverse=True)
    sums = np.stack(
        [np.bincount(inverse, weights=value[:, c], minlength=len(code)) for c in range(value.shape[1])],
        axis=1,
    )
    return np.stack([code // count, code % count], axis=1), sums


def _lowest_common(tree: RegionTree, pairs: ndarray) -> ndarray:
    """Return the smallest region that holds both leaves of each pair."""
    node = pairs[:, 0].copy()
    target = tree.place[pairs[:, 1]]
    climbing = np.arange(len(node))
    while len(climbing):
        node[climbing] = tree.parent[node[climbing]]
        outside = (target[climbing] < tree.first[node[climbing]]) | (
            target[climbing] >= tree.last[node[climbing]]
        )
        climbing = climbing[outside]
    return node
