"""The clicks of one image exclude each other: a proposal pays for other clicked objects that it covers.

Not in the paper. Guidance (eq. 2) looks at the clicks of the same class that a mask covers. A mask may
swallow most of another object and miss its click; what the other click's own proposals say tells.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sapnet.mil.expected_overlap import proposal_belief
from sapnet.ops.masks import bags_at_a_time
from sapnet.structures import ProposalBags

_ROUNDS = 2
"""Beliefs about the other objects change with the penalties; they have settled after two rounds."""
_TEMPERATURE = 0.5
"""A proposal is believed in proportion to the square of its score."""


@torch.no_grad()
def exclude_neighbours(
    scores: Float[Tensor, "G M"], bags: ProposalBags, image_index: Int[Tensor, " G"], *, weight: float
) -> Float[Tensor, "G M"]:
    """Lower the score of every proposal by what it covers of the other clicked objects of its image.

    ``score_i exp(-weight n_i)`` with ``n_i = sum_j p_j |i and j| / |j|`` over the proposals j of the other
    clicks, of whatever class: how many other objects proposal i is expected to cover. ``p_j`` is
    proportional to score_j^2 within its bag, after the penalties of the round before.

    Args:
        scores: ``(G, M)`` final scores of the proposals, not negative.
        bags: The proposals; overlaps are those of their strided masks.
        image_index: ``(G,)`` image of every prompt.
        weight: How much covering one object costs.

    Returns:
        ``(G, M)`` scores.
    """
    masks = bags.masks & bags.valid[:, :, None, None]
    # Sums of booleans make a copy of eight times the size.
    some_bags = masks.split(bags_at_a_time(masks))
    areas = torch.cat([some.flatten(2).sum(dim=2) for some in some_bags]).clamp_min(1)
    penalised = scores
    for _ in range(_ROUNDS):
        belief = proposal_belief(penalised, bags.valid, temperature=_TEMPERATURE)
        penalised = scores * torch.exp(-weight * _covered(masks, belief / areas, image_index)).to(scores)
    return penalised


def _covered(
    masks: Bool[Tensor, "G M h w"], density: Float[Tensor, "G M"], image_index: Int[Tensor, " G"]
) -> Float[Tensor, "G M"]:
    """Number of other objects under every mask; ``density`` is the belief in a mask per cell of it."""
    flat = masks.flatten(2)
    if len(flat) == 0:
        return density
    # Per click a map of where its object is expected, each object weighing 1 in all.
    size = bags_at_a_time(masks)
    parts = [
        torch.einsum("gmn,gm->gn", some.to(density.dtype), weights)
        for some, weights in zip(flat.split(size), density.split(size), strict=True)
    ]
    own = torch.cat(parts)
    total = own.new_zeros(int(image_index.max()) + 1, own.shape[1]).index_add_(0, image_index, own)
    found = [
        torch.einsum("gmn,gn->gm", some.to(own.dtype), total[image] - mine)
        for some, image, mine in zip(flat.split(size), image_index.split(size), own.split(size), strict=True)
    ]
    return torch.cat(found).clamp_min(0)
