"""A second proposer's opinion of the proposals of a first: how much of them it would have drawn itself.

Not in the paper. Which of part, whole and group a click means is what one promptable segmenter cannot
tell; another one errs elsewhere. Only the agreement is kept: no mask of the second proposer enters a
bag, and the first one's scores stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from pycocotools import mask as coco_mask

from sapnet.proposals.proposer import ImagePrompts, ImageProposals, Proposer
from sapnet.proposals.store import ProposalStore

OPINION_SETTING = "second_opinion"
"""Key in a proposer's settings, and so in a store's manifest, under which the second one is named."""


def expected_agreement(proposals: ImageProposals, second: ImageProposals) -> Float[ndarray, " n"]:
    """Overlap of every proposal with what a second proposer expects at the same click.

    ``sum_j q_j IoU(i, j) / sum_j q_j`` over the masks j of the second proposer for the click of proposal i,
    q their scores.

    Args:
        proposals: The n proposals that are judged.
        second: Those of the other proposer for the same image; clicks may be missing.

    Returns:
        (n,) float32 in [0, 1]; 0 where the second proposer has nothing for the click.

    Raises:
        ValueError: The image sizes differ.
    """
    if proposals.image_size != second.image_size:
        problem = f"the second proposer saw {second.image_size}, the first {proposals.image_size}"
        raise ValueError(f"image {proposals.image_id}: {problem}")
    agreement = np.zeros(len(proposals.counts), dtype=np.float32)
    place = {int(key): row for row, key in enumerate(second.annotation_ids)}
    size = list(proposals.image_size)
    for row, key in enumerate(proposals.annotation_ids.tolist()):
        if key not in place:
            continue
        own, other = proposals.of_prompt(row), second.of_prompt(place[key])
        scores = np.clip(second.scores[other].astype(np.float64), 0.0, None)
        if own.start == own.stop or scores.sum() <= 0:
            continue
        judged = [{"size": size, "counts": counts} for counts in proposals.counts[own]]
        drawn = [{"size": size, "counts": counts} for counts in second.counts[other]]
        overlaps = np.asarray(coco_mask.iou(judged, drawn, [0] * len(drawn)))
        agreement[own] = overlaps @ scores / scores.sum()
    return agreement


class SecondOpinion:
    """Adds a second proposer's opinion to the proposals of a first.

    Implements :class:`~sapnet.proposals.proposer.Proposer` with the first one's name and its settings, in
    which ``second_opinion`` says who is asked; so the store's manifest does too.

    Args:
        first: What makes the masks and their scores.
        second: Whose opinion is asked.
    """

    def __init__(self, first: Proposer, second: Proposer) -> None:
        self.first, self.second = first, second
        self.name = first.name
        asked = {
            "name": second.name,
            "settings": dict(second.settings),
            "checkpoint": getattr(second, "checkpoint_digest", None),
        }
        self.settings: Mapping[str, Any] = {**first.settings, OPINION_SETTING: asked}

    @property
    def checkpoint_digest(self) -> str | None:
        """Digest of the first proposer's weights; None where it has none."""
        return getattr(self.first, "checkpoint_digest", None)

    def propose(self, image: UInt8[ndarray, "H W 3"], prompts: ImagePrompts) -> ImageProposals:
        """Let the first propose and the second judge.

        Raises:
            RuntimeError: The second one failed; it is named, since callers know the name of the first.
        """
        proposals = self.first.propose(image, prompts)
        # The second is asked as if it were alone: with no box that was made for the first.
        try:
            second = self.second.propose(image, replace(prompts, boxes=None))
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise RuntimeError(f"asked for a second opinion, {self.second.name!r} failed: {what}") from error
        return replace(proposals, opinions=expected_agreement(proposals, second))


class StoredProposals:
    """Answers from a finished store what the proposer that filled it would answer.

    Args:
        store: Made from the same clicks.
    """

    def __init__(self, store: ProposalStore) -> None:
        self._store = store
        self.name: str = store.manifest["proposer"]["name"]
        self.settings: Mapping[str, Any] = store.manifest["proposer"]["settings"]
        self.checkpoint_digest: str | None = store.manifest["checkpoint_digest"]

    def propose(self, image: UInt8[ndarray, "H W 3"], prompts: ImagePrompts) -> ImageProposals:
        """Return what the store holds for the image of the prompts."""
        return self._store.of_image(prompts.image_id)
