"""Describes every region of a tree by what the image and the boundary network say, before any click.

All in the working frame. ``T`` regions of a tree; see :mod:`sapnet.proposals.builtin.hierarchy`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.proposals.builtin.hierarchy import Contours, region_boxes, region_contours, region_sums
from sapnet.proposals.region_tree import RegionTree

if TYPE_CHECKING:
    from sapnet.proposals.builtin.boundary_maps import BoundaryMaps

REGION_FEATURES = (
    "log_size",
    "height",
    "parent_height",
    "persistence",
    "log_height_ratio",
    "contour_region",
    "contour_border",
    "weaker_contour",
    "interior_strength",
    "log_compactness",
    "box_fill",
    "rim_sides",
    "inside",
    "inside_over_ring",
    "box_agreement",
    "edge_spread",
    "color_over_ring",
    "color_spread",
    "log_parent_ratio",
)
"""Columns of ``RegionTable.features``."""
_COLOR_UNIT = 50.0


@dataclass(frozen=True)
class RegionTable:
    """The regions of one tree with their descriptions."""

    tree: RegionTree
    area: Float[ndarray, " T"]
    center: Float[ndarray, "T 2"]
    """Centroid (x, y)."""
    box: Float[ndarray, "T 4"]
    features: Float[ndarray, "T f"]
    """One column per entry of ``REGION_FEATURES``."""

    def masks(self, nodes: Int[ndarray, " n"], *, step: int = 1) -> Bool[ndarray, "n h2 w2"]:
        """Return the pixels of regions, on every ``step``-th row and column."""
        place = self._places.get(step)
        if place is None:
            place = self.tree.place.astype(np.int32)[self.tree.leaves[::step, ::step]]
            self._places[step] = place
        masks = np.zeros((len(nodes), *place.shape), dtype=bool)
        first = self.tree.first[nodes].astype(np.int32)
        length = (self.tree.last - self.tree.first)[nodes].astype(np.uint32)
        boxes = -(-self.box[nodes].astype(np.int64) // step)
        # Most regions are a small part of the image, and only there is anything to look at.
        for mask, (left, top, right, bottom), start, count in zip(masks, boxes, first, length, strict=True):
            here = slice(top, bottom), slice(left, right)
            # Places before a range wrap round to large numbers: one comparison for both ends.
            np.less((place[here] - start).view(np.uint32), count, out=mask[here])
        return masks

    @cached_property
    def _places(self) -> dict[int, ndarray]:
        """The place of every pixel's leaf, by the step between pixels."""
        return {}


def pixel_values(maps: BoundaryMaps, lab: Float[ndarray, "h w 3"]) -> Iterator[Float[ndarray, "h w"]]:
    """Yield what is summed over regions, whichever tree they are of; one channel in memory at a time.

    Args:
        maps: The network's maps of an image.
        lab: Its Lab colours, whole numbers.

    Yields:
        Column, row, inside, the three colours, the sum of their squares, the four edges of the box that the
        pixel sees, and their squares, in twice the precision of the edges.
    """
    height, width = maps.inside.shape
    yield np.tile(np.arange(width) + 0.5, (height, 1))
    yield np.repeat(np.arange(height) + 0.5, width).reshape(height, width)
    yield maps.inside
    yield from lab.transpose(2, 0, 1)
    yield lab[..., 0] ** 2 + lab[..., 1] ** 2 + lab[..., 2] ** 2
    yield from maps.edges
    for edge in maps.edges:
        yield np.square(edge, dtype=np.float64)


def describe_regions(tree: RegionTree, maps: BoundaryMaps, lab: Float[ndarray, "h w 3"]) -> RegionTable:
    """Describe all regions of a tree.

    Args:
        tree: Its ``gradient`` is the strength it was built from.
        maps: The network's maps of the same image.
        lab: Its Lab colours, whole numbers.
    """
    height, width = tree.leaves.shape
    sums = region_sums(tree, chain(pixel_values(maps, lab), [tree.gradient]))
    area = tree.area.astype(np.float64)
    means = sums / area[:, None]
    ring_area = np.maximum(area[tree.parent] - area, 1.0)[:, None]
    ring = (sums[tree.parent] - sums) / ring_area
    box = region_boxes(tree)
    contours = region_contours(tree, np.stack([maps.region, maps.border]))
    features = np.stack(
        [
            0.5 * np.log(area / (height * width)),
            *_merging(tree),
            *_contour_columns(contours),
            means[:, 15],
            *_shape(contours.length, area, box, (height, width)),
            means[:, 2],
            means[:, 2] - ring[:, 2],
            *_edge_columns(means[:, 7:11], means[:, 11:15], box),
            np.sqrt(((means[:, 3:6] - ring[:, 3:6]) ** 2).sum(1)) / _COLOR_UNIT,
            np.sqrt(np.maximum(means[:, 6] - (means[:, 3:6] ** 2).sum(1), 0.0)) / _COLOR_UNIT,
            np.log(area[tree.parent] / area),
        ],
        axis=1,
    )
    return RegionTable(tree, area, means[:, :2], box, features)


def box_overlap(a: Float[ndarray, "n 4"], b: Float[ndarray, "n 4"]) -> Float[ndarray, " n"]:
    """Return the IoU of boxes pair by pair; either side may be a single box (1, 4)."""
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    common = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    return common / np.maximum(box_areas(a) + box_areas(b) - common, 1e-9)


def box_areas(boxes: Float[ndarray, "n 4"]) -> Float[ndarray, " n"]:
    """Return the areas of boxes, 0 for those without."""
    return np.maximum(boxes[:, 2] - boxes[:, 0], 0.0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0.0)


def _merging(tree: RegionTree) -> list[ndarray]:
    """Own height and the parent's, their difference and the logarithm of their ratio."""
    # Heights have the area in them; their logarithm is what varies evenly.
    own = np.log(tree.height + 1e-3)
    above = np.log(tree.height[tree.parent] + 1e-3)
    return [own, above, tree.height[tree.parent] - tree.height, above - own]


def _contour_columns(contours: Contours) -> list[ndarray]:
    """Mean strength of both boundary maps on the contour, and the smaller of the two."""
    means = contours.strength / np.maximum(contours.length, 1.0)[:, None]
    return [means[:, 0], means[:, 1], means.min(1)]


def _shape(length: ndarray, area: ndarray, box: ndarray, size: tuple[int, int]) -> list[ndarray]:
    """Compactness, share of the box that is filled, and how many sides of the image are touched."""
    touched = (box[:, :2] <= 0).sum(1) + (box[:, 2:] >= np.array([size[1], size[0]])).sum(1)
    compactness = np.log(4.0 * np.pi * area / np.maximum(length, 1.0) ** 2)
    return [np.clip(compactness, -6.0, 3.0), area / np.maximum(box_areas(box), 1.0), touched / 4.0]


def _edge_columns(mean: ndarray, square: ndarray, box: ndarray) -> list[ndarray]:
    """How the box that the region's pixels see agrees with the region's, and how much they disagree."""
    side = np.sqrt(np.maximum(box_areas(box), 1.0))
    spread = np.sqrt(np.maximum(square - mean**2, 0.0)).mean(1) / side
    return [box_overlap(mean, box), np.log(spread + 0.02)]
