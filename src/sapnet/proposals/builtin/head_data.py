"""Crops with queries (clicks, boxes, windows) and the masks that answer them, to train the head on.

Like the crops of :mod:`sapnet.proposals.builtin.boundary_data`, every draw depends on (seed, number of
the sample) alone. Everything is in the frame of the crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from sapnet.data.images import read_image
from sapnet.data.point_sampling import quasi_center, random_pixel
from sapnet.proposals.builtin.boundary_data import (
    ObjectPhotograph,
    PhotographPools,
    RegionPhotograph,
    View,
    read_labels,
    read_objects,
    recolored,
    some_pixel,
)

_LEAST_AREA = 40
"""Pixels below which a mask is not asked for."""
_LARGEST_SHARE = 0.8
_MOST_SEGMENTS = 24
"""Segments of BSDS500 in a crop that are asked for, of all annotators together."""
_CENTRAL_SHARE = 0.6
"""Share of clicks drawn near the centre; the others are uniform in the mask."""
_NEGATIVE_SHARE, _MOST_NEGATIVES, _FREE_POINTS = 0.5, 4, 8
"""Share of queries with negative points, their number, and how many pixels of the crop stand for clicks
on unlabelled things."""
_BOX_SHARE, _POINT_WITH_BOX = 0.3, 0.5
_ABOUT_BOX = 0.25
"""Share of queries whose window lies about the object's box, as about a box that the network sees."""
_BOX_JITTER = 0.08
"""Deviation of the sides of a box prompt, in its width and height."""
_BOX_MARGIN = 1.3
_SIDE_RATIO = (0.7, 5.0)
"""Sides of windows about a click, in sides of the object's box; drawn evenly in the logarithm."""
_LEAST_SIDE, _LARGEST_SIDE = 16.0, 768.0


@dataclass(frozen=True)
class Queries:
    """Queries on one crop; ``q`` queries, ``p`` points of all queries together."""

    target: Int[ndarray, " q"]
    """Index of the mask that answers each query."""
    centers: Float[ndarray, "q 2"]
    sides: Float[ndarray, " q"]
    point_xy: Float[ndarray, "p 2"]
    point_positive: Bool[ndarray, " p"]
    point_query: Int[ndarray, " p"]
    boxes: Float[ndarray, "q 4"]
    """Box prompts; NaN where there is none."""


@dataclass(frozen=True)
class HeadSample:
    """One training crop."""

    image: UInt8[ndarray, "S S 3"]
    masks: Bool[ndarray, "t S S"]
    queries: Queries


class HeadCrops:
    """Draws crops with queries from several pools of photographs.

    Args:
        pools: The photographs of each pool.
        shares: How often a crop comes from each pool.
        side: Pixels per side of a crop, a multiple of 32.
        queries: Queries per crop.
        seed: Seed of all draws.
    """

    def __init__(
        self,
        pools: Sequence[Sequence[RegionPhotograph | ObjectPhotograph]],
        shares: Sequence[float],
        *,
        side: int,
        queries: int,
        seed: int,
    ) -> None:
        self._pools = PhotographPools(pools, shares)
        self._side = side
        self._queries = queries
        self._seed = seed

    def __getitem__(self, number: int) -> HeadSample:
        """Return the crop of a running number; any number not below 0 has one.

        A crop in which no mask is large enough has no queries.
        """
        rng = np.random.default_rng([self._seed, number, 1])
        photograph = self._pools.draw(rng)
        if isinstance(photograph, RegionPhotograph):
            image, labels = _read_labelled(photograph)
            view = View.draw(image.shape[:2], self._side, rng, focus=None, always=False)
            masks = _segments(labels, view, rng)
        else:
            image, all_masks, _ = read_objects(photograph)
            focus = some_pixel(all_masks, rng)
            view = View.draw(image.shape[:2], self._side, rng, focus=focus, always=True)
            seen = [view.apply(m.astype(np.float32), cv2.INTER_LINEAR, outside=0.0) > 0.5 for m in all_masks]
            masks = np.asarray(seen, dtype=bool).reshape(-1, self._side, self._side)
        areas = masks.sum((1, 2))
        masks = masks[(areas >= _LEAST_AREA) & (areas <= _LARGEST_SHARE * self._side**2)]
        pixels = view.apply(image, view.interpolation, outside=None)
        count = self._queries if len(masks) else 0
        return HeadSample(recolored(pixels, rng), masks, draw_queries(masks, count, rng))


def draw_queries(masks: Bool[ndarray, "t S S"], count: int, rng: np.random.Generator) -> Queries:
    """Draw queries for some masks, none of them empty; without masks ``count`` must be 0.

    The negative points of a query are clicks of the others, or pixels of the crop, off its own mask.
    """
    target = rng.permutation(np.arange(count) % max(len(masks), 1))
    tight = _tight_boxes(masks)[target]
    clicks = np.array([_click(masks[t], box, rng) for t, box in zip(target, tight, strict=True)])
    clicks = clicks.reshape(-1, 2)
    extent = np.maximum(tight[:, 2:] - tight[:, :2], 1.0)
    jittered = tight + rng.normal(0.0, _BOX_JITTER, (count, 4)) * np.tile(extent, 2)
    usable = (jittered[:, 2:] > jittered[:, :2]).all(1)
    has_box = (rng.uniform(size=count) < _BOX_SHARE) & usable
    has_point = ~has_box | (rng.uniform(size=count) < _POINT_WITH_BOX)
    centers, sides = _windows(clicks, tight, np.where(has_box[:, None], jittered, np.nan), rng)
    own = np.flatnonzero(has_point)
    asked, xy = _negatives(masks, target, clicks, rng)
    query = np.concatenate([own, asked])
    order = np.argsort(query, kind="stable")
    positive = np.arange(len(query)) < len(own)
    return Queries(
        target=target,
        centers=centers,
        sides=sides,
        point_xy=np.concatenate([clicks[own], xy])[order],
        point_positive=positive[order],
        point_query=query[order],
        boxes=np.where(has_box[:, None], jittered, np.nan),
    )


def _windows(
    clicks: ndarray, tight: ndarray, prompts: ndarray, rng: np.random.Generator
) -> tuple[ndarray, ndarray]:
    """Draw the window of every query: about its box prompt, about its object, or about its click."""
    count = len(clicks)
    has_box = np.isfinite(prompts[:, 0])
    about_box = has_box | (rng.uniform(size=count) < _ABOUT_BOX)
    box = np.where(has_box[:, None], prompts, tight)
    extent = (box[:, 2:] - box[:, :2]).max(1)
    # Box prompts have had their jitter; the boxes that the network sees are off by more.
    loose = np.where(has_box, 0.0, 1.0)
    shift = rng.normal(0.0, 0.12, (count, 2)) * loose[:, None] * extent[:, None]
    stretch = np.exp(rng.normal(0.0, 1.0, count) * np.where(has_box, 0.05, 0.3))
    ratio = np.exp(rng.uniform(np.log(_SIDE_RATIO[0]), np.log(_SIDE_RATIO[1]), count))
    centers = np.where(about_box[:, None], (box[:, :2] + box[:, 2:]) / 2.0 + shift, clicks)
    sides = np.where(about_box, _BOX_MARGIN * stretch, ratio) * extent
    return centers, np.clip(sides, _LEAST_SIDE, _LARGEST_SIDE)


def _negatives(
    masks: ndarray, target: ndarray, clicks: ndarray, rng: np.random.Generator
) -> tuple[ndarray, ndarray]:
    """Return queries and negative points (x, y) of theirs: the nearest points off their masks."""
    count, side = len(target), masks.shape[2]
    points = np.concatenate([clicks, rng.uniform(0.0, side, (_FREE_POINTS, 2))])
    column, row = np.clip(points, 0, side - 1).astype(int).T
    distance = np.sqrt(((clicks[:, None] - points[None]) ** 2).sum(-1))
    # A random share of all points is overlooked, else the nearest would always be the same.
    overlooked = rng.uniform(size=distance.shape) < 0.4
    distance[masks[target][:, row, column] | overlooked] = np.inf
    most = np.where(rng.uniform(size=count) < _NEGATIVE_SHARE, rng.integers(1, _MOST_NEGATIVES + 1, count), 0)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :_MOST_NEGATIVES]
    chosen = np.isfinite(np.take_along_axis(distance, nearest, axis=1))
    chosen &= np.arange(nearest.shape[1]) < most[:, None]
    return np.nonzero(chosen)[0], points[nearest[chosen]]


def _click(mask: ndarray, box: ndarray, rng: np.random.Generator) -> ndarray:
    left, top, right, bottom = box.astype(int)
    draw = quasi_center if rng.uniform() < _CENTRAL_SHARE else random_pixel
    return np.array([left, top]) + draw(mask[top:bottom, left:right], rng)


def _tight_boxes(masks: ndarray) -> Float[ndarray, "t 4"]:
    columns, rows = np.asarray(masks.any(1)), np.asarray(masks.any(2))
    left, top = columns.argmax(1), rows.argmax(1)
    right = masks.shape[2] - columns[:, ::-1].argmax(1)
    bottom = masks.shape[1] - rows[:, ::-1].argmax(1)
    return np.stack([left, top, right, bottom], axis=1).reshape(-1, 4).astype(np.float64)


def _segments(labels: Sequence[ndarray], view: View, rng: np.random.Generator) -> ndarray:
    """Return some segments (t, S, S) of a drawn annotator or of several."""
    drawn = [labels[int(i)] for i in rng.permutation(len(labels))[:3]]
    seen = [view.apply(item.astype(np.float32) + 1.0, cv2.INTER_NEAREST, outside=0.0) for item in drawn]
    stacks = []
    for item in seen:
        numbers, areas = np.unique(item[item > 0], return_counts=True)
        numbers = rng.permutation(numbers[areas >= _LEAST_AREA])[: _MOST_SEGMENTS // len(drawn)]
        stacks.append(item[None] == numbers[:, None, None])
    return np.concatenate(stacks)


@lru_cache(maxsize=64)
def _read_labelled(photograph: RegionPhotograph) -> tuple[ndarray, tuple[ndarray, ...]]:
    image = read_image(photograph.image)
    return image, tuple(read_labels(path, image.shape[:2]) for path in photograph.segmentations)
