"""Which prompts a promptable segmenter is asked for every click: points, negatives, boxes, jitter.

A plan is a flat list of queries for one image, each with its points and perhaps a box, in pixels of the
*original* frame. Segmenters only encode and decode; what fills a bag is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64
from numpy import ndarray

from sapnet.errors import InputError, nearest
from sapnet.proposals.proposer import ImagePrompts

POINT, POINT_AND_NEGATIVES, BOX, BOX_AND_POINT, JITTERED = PROMPT_KINDS = (
    "point",
    "point+negatives",
    "box",
    "box+point",
    "jittered",
)
"""The kinds of prompt.

- ``point``: the click and the object's further points, and the user's negative points of the object.
- ``point+negatives``: the same, and the nearest clicks on other objects as negative points. A click
  at the very same place is no negative (it would contradict the positive). Where there is none, the
  query is left out, because it equals ``point``.
- ``box``: the object's box alone.
- ``box+point``: the box with the points of ``point``.
- ``jittered``: ``jitter_count`` copies of ``point`` whose positive points are moved, each by itself.
"""

NegativeChoice = Literal["same-class", "all"]
"""Whose clicks are negative points: those on other objects of the class, or on all other objects."""

_BLOCK = 512
"""Clicks whose distances to all others are in memory at a time."""


@dataclass(frozen=True)
class PlannedPrompts:
    """The queries of one image, sorted by click, then in the order in which the kinds were asked for."""

    owner: Int[ndarray, " q"]
    """Index into ``annotation_ids`` of the click that each query is about."""
    kinds: tuple[str, ...]
    """The kind of each of the q queries."""
    point_xy: Float[ndarray, "p 2"]
    """Points of all queries, one query after the other: the click first, then further points on the
    object, negative points of the user, and clicks on other objects, nearest first."""
    point_positive: Bool[ndarray, " p"]
    """True for points on the object."""
    point_query: Int[ndarray, " p"]
    """Index of the query that each point belongs to; rising."""
    boxes: Float[ndarray, "q 4"]
    """Box prompt of each query, ``xyxy``; NaN where it has none."""

    @property
    def num_queries(self) -> int:
        """Number of queries q."""
        return len(self.owner)


class _PointTable(NamedTuple):
    """Points by click: rows ``start[i]`` to ``start[i] + own[i] + near[i]`` belong to click i."""

    xy: Float[ndarray, "t 2"]
    positive: Bool[ndarray, " t"]
    start: Int[ndarray, " A"]
    own: Int[ndarray, " A"]
    """Points that the user gave for the object; they come first."""
    near: Int[ndarray, " A"]
    """Clicks on other objects; they follow."""


def check_prompt_settings(
    kinds: Sequence[str], *, max_negatives: int, negatives: str, jitter_pixels: float, jitter_count: int
) -> None:
    """Refuse settings that :func:`plan_prompts` cannot follow.

    Raises:
        InputError: Lists every problem.
    """
    problems = [
        f"Prompt kind {kind!r} is unknown{nearest(kind, PROMPT_KINDS)}; expected {', '.join(PROMPT_KINDS)}."
        for kind in dict.fromkeys(kinds)
        if kind not in PROMPT_KINDS
    ]
    if not kinds:
        problems.append(f"There is no prompt kind; expected some of {', '.join(PROMPT_KINDS)}.")
    problems += [
        f"Prompt kind {kind!r} is listed {kinds.count(kind)} times, expected once."
        for kind in dict.fromkeys(kinds)
        if kinds.count(kind) > 1
    ]
    choices = get_args(NegativeChoice)
    if negatives not in choices:
        problems.append(
            f"negatives is {negatives!r}{nearest(negatives, choices)}; expected {' or '.join(choices)}."
        )
    named = {"max_negatives": max_negatives, "jitter_pixels": jitter_pixels, "jitter_count": jitter_count}
    problems += [
        f"{name} is {value}, expected a finite number of at least 0."
        for name, value in named.items()
        if not 0 <= value < np.inf
    ]
    if problems:
        raise InputError("the prompt settings", problems)


def plan_prompts(
    prompts: ImagePrompts,
    *,
    kinds: Sequence[str],
    boxes: Float[ndarray, "A 4"] | None,
    max_negatives: int,
    negatives: NegativeChoice,
    jitter_pixels: float,
    jitter_count: int,
    seed: int,
    image_size: tuple[int, int],
) -> PlannedPrompts:
    """Plan the queries for every click of an image; :data:`PROMPT_KINDS` says what each kind holds.

    Box queries are left out for clicks without a box. Points off the image are moved to its rim.

    Args:
        prompts: The clicks, original frame.
        kinds: Which kinds to plan; each click's queries come in this order.
        boxes: One box per click, ``xyxy``; a row that is not finite or has no area means none.
        max_negatives: The most clicks on other objects that one query gets.
        negatives: Whether those are of the same class or of any.
        jitter_pixels: Radius of the disc in which positive points are moved uniformly.
        jitter_count: Number of jittered copies per click.
        seed: Seed of the jitter. A move depends on (seed, image id, annotation id, copy, rank of the
            point on its object) alone, so neither the order nor the number of other clicks changes it.
        image_size: ``(height, width)``.

    Returns:
        The queries; none for an image without clicks.

    Raises:
        InputError: Settings are wrong; lists every problem.
    """
    check_prompt_settings(
        kinds,
        max_negatives=max_negatives,
        negatives=negatives,
        jitter_pixels=jitter_pixels,
        jitter_count=jitter_count,
    )
    wanted = max_negatives if POINT_AND_NEGATIVES in kinds else 0
    table = _point_table(prompts, wanted, same_class=negatives == "same-class")
    box_of = _usable_boxes(boxes, prompts.num_prompts)
    owner, rank, copy = _queries(kinds, table, np.isfinite(box_of[:, 0]), jitter_count)
    kind = np.array(kinds)[rank]
    query, row, place = _point_rows(table, owner, kind)
    source = np.array([[seed % 2**64], [int(prompts.image_id) % 2**64]], dtype=np.uint64)
    annotation = np.asarray(prompts.annotation_ids, dtype=np.int64)[owner[query]]
    keys = (*np.broadcast_to(source, (2, len(query))), annotation, copy[query], place)
    moved = table.positive[row] & (kind == JITTERED)[query]
    shift = _disc_draws(*keys) * (jitter_pixels * moved)[:, None]
    return PlannedPrompts(
        owner=owner,
        kinds=tuple(kind.tolist()),
        point_xy=_inside(table.xy[row] + shift, image_size),
        point_positive=table.positive[row],
        point_query=query,
        boxes=np.where(np.isin(kind, (BOX, BOX_AND_POINT))[:, None], box_of[owner], np.nan),
    )


def _queries(
    kinds: Sequence[str], table: _PointTable, has_box: ndarray, jitter_count: int
) -> tuple[ndarray, ndarray, ndarray]:
    """Return click, index into ``kinds`` and number of the copy of every query, in their order."""
    count = len(has_box)
    times = {
        POINT: np.ones(count, np.int64),
        POINT_AND_NEGATIVES: (table.near > 0).astype(np.int64),
        BOX: has_box.astype(np.int64),
        BOX_AND_POINT: has_box.astype(np.int64),
        JITTERED: np.full(count, jitter_count),
    }
    copies = np.stack([times[kind] for kind in kinds], axis=1).reshape(-1)
    cell = np.repeat(np.arange(len(copies)), copies)
    copy = np.arange(len(cell)) - np.repeat(np.cumsum(copies) - copies, copies)
    return cell // len(kinds), cell % len(kinds), copy


def _point_rows(table: _PointTable, owner: ndarray, kind: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """Return query, row of the table and place among the points of its query, of every point."""
    own = np.where(kind == BOX, 0, table.own[owner])
    length = own + np.where(kind == POINT_AND_NEGATIVES, table.near[owner], 0)
    query = np.repeat(np.arange(len(owner)), length)
    place = np.arange(len(query)) - np.repeat(np.cumsum(length) - length, length)
    return query, table.start[owner[query]] + place, place


def _point_table(prompts: ImagePrompts, max_negatives: int, *, same_class: bool) -> _PointTable:
    """Gather the user's points and the nearest other clicks of every click."""
    count = prompts.num_prompts
    xy = np.asarray(prompts.xy, dtype=np.float64).reshape(-1, 2)
    near_owner, near_index = _nearest_clicks(prompts, max_negatives, same_class=same_class)
    parts = (
        (np.arange(count), xy, True),
        (prompts.extra_owner, prompts.extra_xy, True),
        (prompts.negative_owner, prompts.negative_xy, False),
        (near_owner, xy[near_index], False),
    )
    owner = np.concatenate([np.asarray(part[0], dtype=np.int64) for part in parts])
    order = np.argsort(owner, kind="stable")
    near = np.bincount(near_owner, minlength=count)
    both = np.bincount(owner, minlength=count)
    return _PointTable(
        xy=np.concatenate([np.asarray(part[1], dtype=np.float64).reshape(-1, 2) for part in parts])[order],
        positive=np.concatenate([np.full(len(part[0]), part[2]) for part in parts])[order],
        start=np.cumsum(both) - both,
        own=both - near,
        near=near,
    )


def _nearest_clicks(prompts: ImagePrompts, most: int, *, same_class: bool) -> tuple[ndarray, ndarray]:
    """Return pairs (click, other click), sorted by click, then by distance, then by annotation id."""
    count = prompts.num_prompts
    # Columns in the order of ids, so that ties do not depend on the order of the clicks.
    by_id = np.argsort(np.asarray(prompts.annotation_ids), kind="stable")
    xy = np.asarray(prompts.xy, dtype=np.float64).reshape(-1, 2)
    labels = np.asarray(prompts.labels)
    owners, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for start in range(0, count if most else 0, _BLOCK):
        mine = np.arange(start, min(start + _BLOCK, count))
        distance = ((xy[mine, None] - xy[by_id][None]) ** 2).sum(-1)
        distance[distance == 0.0] = np.inf
        if same_class:
            distance[labels[mine, None] != labels[by_id][None]] = np.inf
        ranked = np.argsort(distance, axis=1, kind="stable")[:, :most]
        usable = np.isfinite(np.take_along_axis(distance, ranked, axis=1))
        owners.append(mine[np.nonzero(usable)[0]])
        others.append(by_id[ranked[usable]])
    return np.concatenate(owners), np.concatenate(others)


def _usable_boxes(boxes: ndarray | None, count: int) -> Float[ndarray, "A 4"]:
    """Return a box per click, with NaN where there is none that can be used."""
    if boxes is None:
        return np.full((count, 4), np.nan)
    given = np.asarray(boxes, dtype=np.float64).reshape(count, 4)
    usable = np.isfinite(given).all(1) & (given[:, 2] > given[:, 0]) & (given[:, 3] > given[:, 1])
    return np.where(usable[:, None], given, np.nan)


def _inside(xy: Float[ndarray, "p 2"], image_size: tuple[int, int]) -> Float[ndarray, "p 2"]:
    """Move points off the image to its rim; the right and the lower rim belong to no pixel."""
    return np.clip(xy, 0.0, np.nextafter(np.array(image_size[::-1], dtype=np.float64), 0.0))


def _disc_draws(*keys: ndarray) -> Float[ndarray, "p 2"]:
    """Draw points uniformly from the unit disc, each a function of its keys alone."""
    state = np.zeros(len(keys[0]), dtype=np.uint64)
    for key in keys:
        state = _mixed(state ^ key.astype(np.uint64))
    radius = np.sqrt(_unit(_mixed(state)))
    angle = 2.0 * np.pi * _unit(_mixed(_mixed(state)))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _mixed(state: UInt64[ndarray, " p"]) -> UInt64[ndarray, " p"]:
    """Return one step of the generator SplitMix64 (Steele et al., OOPSLA 2014), modulo 2**64."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _unit(state: UInt64[ndarray, " p"]) -> Float[ndarray, " p"]:
    """Return numbers in [0, 1) from the upper 53 bits."""
    return (state >> np.uint64(11)) * 2.0**-53
