"""What speaks for each candidate of a click, whichever source it is from.

Masks are compared on every second row and column of the working frame. Whatever is summed over masks is a
whole number, so no sum depends on the order in which it is made.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.proposals.builtin.candidate_features import Click
from sapnet.proposals.builtin.packed_masks import PackedMasks
from sapnet.proposals.builtin.region_table import box_areas, box_overlap

if TYPE_CHECKING:
    from sapnet.proposals.builtin.boundary_maps import BoundaryMaps

STEP = 2
"""Masks are compared on every second row and column."""
BAG_FEATURES = (
    "from_head",
    "first_logit",
    "first_over_best",
    "agreement",
    "agreement_elsewhere",
    "agreement_head",
    "agreement_regions",
    "best_agreement_head",
    "best_agreement_regions",
    "share_smaller",
    "log_size",
    "off_center_x",
    "off_center_y",
    "centroid_distance",
    "covers_click",
    "inside",
    "inside_at_click",
    "same_object",
    "same_object_covered",
    "seen_box_agreement",
    "log_size_over_seen",
    "box_fill",
    "contour_region",
    "contour_border",
    "interior_strength",
    "rim_sides",
    "log_window_over_size",
    "about_seen_box",
    "place_0",
    "place_1",
    "place_2",
    "has_negatives",
    "has_box",
    "box_prompt_agreement",
    "same_class_covered",
    "other_class_covered",
    "neighbour_distance",
    "has_neighbours",
)
"""Columns of :func:`bag_features`."""
_MOST = 3.0
_GREYS = 255.0
_SHARPNESS = 3.0
"""Power of the first scores that weights the votes of other candidates."""


@dataclass(frozen=True)
class Bag:
    """The candidates of one click, from all sources."""

    masks: PackedMasks
    """On every second row and column of the working frame."""
    first_scores: Float[ndarray, " n"]
    """What each source predicts as the IoU, in (0, 1)."""
    from_head: Bool[ndarray, " n"]
    group: Int[ndarray, " n"]
    """Candidates of one group (a tree, a window) do not vouch for one another."""
    place: Int[ndarray, " n"]
    """Which of its window's masks; -1 for regions."""
    sides: Float[ndarray, " n"]
    """Of the windows, in pixels; 0 for regions."""
    about_seen_box: Bool[ndarray, " n"]
    has_negatives: Bool[ndarray, " n"]
    boxes: Float[ndarray, "n 4"]
    """Box prompts; NaN where there was none."""
    kinds: tuple[str, ...]
    rows: Int[ndarray, " n"]
    """Where each comes from: the row of the click's regions, or of the head's answers."""

    def take(self, rows: Int[ndarray, " k"]) -> Bag:
        """Return some of the candidates, in the given order."""
        arrays = {name: getattr(self, name)[rows] for name in bag_arrays()}
        return Bag(masks=self.masks.take(rows), kinds=tuple(self.kinds[row] for row in rows), **arrays)

    @cached_property
    def overlap(self) -> Float[ndarray, "n n"]:
        """IoU of every two candidates, on the coarse grid."""
        return self.masks.overlap()


def bag_arrays() -> tuple[str, ...]:
    """Return the names of what a bag holds as plain arrays, one row per candidate."""
    return tuple(field.name for field in fields(Bag) if field.name not in ("masks", "kinds"))


@dataclass(frozen=True)
class Surroundings:
    """The maps on every second row and column, as whole numbers."""

    levels: Float[ndarray, "3 p"]
    """Inside, region boundary and border, of 255, for every position."""
    running: Float[ndarray, "6 p1"]
    """Sums of 1, column, row and the levels over all positions before each, and over all."""
    edges: Float[ndarray, "4 p"]
    size: tuple[int, int]
    """``(h2, w2)``."""

    def likeness(self, seen: Float[ndarray, " 4"]) -> Float[ndarray, " p"]:
        """Return the IoU of the box that is seen at every position with a box."""
        left, top, right, bottom = self.edges
        common = np.minimum(right, seen[2])
        common -= np.maximum(left, seen[0])
        height = np.minimum(bottom, seen[3])
        height -= np.maximum(top, seen[1])
        common = np.maximum(common, 0.0, out=common)
        common *= np.maximum(height, 0.0, out=height)
        union = self._areas + box_areas(seen[None])
        union -= common
        return np.divide(common, np.maximum(union, 1e-9, out=union), out=common)

    @cached_property
    def _areas(self) -> Float[ndarray, " p"]:
        return box_areas(self.edges.T)


def surroundings_of(maps: BoundaryMaps) -> Surroundings:
    """Prepare the maps of an image."""
    inside = maps.inside[::STEP, ::STEP]
    height, width = int(inside.shape[0]), int(inside.shape[1])
    rows, columns = np.mgrid[0:height, 0:width].reshape(2, -1)
    maps_of = (maps.inside, maps.region, maps.border)
    levels = np.array([np.rint(values[::STEP, ::STEP] * _GREYS).ravel() for values in maps_of], np.float64)
    edges = maps.edges[:, ::STEP, ::STEP].reshape(4, -1).astype(np.float64)
    running = _running(np.concatenate([np.ones((1, len(rows))), columns[None], rows[None], levels]))
    return Surroundings(levels, running, edges, (height, width))


def _running(values: Float[ndarray, "c p"]) -> Float[ndarray, "c p1"]:
    """Return the sums over all positions before each, and over all."""
    running = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=running[:, 1:])
    return running


def bag_features(bag: Bag, around: Surroundings, click: Click) -> Float[ndarray, "n f"]:
    """Describe the candidates of a click; none of the masks may be empty.

    Args:
        bag: The candidates.
        around: The maps of the image.
        click: The click and the neighbours that may be looked at, working frame.

    Returns:
        float32, one column per entry of ``BAG_FEATURES``.
    """
    height, width = around.size
    count = len(bag.masks)
    column, row = (np.clip(click.xy / STEP, 0, [width - 1, height - 1])).astype(int)
    here = row * width + column
    seen = around.edges[:, here]
    same_object = _running(np.rint(around.likeness(seen) * _GREYS)[None])
    sums = np.concatenate([bag.masks.sums(around.running), bag.masks.sums(same_object)], axis=1)
    sums = sums.astype(np.float32)
    area = sums[:, 0].astype(np.float64)
    means = sums / area[:, None].astype(np.float32)
    box = bag.masks.boxes() * STEP
    extent = np.maximum(box[:, 2:] - box[:, :2], 1.0)
    off = np.abs((box[:, :2] + box[:, 2:]) / 2.0 - click.xy) / extent
    center = (means[:, 1:3].astype(np.float64) + 0.5) * STEP
    side = np.sqrt(area) * STEP
    seen_size = np.sqrt(max(float((seen[2:] - seen[:2]).clip(1.0).prod()), 1.0))
    border = _border_sums(bag.masks.borders(), around)
    length = np.maximum(border[:, :1], 1.0)
    touched = (box[:, :2] <= 0).sum(1) + (box[:, 2:] >= np.array([width, height]) * STEP).sum(1)
    prompted = np.isfinite(bag.boxes).all(1)
    window = np.where(bag.from_head, np.log(np.maximum(bag.sides, 1.0) / side), 0.0)
    columns = [
        *_votes(bag, area),
        np.log(side / (np.sqrt(height * width) * STEP)),
        off[:, 0],
        off[:, 1],
        np.sqrt(((center - click.xy) ** 2).sum(1)) / side,
        bag.masks.at(row[None], column[None])[:, 0],
        means[:, 3] / _GREYS,
        np.full(count, around.levels[0, here].astype(np.float32) / _GREYS),
        means[:, 6] / _GREYS,
        sums[:, 6] / max(float(same_object[0, -1]), 1.0),
        box_overlap(box, seen[None]),
        np.log(np.sqrt(extent.prod(1)) / seen_size),
        area * STEP**2 / extent.prod(1),
        border[:, 1] / length[:, 0] / _GREYS,
        border[:, 2] / length[:, 0] / _GREYS,
        means[:, 4] / _GREYS,
        touched / 4.0,
        window,
        bag.about_seen_box,
        *[bag.place == place for place in range(3)],
        bag.has_negatives,
        prompted,
        np.where(prompted, box_overlap(box, np.nan_to_num(bag.boxes)), 0.0),
        *_neighbours(bag.masks, click, side),
    ]
    return np.stack([np.asarray(values, dtype=np.float32) for values in columns], axis=1)


def _border_sums(borders: PackedMasks, around: Surroundings) -> Float[ndarray, "n 3"]:
    """Return the cells of thin masks, and their sums of both boundary maps."""
    # So few cells are looked up one by one.
    owner, place = borders.cells()
    sums = [
        np.bincount(owner, weights=weights, minlength=len(borders))
        for weights in (None, around.levels[1, place], around.levels[2, place])
    ]
    return np.stack(sums, axis=1).astype(np.float32)


def _votes(bag: Bag, area: ndarray) -> list[ndarray]:
    """The columns up to ``share_smaller``: what a candidate's source says, and what the others say."""
    scores = np.clip(bag.first_scores, 0.01, 0.99)
    overlap = bag.overlap.astype(np.float64)
    weight = scores**_SHARPNESS
    elsewhere = bag.group[:, None] != bag.group
    others = ~np.eye(len(scores), dtype=bool)

    def mean_vote(voters: ndarray) -> ndarray:
        votes = weight * voters
        return (overlap * votes).sum(1) / np.maximum(votes.sum(1), 1e-6)

    by_head, by_regions = elsewhere & bag.from_head, elsewhere & ~bag.from_head
    return [
        bag.from_head,
        np.log(scores / (1.0 - scores)),
        scores / scores.max(initial=0.01),
        mean_vote(others),
        mean_vote(elsewhere),
        mean_vote(by_head),
        mean_vote(by_regions),
        (overlap * scores * by_head).max(1, initial=0.0),
        (overlap * scores * by_regions).max(1, initial=0.0),
        ((area[None] < area[:, None]) * weight).sum(1) / np.maximum(weight.sum(), 1e-6),
    ]


def _neighbours(masks: PackedMasks, click: Click, side: ndarray) -> list[ndarray]:
    covered = masks.covers(click.neighbours / STEP)
    same = covered @ click.same_class.astype(np.float64)
    nearest = np.sqrt(((click.neighbours - click.xy) ** 2).sum(1)).min(initial=np.inf)
    return [
        np.minimum(same, _MOST),
        np.minimum(covered.sum(1) - same, _MOST),
        np.minimum(nearest / side, _MOST),
        np.full(len(masks), float(len(click.neighbours) > 0)),
    ]
