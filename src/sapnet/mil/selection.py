"""The proposal selection of the select pass (PSM, section 3.2)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from sapnet.mil.scoring import scores_at_label
from sapnet.ops.boxes import clip_boxes
from sapnet.structures import BagScores, ProposalBags, Selection


def best_valid_index(values: Float[Tensor, "G M"], valid: Bool[Tensor, "G M"]) -> Int[Tensor, " G"]:
    """Index of the highest valid value of every row.

    Args:
        values: ``(G, M)`` values to compare.
        valid: ``(G, M)`` which may be chosen.

    Returns:
        ``(G,)`` indices; the lowest index among equals, -1 in a row without a valid entry.
    """
    if values.shape[1] == 0:
        return torch.full((values.shape[0],), -1, dtype=torch.long, device=values.device)
    index = values.masked_fill(~valid, -torch.inf).argmax(dim=1)
    return torch.where(valid.any(dim=1), index, -1)


def take_rows(
    values: Shaped[Tensor, "G M ..."], index: Int[Tensor, " G"], *, absent: float | bool
) -> Shaped[Tensor, "G ..."]:
    """One entry per bag.

    Args:
        values: ``(G, M, ...)`` entries of the bags.
        index: ``(G,)`` which entry of each bag; -1 for none.
        absent: Value where the index is -1.

    Returns:
        ``(G, ...)`` entries.
    """
    num_bags, num_entries = values.shape[:2]
    if num_entries == 0:
        return values.new_full((num_bags, *values.shape[2:]), absent)
    taken = values[torch.arange(num_bags, device=values.device), index.clamp_min(0)]
    missing = (index < 0).reshape(-1, *[1] * (taken.ndim - 1))
    return taken.masked_fill(missing, absent)


@torch.no_grad()
def select(
    scores: BagScores,
    bags: ProposalBags,
    labels: Int[Tensor, " G"],
    image_sizes: Int[Tensor, "B 2"],
    image_index: Int[Tensor, " G"],
    *,
    guidance: Float[Tensor, "G M"] | None = None,
) -> Selection:
    """Select the proposal of each bag that scores highest for the annotated class (box_psm).

    Args:
        scores: Scores of the select pass over the M proposals of the bags.
        bags: The proposals.
        labels: ``(G,)`` annotated classes.
        image_sizes: ``(B, 2)`` sizes ``(height, width)`` of the pictures in input pixels.
        image_index: ``(G,)`` image of every prompt.
        guidance: ``(G, M)`` factors to record in the selection where they are not part of
            ``scores`` (``apply_to: logits``); None: those of ``scores``.

    Returns:
        The selection, without gradient. Boxes are clipped to their image; among equal scores the
        lowest index wins; an empty bag gives index -1, a zero box, score 0 and guidance 1.
    """
    values = scores_at_label(scores.scores, labels)
    index = best_valid_index(values, bags.valid)
    boxes = take_rows(bags.boxes, index, absent=0.0)
    factors = scores.guidance if guidance is None else guidance
    return Selection(
        boxes=clip_boxes(boxes, image_sizes[image_index]),
        proposal_index=index,
        scores=take_rows(values, index, absent=0.0),
        guidance=take_rows(factors, index, absent=1.0),
    )
