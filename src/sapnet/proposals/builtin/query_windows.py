"""Which windows the promptable head looks at for every query of a plan. Working frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.proposals.builtin.prompt_windows import WindowPrompts
from sapnet.proposals.prompt_plan import PlannedPrompts

SIDES = (40.0, 92.0, 212.0, 488.0)
"""Sides in pixels of the windows about a click."""
BOX_MARGIN = 1.3
"""Side of a window about a box, in the box's longer sides."""
_LEAST_SIDE, _LARGEST_SIDE = 16.0, 768.0


@dataclass(frozen=True)
class QueryWindows:
    """The windows of some queries, query after query."""

    prompts: WindowPrompts
    query: Int[ndarray, " w"]
    """Which query each window is about."""
    seen: Bool[ndarray, " w"]
    """Which windows lie about the box that the network sees at the click."""


def windows_of_queries(
    planned: PlannedPrompts,
    chosen: Int[ndarray, " k"],
    scale: Float[ndarray, " 2"],
    edges: Float[ndarray, "4 h w"],
) -> QueryWindows:
    """Lay the windows of some queries: one about a box prompt, else five.

    Without a box prompt: squares of several sides about the first point, and one about the box that the
    boundary network sees there. Points keep their order within a query.

    Args:
        planned: The queries, original frame.
        chosen: Indices of the queries, rising.
        scale: Working pixels per original pixel, along x and y.
        edges: Where each pixel sees the edges of its object, working frame.
    """
    count = len(chosen)
    boxes = planned.boxes[chosen] * np.tile(scale, 2)
    has_box = np.isfinite(boxes).all(1)
    first = np.minimum(np.searchsorted(planned.point_query, chosen), max(len(planned.point_query) - 1, 0))
    click = planned.point_xy[first] * scale if len(planned.point_xy) else np.zeros((count, 2))
    column = np.clip(click[:, 0].astype(int), 0, edges.shape[2] - 1)
    row = np.clip(click[:, 1].astype(int), 0, edges.shape[1] - 1)
    about = np.where(has_box[:, None], boxes, edges[:, row, column].T)
    box_side = BOX_MARGIN * (about[:, 2:] - about[:, :2]).max(1, initial=1.0)
    per_query = len(SIDES) + 1
    sides = np.concatenate([np.tile(SIDES, (count, 1)), box_side[:, None]], axis=1)
    centers = np.repeat(click[:, None], per_query, axis=1)
    centers[:, -1] = (about[:, :2] + about[:, 2:]) / 2.0
    wanted = np.ones((count, per_query), dtype=bool)
    wanted[has_box, :-1] = False
    query, place = np.nonzero(wanted)
    points = _points_of(planned, chosen, query)
    prompts = WindowPrompts(
        image_index=torch.zeros(len(query), dtype=torch.long),
        centers=torch.from_numpy(centers[wanted].astype(np.float32)),
        sides=torch.from_numpy(np.clip(sides[wanted], _LEAST_SIDE, _LARGEST_SIDE).astype(np.float32)),
        point_xy=torch.from_numpy((planned.point_xy[points[0]] * scale).astype(np.float32).reshape(-1, 2)),
        point_positive=torch.from_numpy(planned.point_positive[points[0]]),
        point_window=torch.from_numpy(points[1]),
        boxes=torch.from_numpy(boxes[query].astype(np.float32)),
    )
    return QueryWindows(prompts, chosen[query], (place == len(SIDES)) & ~has_box[query])


def _points_of(planned: PlannedPrompts, chosen: ndarray, query: ndarray) -> tuple[ndarray, ndarray]:
    """Return the rows of the plan's points of every window, and the window of each."""
    start = np.searchsorted(planned.point_query, chosen[query], side="left")
    length = np.searchsorted(planned.point_query, chosen[query], side="right") - start
    window = np.repeat(np.arange(len(query)), length)
    within = np.arange(len(window)) - np.repeat(np.cumsum(length) - length, length)
    return start[window] + within, window
