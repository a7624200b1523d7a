"""A proposal store reduced to one label per click: the picked proposal, or what a vote made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from sapnet.data.rle import mask_area, mask_box
from sapnet.evaluation.bag_picks import BagSource
from sapnet.labels.voting import voted_masks
from sapnet.proposals.proposer import ImageProposals


class Pick(NamedTuple):
    """What was chosen for a click."""

    proposal: int
    """Index into the bag, best proposer score first; -1: none."""
    score: float
    """Overlap with the object that the label promises, in [0, 1]; 1 where a rule picked."""
    votes: tuple[float, ...] = ()
    """Weight of every proposal of the bag in a vote over pixels, 0 at the end where the bag is short;
    empty: the label is the mask of the proposal."""
    needed: float = 0.5
    """Share of the votes above which a pixel is kept."""


class PickedProposals:
    """Gives of every bag only the label, for the second stage of two-stage training.

    Args:
        store: The proposals.
        picks: By annotation id; clicks without a pick get an empty bag.
    """

    def __init__(self, store: BagSource, picks: Mapping[int, Pick]) -> None:
        self._store = store
        self._picks = dict(picks)

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._store

    def of_image(self, image_id: int) -> ImageProposals:
        """Return the labels of an image."""
        return label_masks(self._store.of_image(image_id), self._picks)


def label_masks(proposals: ImageProposals, picks: Mapping[int, Pick]) -> ImageProposals:
    """Reduce every bag to its label.

    Args:
        proposals: All proposals of an image, sorted by prompt and falling score.
        picks: By annotation id.

    Returns:
        At most one proposal per click: the picked one, with the pixels that the vote gave it. It keeps its
        own where the vote leaves nothing, or a sliver that is shared by masks which part otherwise.
    """
    chosen = picked_only(proposals, picks)
    of_prompts = _of_prompts(proposals, picks)
    votes = [pick.votes for pick in of_prompts]
    most = max(map(len, votes), default=0)
    if most == 0:
        return chosen
    table = np.zeros((len(votes), most))
    for prompt, row in enumerate(votes):
        table[prompt, : len(row)] = row
    prompts, rank = proposals.prompt_index, rank_in_bag(proposals.prompt_index)
    weights = np.where(rank < most, table[prompts, np.minimum(rank, most - 1)], 0.0)
    voters = np.flatnonzero(weights)
    prompts, weights = prompts[voters], weights[voters]
    needed = np.array([pick.needed for pick in of_prompts])
    voting = [proposals.counts[item] for item in voters]
    voted = voted_masks(voting, prompts, weights, proposals.image_size, needed)
    least = _least_areas(proposals.areas[voters], prompts, weights, len(votes))
    areas = dict(zip(voted, mask_area(list(voted.values()), proposals.image_size), strict=True))
    counts = tuple(
        voted[prompt] if areas.get(prompt, 0) >= max(1.0, least[prompt]) else own
        for prompt, own in zip(chosen.prompt_index.tolist(), chosen.counts, strict=True)
    )
    return replace(
        chosen,
        counts=counts,
        boxes=mask_box(counts, chosen.image_size).astype(chosen.boxes.dtype),
        areas=mask_area(counts, chosen.image_size).astype(chosen.areas.dtype),
    )


def _least_areas(areas: ndarray, prompts: ndarray, weights: ndarray, num_prompts: int) -> ndarray:
    """Half of the area of every click's smallest proposal among those that weigh in earnest, in pixels.

    A vote over masks that lie in each other has the area of one of them at least.
    """
    heaviest = np.zeros(num_prompts)
    np.maximum.at(heaviest, prompts, weights)
    earnest = weights >= 0.1 * heaviest[prompts]
    smallest = np.full(num_prompts, np.inf)
    np.minimum.at(smallest, prompts[earnest], areas[earnest])
    return smallest / 2


def picked_only(proposals: ImageProposals, picks: Mapping[int, Pick]) -> ImageProposals:
    """Keep of every bag the proposal with the picked rank.

    Args:
        proposals: All proposals of an image, sorted by prompt and falling score.
        picks: By annotation id, those of other images too; votes do not matter. -1 or absent: none.

    Returns:
        At most one proposal per click.
    """
    rank = rank_in_bag(proposals.prompt_index)
    wanted = np.array([pick.proposal for pick in _of_prompts(proposals, picks)], dtype=np.int64)
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


def _of_prompts(proposals: ImageProposals, picks: Mapping[int, Pick]) -> list[Pick]:
    """The pick of every click of an image; of one without, no proposal."""
    none = Pick(-1, 0.0)
    return [picks.get(int(item), none) for item in proposals.annotation_ids]


def rank_in_bag(prompt_index: np.ndarray) -> np.ndarray:
    """Return the rank of every proposal in its bag, for proposals sorted by prompt and falling score."""
    if len(prompt_index) == 0:
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.r_[True, prompt_index[1:] != prompt_index[:-1]])
    lengths = np.diff(np.r_[starts, len(prompt_index)])
    return np.arange(len(prompt_index)) - np.repeat(starts, lengths)
