"""Asks the promptable head the queries of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.proposals.builtin.prompt_head import MASKS, FusedMaps, PromptHead
from sapnet.proposals.builtin.prompt_windows import CELLS
from sapnet.proposals.builtin.query_windows import QueryWindows
from sapnet.proposals.builtin.sharing import in_threads

_CHUNK = 32
"""Windows computed at a time by each of two threads."""


@dataclass(frozen=True)
class HeadAnswers:
    """The masks drawn for some queries: ``n`` masks, window after window."""

    logits: Float[ndarray, "n N N"]
    """In the cells of the masks' windows."""
    rectangles: Float[ndarray, "n 4"]
    """The windows, ``xyxy``, working frame."""
    scores: Float[ndarray, " n"]
    """Predicted IoUs, in (0, 1)."""
    query: Int[ndarray, " n"]
    window: Int[ndarray, " n"]
    """Running number of the window."""
    place: Int[ndarray, " n"]
    """Which of its window's three masks each is."""
    seen: Bool[ndarray, " n"]
    """Whether the window lies about the box that the network sees at the click."""

    def joined(self, others: Sequence[HeadAnswers]) -> HeadAnswers:
        """Return these masks and those of others, in their order; windows keep their own numbers."""
        parts = [self, *others]
        return HeadAnswers(
            *[np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(self)]
        )

    def take(self, rows: ndarray) -> HeadAnswers:
        """Return some of the masks, by index or by a mask of rows."""
        return HeadAnswers(*[getattr(self, field.name)[rows] for field in fields(self)])


def answer_queries(head: PromptHead, maps: FusedMaps, windows: QueryWindows) -> HeadAnswers:
    """Return the masks of every window; memory beyond the answers is that of 64 windows.

    Args:
        head: In evaluation mode.
        maps: Of one image.
        windows: The queries' windows; maybe none.
    """
    count = len(windows.query)
    # Equal chunks, an even number of them, whatever the number of threads: bits depend on a chunk's length.
    chunks = 2 * -(-count // (2 * _CHUNK))
    bounds = np.linspace(0, count, chunks + 1).astype(int).tolist()

    @torch.inference_mode()
    def answer(rows: tuple[int, int]) -> tuple[ndarray, ndarray]:
        outputs = head(maps, windows.prompts.rows(*rows))
        drawn = outputs.mask_logits.flatten(0, 1).contiguous().numpy()
        return drawn, outputs.overlap_logits.sigmoid().flatten().numpy()

    answered = in_threads(answer, [rows for rows in pairwise(bounds) if rows[0] < rows[1]])
    logits, scores = [drawn for drawn, _ in answered], [judged for _, judged in answered]
    return HeadAnswers(
        logits=np.concatenate(logits) if logits else np.zeros((0, CELLS, CELLS), dtype=np.float32),
        rectangles=np.repeat(windows.prompts.rectangles.numpy().astype(np.float64), MASKS, axis=0),
        scores=np.concatenate(scores).astype(np.float64) if scores else np.zeros(0),
        query=np.repeat(windows.query, MASKS),
        window=np.repeat(np.arange(count), MASKS),
        place=np.tile(np.arange(MASKS), count),
        seen=np.repeat(windows.seen, MASKS),
    )
