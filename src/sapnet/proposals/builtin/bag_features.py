"""What speaks for each candidate of a click, whichever source it is from.

Masks are compared on every second row and column of the working frame. Whatever is summed over masks is a
whole number. Sums below 2^24 are exact in single precision in any order; those of the positions in the
largest masks can be greater, and depend in their last bit on the order, which is the same for any number of
threads because linear algebra keeps to one (``proposer.one_thread``).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.proposals.builtin.candidate_features import Click
from sapnet.proposals.builtin.region_table import box_overlap
from sapnet.proposals.candidates import boundary_pixels, covers, pairwise_overlap

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

    masks: Bool[ndarray, "n h2 w2"]
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
        arrays = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "kinds"}
        return Bag(**arrays, kinds=tuple(self.kinds[row] for row in rows))

    @cached_property
    def overlap(self) -> Float[ndarray, "n n"]:
        """IoU of every two candidates, on the coarse grid."""
        return pairwise_overlap(self.masks[_common_part(self.masks)])


@dataclass(frozen=True)
class Surroundings:
    """The maps on every second row and column, as whole numbers."""

    sums: Float[ndarray, "p 6"]
    """1, column, row, inside, region boundary, border, for every position."""
    edges: Float[ndarray, "4 h2 w2"]
    size: tuple[int, int]
    """``(h2, w2)``."""


def surroundings_of(maps: BoundaryMaps) -> Surroundings:
    """Prepare the maps of an image."""
    inside = maps.inside[::STEP, ::STEP]
    rows, columns = np.mgrid[0 : inside.shape[0], 0 : inside.shape[1]]
    levels = [np.rint(values[::STEP, ::STEP] * _GREYS) for values in (maps.inside, maps.region, maps.border)]
    sums = np.stack([np.ones_like(inside), columns, rows, *levels], axis=-1).reshape(-1, 6)
    size = (int(inside.shape[0]), int(inside.shape[1]))
    return Surroundings(sums.astype(np.float32), maps.edges[:, ::STEP, ::STEP], size)


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
    seen = around.edges[:, row, column].astype(np.float64)
    same_object = np.rint(_seen_overlap(around.edges, seen) * _GREYS).reshape(-1, 1)
    values = np.concatenate([around.sums, same_object.astype(np.float32)], axis=1)
    part = _common_part(bag.masks)
    sums = _summed(bag.masks[part], values, part, around.size)
    area = sums[:, 0].astype(np.float64)
    means = sums / area[:, None].astype(np.float32)
    box = _mask_boxes(bag.masks) * STEP
    extent = np.maximum(box[:, 2:] - box[:, :2], 1.0)
    off = np.abs((box[:, :2] + box[:, 2:]) / 2.0 - click.xy) / extent
    center = (means[:, 1:3].astype(np.float64) + 0.5) * STEP
    side = np.sqrt(area) * STEP
    seen_size = np.sqrt(max(float((seen[2:] - seen[:2]).clip(1.0).prod()), 1.0))
    border = _border_sums(boundary_pixels(bag.masks[part]), around, part)
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
        bag.masks[:, row, column],
        means[:, 3] / _GREYS,
        np.full(count, around.sums[row * width + column, 3] / _GREYS),
        means[:, 6] / _GREYS,
        sums[:, 6] / max(float(same_object.sum()), 1.0),
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


def _common_part(masks: ndarray) -> tuple[slice, slice, slice]:
    """Return the smallest part of the grid that holds all masks and a pixel about them."""
    rows, columns = np.flatnonzero(masks.any((0, 2))), np.flatnonzero(masks.any((0, 1)))
    if not len(rows):
        return slice(None), slice(0, 0), slice(0, 0)
    top, left = max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
    return slice(None), slice(top, int(rows[-1]) + 2), slice(left, int(columns[-1]) + 2)


def _summed(
    masks: ndarray, values: ndarray, part: tuple[slice, slice, slice], size: tuple[int, int]
) -> ndarray:
    """Return the sums (n, c) over masks of a part of the grid of values (p, c) at all its positions."""
    here = values.reshape(*size, -1)[part[1:]]
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    return np.asarray(flat @ here.reshape(flat.shape[1], -1))


def _border_sums(borders: ndarray, around: Surroundings, part: tuple[slice, slice, slice]) -> ndarray:
    """Return the pixels of thin masks of a part of the grid, and their sums of both boundary maps (n, 3)."""
    count, height, width = borders.shape
    # So few pixels are looked up one by one.
    owner, position = np.divmod(np.flatnonzero(borders), max(height * width, 1))
    row, column = np.divmod(position, max(width, 1))
    place = (row + (part[1].start or 0)) * around.size[1] + column + (part[2].start or 0)
    sums = [np.bincount(owner, weights=around.sums[place, channel], minlength=count) for channel in (0, 4, 5)]
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


def _neighbours(masks: ndarray, click: Click, side: ndarray) -> list[ndarray]:
    covered = covers(masks, click.neighbours / STEP)
    same = covered @ click.same_class.astype(np.float64)
    nearest = np.sqrt(((click.neighbours - click.xy) ** 2).sum(1)).min(initial=np.inf)
    return [
        np.minimum(same, _MOST),
        np.minimum(covered.sum(1) - same, _MOST),
        np.minimum(nearest / side, _MOST),
        np.full(len(masks), float(len(click.neighbours) > 0)),
    ]


def _seen_overlap(edges: ndarray, seen: ndarray) -> Float[ndarray, "h2 w2"]:
    """Return the IoU of the box seen at every position with a box."""
    own = edges.reshape(4, -1).T.astype(np.float64)
    return box_overlap(own, seen[None]).reshape(edges.shape[1:])


def _mask_boxes(masks: ndarray) -> Float[ndarray, "n 4"]:
    """Return the tight boxes of masks that are not empty, in units of the grid."""
    columns, rows = np.asarray(masks.any(1)), np.asarray(masks.any(2))
    right = masks.shape[2] - columns[:, ::-1].argmax(1)
    bottom = masks.shape[1] - rows[:, ::-1].argmax(1)
    return np.stack([columns.argmax(1), rows.argmax(1), right, bottom], axis=1).astype(np.float64)
