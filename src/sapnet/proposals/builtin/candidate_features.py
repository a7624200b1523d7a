"""The regions that contain a click, and what speaks for each of them being the clicked object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.proposals.builtin.region_table import REGION_FEATURES, RegionTable, box_overlap

if TYPE_CHECKING:
    from sapnet.proposals.builtin.boundary_maps import BoundaryMaps

CLICK_FEATURES = (
    "off_center_x",
    "off_center_y",
    "centroid_distance",
    "same_class_covered",
    "other_class_covered",
    "parent_covers_more",
    "neighbour_distance",
    "inside_at_click",
    "seen_box_agreement",
    "log_size_over_seen",
    "contour_over_best",
    "share_smaller",
    "tree",
)
FEATURES = REGION_FEATURES + CLICK_FEATURES
"""Columns of ``Candidates.features``."""
SMALLEST_AREA = 6
"""Pixels of the working frame below which a region is a speck."""
LARGEST_SHARE = 0.7
"""Regions that cover more of the image are background."""
_MOST = 3.0
_BOX_CANDIDATES = 8
"""Regions of each tree that answer a box."""


@dataclass(frozen=True)
class Click:
    """One click among the others of its image, in the working frame."""

    xy: Float[ndarray, " 2"]
    neighbours: Float[ndarray, "m 2"]
    """Clicks on the other objects, negative points among them."""
    same_class: Bool[ndarray, " m"]
    """Which neighbours are of the click's class."""


@dataclass(frozen=True)
class Candidates:
    """The regions that contain a click, of all trees, tree after tree, from the leaf up."""

    tree: Int[ndarray, " n"]
    node: Int[ndarray, " n"]
    area: Float[ndarray, " n"]
    features: Float[ndarray, "n f"]
    """One column per entry of ``FEATURES``, float32."""

    def take(self, rows: Int[ndarray, " k"]) -> Candidates:
        """Return some of the candidates, in the given order."""
        return Candidates(self.tree[rows], self.node[rows], self.area[rows], self.features[rows])


def join_candidates(parts: Sequence[Candidates]) -> Candidates:
    """Put candidates together, in their order; maybe none."""
    if not parts:
        none = np.zeros(0, dtype=np.int64)
        return Candidates(none, none, np.zeros(0), np.zeros((0, len(FEATURES)), dtype=np.float32))
    return Candidates(
        np.concatenate([part.tree for part in parts]),
        np.concatenate([part.node for part in parts]),
        np.concatenate([part.area for part in parts]),
        np.concatenate([part.features for part in parts]),
    )


def click_candidates(
    tables: Sequence[RegionTable],
    maps: BoundaryMaps,
    click: Click,
    *,
    box: Float[ndarray, " 4"] | None = None,
    holding_click: bool = True,
) -> Candidates:
    """Return the regions that answer a prompt, with their features.

    Args:
        tables: One per tree of the image.
        maps: The network's maps.
        click: Within the image.
        box: A box prompt, working frame: of each tree the regions whose boxes overlap it most.
        holding_click: Whether the regions must contain the click. Without a box they must.
    """
    return join_candidates(
        [_of_tree(table, maps, click, number, box, holding_click) for number, table in enumerate(tables)]
    )


def covered_points(
    tables: Sequence[RegionTable], candidates: Candidates, points: Float[ndarray, "p 2"]
) -> Bool[ndarray, "n p"]:
    """Return which candidates cover which points; a point off the image is covered by none."""
    covered = np.zeros((len(candidates.node), len(points)), dtype=bool)
    for number, table in enumerate(tables):
        rows = candidates.tree == number
        covered[rows] = _covered(table, candidates.node[rows], points)
    return covered


def _of_tree(
    table: RegionTable, maps: BoundaryMaps, click: Click, number: int, prompt: ndarray | None, holding: bool
) -> Candidates:
    tree = table.tree
    row, column = int(click.xy[1]), int(click.xy[0])
    node = tree.path(row, column) if holding or prompt is None else np.arange(len(tree.parent))
    usable = (table.area[node] >= SMALLEST_AREA) & (table.area[node] <= LARGEST_SHARE * tree.leaves.size)
    node = node[usable]
    if prompt is not None:
        overlap = box_overlap(table.box[node], prompt[None])
        node = node[np.sort(np.argsort(-overlap, kind="stable")[:_BOX_CANDIDATES])]
    area, box = table.area[node], table.box[node]
    side = np.sqrt(area)
    off = np.abs((box[:, :2] + box[:, 2:]) / 2.0 - click.xy) / np.maximum(box[:, 2:] - box[:, :2], 1.0)
    covered = _covered(table, node, click.neighbours)
    covered_by_parent = _covered(table, tree.parent[node], click.neighbours)
    same = covered @ click.same_class.astype(np.float64)
    more = (covered_by_parent & ~covered) @ np.ones(len(click.neighbours))
    nearest = np.sqrt(((click.neighbours - click.xy) ** 2).sum(1)).min(initial=np.inf)
    seen = maps.edges[:, row, column].astype(np.float64)[None]
    seen_size = np.sqrt(max(float(((seen[:, 2:] - seen[:, :2]).clip(1.0)).prod()), 1.0))
    contour = table.features[node, REGION_FEATURES.index("contour_region")]
    count = max(len(node), 1)
    columns = np.stack(
        [
            off[:, 0],
            off[:, 1],
            np.sqrt(((table.center[node] - click.xy) ** 2).sum(1)) / side,
            np.minimum(same, _MOST),
            np.minimum(covered.sum(1) - same, _MOST),
            np.minimum(more, _MOST),
            np.minimum(nearest / side, _MOST),
            np.full(len(node), maps.inside[row, column]),
            box_overlap(box, seen),
            np.log(np.sqrt((box[:, 2:] - box[:, :2]).prod(1)) / seen_size),
            contour / max(float(contour.max(initial=0.0)), 1e-3),
            np.arange(len(node)) / count,
            np.full(len(node), number),
        ],
        axis=1,
    )
    features = np.concatenate([table.features[node], columns], axis=1).astype(np.float32)
    return Candidates(np.full(len(node), number), node, area, features)


def _covered(table: RegionTable, node: ndarray, points: ndarray) -> ndarray:
    """Return which regions (n,) cover which points (m,); a point off the image is covered by none."""
    tree = table.tree
    height, width = tree.leaves.shape
    columns, rows = np.floor(points).astype(np.int64).reshape(-1, 2).T
    known = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    place = tree.place[tree.leaves[rows.clip(0, height - 1), columns.clip(0, width - 1)]]
    return (place >= tree.first[node, None]) & (place < tree.last[node, None]) & known
