"""Gathers the candidates of every click from the contour trees and the promptable head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.proposals.builtin.bag_features import STEP, Bag, bag_arrays
from sapnet.proposals.builtin.candidate_features import (
    Candidates,
    Click,
    click_candidates,
    covered_points,
    join_candidates,
)
from sapnet.proposals.builtin.mask_pasting import masks_at_points, paste_masks
from sapnet.proposals.builtin.packed_masks import PackedMasks
from sapnet.proposals.builtin.ranking import Ranking
from sapnet.proposals.builtin.region_table import RegionTable
from sapnet.proposals.builtin.sharing import in_threads
from sapnet.proposals.builtin.working_image import WorkingImage, inside_image
from sapnet.proposals.candidates import distinct_best
from sapnet.proposals.prompt_plan import PlannedPrompts
from sapnet.proposals.regions import enlarged_mask

if TYPE_CHECKING:
    from sapnet.proposals.builtin.head_answers import HeadAnswers
    from sapnet.proposals.builtin.prompt_head import PromptHead

HIERARCHY, HEAD = SOURCES = ("hierarchy", "head")
"""Where candidates come from: the contour trees and the promptable head."""
_REGIONS_PER_TREE, _MASKS_OF_HEAD = 10, 20
"""Best regions of each tree, and best masks of the head in a round, that are compared with the others."""
_NESTED_RATIO = 0.92
"""Of nested regions with areas closer than this, the better one stands for both."""


@dataclass(frozen=True)
class ClickBag:
    """The candidates of one click, with what is needed to draw them."""

    bag: Bag
    regions: Candidates
    answers: HeadAnswers | None

    def masks(
        self, chosen: Int[ndarray, " k"], working: WorkingImage, size: tuple[int, int]
    ) -> Bool[ndarray, "k H W"]:
        """Return the masks of some candidates at the original size ``(H, W)``."""
        # Column after column, as run-length encoding reads them.
        drawn = np.zeros((len(chosen), *size[::-1]), dtype=bool)
        by_head = self.bag.from_head[chosen]
        regions = self.regions.take(self.bag.rows[chosen[~by_head]])
        small = region_masks(working.tables, regions, working.size)
        for row, mask in zip(np.flatnonzero(~by_head), small, strict=True):
            cv2.transpose(enlarged_mask(mask, size).view(np.uint8), dst=drawn[row].view(np.uint8))
        if self.answers is not None and by_head.any():
            answers = self.answers.take(self.bag.rows[chosen[by_head]])
            rectangles = answers.rectangles / np.tile(working.scale, 2)
            columns, rows = np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5
            pasted = paste_masks(answers.logits, rectangles, columns, rows, by_column=True)
            drawn[by_head] = pasted.transpose(0, 2, 1)
        return drawn.transpose(0, 2, 1)

    def covers(self, points: Float[ndarray, "p 2"], working: WorkingImage) -> Bool[ndarray, "n p"]:
        """Return which candidates cover which points of the working frame."""
        covered = np.zeros((len(self.bag.rows), len(points)), dtype=bool)
        by_head = self.bag.from_head
        regions = self.regions.take(self.bag.rows[~by_head])
        covered[~by_head] = covered_points(working.tables, regions, points)
        if self.answers is not None and by_head.any() and len(points):
            answers = self.answers.take(self.bag.rows[by_head])
            covered[by_head] = masks_at_points(answers.logits, answers.rectangles, points)
        return covered


def region_masks(
    tables: Sequence[RegionTable], candidates: Candidates, size: tuple[int, int]
) -> Bool[ndarray, "n h w"]:
    """Return the masks of regions; ``size`` is that of the working frame."""
    masks = np.zeros((len(candidates.node), *size), dtype=bool)
    for number, table in enumerate(tables):
        rows = candidates.tree == number
        masks[rows] = table.masks(candidates.node[rows])
    return masks


def gather_bags(
    working: WorkingImage,
    planned: PlannedPrompts,
    clicks: Sequence[tuple[int, Click]],
    *,
    ranking: Ranking | None,
    head: PromptHead | None,
) -> list[ClickBag]:
    """Return the candidates of some clicks of an image; a click without queries has none.

    Args:
        working: The image.
        planned: The queries of the image's clicks.
        clicks: Indices of the clicks, rising, and what may be known about each.
        ranking: Scores regions; None where the trees are not asked.
        head: The promptable head; None where it is not asked.
    """
    wanted = np.array([index for index, _ in clicks], dtype=np.int64)
    answers = None
    if head is not None and working.fused is not None:
        from sapnet.proposals.builtin.head_answers import answer_queries
        from sapnet.proposals.builtin.query_windows import windows_of_queries

        chosen = np.flatnonzero(np.isin(planned.owner, wanted))
        windows = windows_of_queries(planned, chosen, working.scale, working.maps.edges)
        answers = answer_queries(head, working.fused, windows)

    def bag_of(numbered: tuple[int, Click]) -> ClickBag:
        index, click = numbered
        queries = np.flatnonzero(planned.owner == index)
        parts = []
        if ranking is not None:
            parts.append(_of_regions(working, planned, queries, click, ranking))
        if answers is not None:
            of_click = np.flatnonzero(np.isin(answers.query, queries))
            parts.append(_of_head(working, planned, answers.take(of_click)))
        return join_bags(parts)

    return in_threads(bag_of, clicks)


def join_bags(parts: Sequence[ClickBag]) -> ClickBag:
    """Put the candidates of one click together, in their order; at least one part."""
    if len(parts) == 1:
        return parts[0]
    answers = [part.answers for part in parts if part.answers is not None]
    groups, rows = [], []
    next_group = regions = drawn = 0
    for part in parts:
        bag = part.bag
        groups.append(np.where(bag.from_head, bag.group + next_group, bag.group))
        rows.append(bag.rows + np.where(bag.from_head, drawn, regions))
        next_group += int(bag.group.max(initial=-1)) + 1
        regions += len(part.regions.node)
        drawn += len(part.answers.query) if part.answers is not None else 0
    arrays = {
        name: np.concatenate([getattr(part.bag, name) for part in parts])
        for name in bag_arrays()
        if name not in ("group", "rows")
    }
    return ClickBag(
        Bag(
            **arrays,
            masks=parts[0].bag.masks.joined([part.bag.masks for part in parts[1:]]),
            group=np.concatenate(groups),
            rows=np.concatenate(rows),
            kinds=tuple(kind for part in parts for kind in part.bag.kinds),
        ),
        join_candidates([part.regions for part in parts]),
        answers[0].joined(answers[1:]) if answers else None,
    )


def _of_regions(
    working: WorkingImage, planned: PlannedPrompts, queries: ndarray, click: Click, ranking: Ranking
) -> ClickBag:
    """Return the regions that answer some queries of a click, the best of each tree."""
    parts, kinds = [], []
    for query in queries.tolist():
        part = _regions_of_query(working, planned, query, click)
        parts.append(part)
        kinds += [planned.kinds[query]] * len(part.node)
    joined, first = join_candidates(parts), np.zeros(0, np.int64)
    if len(joined.node):
        _, first = np.unique(np.stack([joined.tree, joined.node]), axis=1, return_index=True)
    candidates = joined.take(np.sort(first))
    scores = ranking.predict(candidates.features).astype(np.float64)
    kept, masks = [np.zeros(0, np.int64)], [PackedMasks.of(np.zeros((0, *_coarse_size(working)), dtype=bool))]
    for number, table in enumerate(working.tables):
        index = np.flatnonzero(candidates.tree == number)
        # Regions of a tree at one click are nested: their IoU is the ratio of their areas.
        ratio = candidates.area[index, None] / candidates.area[index]
        best = distinct_best(scores[index], np.minimum(ratio, 1.0 / ratio), _NESTED_RATIO, _REGIONS_PER_TREE)
        drawn = PackedMasks.of(table.masks(candidates.node[index[best]], step=STEP))
        some = drawn.any()
        kept.append(index[best][some])
        masks.append(drawn.take(some))
    rows = np.concatenate(kept)
    count = len(rows)
    bag = Bag(
        masks=masks[0].joined(masks[1:]),
        first_scores=scores[rows],
        from_head=np.zeros(count, dtype=bool),
        group=candidates.tree[rows],
        place=np.full(count, -1),
        sides=np.zeros(count),
        about_seen_box=np.zeros(count, dtype=bool),
        has_negatives=np.zeros(count, dtype=bool),
        boxes=np.full((count, 4), np.nan),
        kinds=tuple(f"{kinds[np.sort(first)[row]]}/{HIERARCHY}" for row in rows),
        rows=rows,
    )
    return ClickBag(bag, candidates, None)


def _regions_of_query(working: WorkingImage, planned: PlannedPrompts, query: int, click: Click) -> Candidates:
    """Return the regions at a query's first point, or those that fit its box."""
    box = planned.boxes[query] * np.tile(working.scale, 2)
    has_box = bool(np.isfinite(box).all())
    start, stop = np.searchsorted(planned.point_query, [query, query + 1])
    middle = (box[:2] + box[2:]) / 2.0
    point = planned.point_xy[start] * working.scale if stop > start else middle
    return click_candidates(
        working.tables,
        working.maps,
        replace(click, xy=inside_image(point, working)),
        box=box if has_box else None,
        holding_click=bool(stop > start),
    )


def _of_head(working: WorkingImage, planned: PlannedPrompts, answers: HeadAnswers) -> ClickBag:
    """Return the head's best masks of one click; those without a pixel on the image are left out."""
    rows, columns = (np.arange(0, size, STEP) + 0.5 for size in working.size)
    best = np.sort(np.argsort(-answers.scores, kind="stable")[:_MASKS_OF_HEAD])
    drawn = PackedMasks.of(paste_masks(answers.logits[best], answers.rectangles[best], columns, rows))
    some = drawn.any()
    kept = best[some]
    query, count = answers.query[kept], len(kept)
    negatives = np.bincount(planned.point_query[~planned.point_positive], minlength=planned.num_queries)
    first = answers.window[0] if len(answers.window) else 0
    bag = Bag(
        masks=drawn.take(some),
        first_scores=answers.scores[kept],
        from_head=np.ones(count, dtype=bool),
        group=len(working.tables) + answers.window[kept] - first,
        place=answers.place[kept],
        sides=(answers.rectangles[kept, 2] - answers.rectangles[kept, 0]),
        about_seen_box=answers.seen[kept],
        has_negatives=negatives[query] > 0,
        boxes=planned.boxes[query] * np.tile(working.scale, 2),
        kinds=tuple(f"{planned.kinds[k]}/{HEAD}" for k in query.tolist()),
        rows=kept,
    )
    return ClickBag(bag, join_candidates([]), answers)


def _coarse_size(working: WorkingImage) -> tuple[int, int]:
    return -(-working.size[0] // STEP), -(-working.size[1] // STEP)
