"""Asks the sources for every click of an image, in two rounds where prompts need a box; scores answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sapnet.proposals.builtin.bag_features import STEP, Bag, bag_features
from sapnet.proposals.builtin.candidate_features import Click
from sapnet.proposals.builtin.click_bags import HEAD, HIERARCHY, ClickBag, gather_bags, join_bags
from sapnet.proposals.builtin.working_image import WorkingImage, click_of
from sapnet.proposals.prompt_plan import (
    BOX,
    BOX_AND_POINT,
    POINT,
    POINT_AND_NEGATIVES,
    PlannedPrompts,
    plan_prompts,
)
from sapnet.proposals.proposer import ImagePrompts

if TYPE_CHECKING:
    from sapnet.proposals.builtin.weights import BuiltinWeights

NEEDS_BOX = (BOX, BOX_AND_POINT)
CLICKS_AT_A_TIME = 32
"""Clicks whose candidates are in memory at a time."""


@dataclass(frozen=True)
class Asking:
    """Which prompts are asked of which sources; the settings are those of ``BuiltinProposer``."""

    weights: BuiltinWeights
    sources: tuple[str, ...]
    """In the order of ``SOURCES``."""
    kinds: tuple[str, ...]
    plan: Mapping[str, Any] = field(default_factory=dict)
    """``max_negatives``, ``negatives``, ``jitter_pixels``, ``jitter_count`` and ``seed``."""

    def candidates(
        self, working: WorkingImage, prompts: ImagePrompts, size: tuple[int, int]
    ) -> Iterator[tuple[int, Click, ClickBag]]:
        """Yield every click's index, what may be known about it, and all its candidates, unranked.

        Args:
            working: The image.
            prompts: The clicks, original frame.
            size: ``(H, W)`` of the original image.
        """
        given = _given_boxes(prompts)
        first = [kind for kind in self.kinds if kind not in NEEDS_BOX]
        second = [kind for kind in self.kinds if kind in NEEDS_BOX]
        # Without kinds of its own the first round asks with the click, for its box alone.
        plan = self._planned(prompts, first or [POINT], given, size)
        points = self._planned(prompts, [POINT], given, size)
        for start in range(0, prompts.num_prompts, CLICKS_AT_A_TIME):
            stop = min(start + CLICKS_AT_A_TIME, prompts.num_prompts)
            known = POINT_AND_NEGATIVES in self.kinds
            clicks = [(i, click_of(prompts, i, working, with_neighbours=known)) for i in range(start, stop)]
            bags = self._gather(working, plan, clicks)
            bare = [click for click in clicks if click[0] not in plan.owner]
            for (i, _), bag in zip(bare, self._gather(working, points, bare), strict=True):
                bags[i - start] = bag
            if second:
                boxes = np.full((prompts.num_prompts, 4), np.nan)
                for (i, _), bag in zip(clicks, bags, strict=True):
                    boxes[i] = _best_box(working, bag.bag) if np.isnan(given[i, 0]) else given[i]
                answers = self._gather(working, self._planned(prompts, second, boxes, size), clicks)
                rounds = zip(bags, answers, strict=True)
                bags = [join_bags([bag, more] if first else [more]) for bag, more in rounds]
            for (i, click), bag in zip(clicks, bags, strict=True):
                yield i, click, bag

    def _planned(
        self, prompts: ImagePrompts, kinds: Sequence[str], boxes: ndarray, size: tuple[int, int]
    ) -> PlannedPrompts:
        return plan_prompts(prompts, kinds=kinds, boxes=boxes, image_size=size, **self.plan)

    def _gather(
        self, working: WorkingImage, plan: PlannedPrompts, clicks: Sequence[tuple[int, Click]]
    ) -> list[ClickBag]:
        return gather_bags(
            working,
            plan,
            clicks,
            ranking=self.weights.ranking if HIERARCHY in self.sources else None,
            head=self.weights.head if HEAD in self.sources else None,
        )

    def scores(self, working: WorkingImage, click: Click, bag: ClickBag) -> Float[ndarray, " n"]:
        """Return the predicted IoU of every candidate, in (0, 1)."""
        scorer = self.weights.scorers.get("+".join(self.sources))
        if scorer is None or not len(bag.bag.rows):
            return bag.bag.first_scores
        return scorer.predict(bag_features(bag.bag, working.around, click)).astype(np.float64)


def _best_box(working: WorkingImage, bag: Bag) -> Float[ndarray, " 4"]:
    """Return the box of the candidate its source thinks best of, original frame; NaN where there is none."""
    if not len(bag.rows):
        return np.full(4, np.nan)
    [box] = bag.masks.take(np.array([bag.first_scores.argmax()])).boxes()
    return box * STEP / np.tile(working.scale, 2)


def _given_boxes(prompts: ImagePrompts) -> Float[ndarray, "A 4"]:
    """Return the box of every click, NaN where there is none or it has no area."""
    if prompts.boxes is None:
        return np.full((prompts.num_prompts, 4), np.nan)
    boxes = np.asarray(prompts.boxes, dtype=np.float64).reshape(-1, 4)
    usable = np.isfinite(boxes).all(1, keepdims=True) & (boxes[:, 2:] > boxes[:, :2]).all(1, keepdims=True)
    return np.where(usable, boxes, np.nan)
