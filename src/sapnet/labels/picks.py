"""A proposal store reduced to one picked proposal per click."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sapnet.evaluation.bag_picks import BagSource
from sapnet.proposals.proposer import ImageProposals


class PickedProposals:
    """Gives of every bag only the picked proposal, for the second stage of two-stage training.

    Args:
        store: The proposals.
        picks: Annotation id to the index of its pick in its bag, best proposer score first; clicks
            without a pick get an empty bag.
    """

    def __init__(self, store: BagSource, picks: Mapping[int, int]) -> None:
        self._store = store
        self._picks = dict(picks)

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._store

    def of_image(self, image_id: int) -> ImageProposals:
        """Return the picked proposals of an image."""
        return picked_only(self._store.of_image(image_id), self._picks)


def picked_only(proposals: ImageProposals, picks: Mapping[int, int]) -> ImageProposals:
    """Keep of every bag the proposal with the picked rank.

    Args:
        proposals: All proposals of an image, sorted by prompt and falling score.
        picks: Annotation id to rank in the bag; -1 or absent: none.

    Returns:
        At most one proposal per click.
    """
    rank = rank_in_bag(proposals.prompt_index)
    wanted = np.array([picks.get(int(item), -1) for item in proposals.annotation_ids], dtype=np.int64)
    keep = (
        np.flatnonzero(rank == wanted[proposals.prompt_index]) if len(rank) else np.zeros(0, dtype=np.int64)
    )
    return replace(
        proposals,
        prompt_index=proposals.prompt_index[keep],
        counts=tuple(proposals.counts[item] for item in keep),
        boxes=proposals.boxes[keep],
        scores=proposals.scores[keep],
        areas=proposals.areas[keep],
        kinds=tuple(proposals.kinds[item] for item in keep),
        opinions=None if proposals.opinions is None else proposals.opinions[keep],
    )


def rank_in_bag(prompt_index: np.ndarray) -> np.ndarray:
    """Return the rank of every proposal in its bag, for proposals sorted by prompt and falling score."""
    if len(prompt_index) == 0:
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.r_[True, prompt_index[1:] != prompt_index[:-1]])
    lengths = np.diff(np.r_[starts, len(prompt_index)])
    return np.arange(len(prompt_index)) - np.repeat(starts, lengths)
