"""What a trained network labels with: scores averaged over views, and the pick of highest expected overlap.

Not in the paper. The proposal with the highest score may be one that resembles no other, while the
next five, all much alike, share the rest of the belief. If p_j is the probability that proposal j is
the object, labelling with proposal i promises an overlap of ``sum_j p_j IoU(i, j)``; the best of
these, not the most probable proposal, is what minimises the expected loss (a minimum Bayes risk
decision). How many nearly equal masks a proposer happens to offer is no evidence, so they share one
voice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sapnet.ops.masks import bags_at_a_time
from sapnet.structures import ProposalBags

_SMALLEST = 1e-12
"""Scores of a view below this count as this much, so that no view rules a proposal out alone."""
_NEAR_COPY = 0.8
"""Two proposals of a bag that overlap this much (IoU) count as one in the sum over the bag."""


@torch.no_grad()
def mean_of_views(scores: Sequence[Float[Tensor, "G M"]]) -> Float[Tensor, "G M"]:
    """Geometric mean of the scores that the proposals have in several views of their image.

    Args:
        scores: One ``(G, M)`` per view, not negative; at least one.

    Returns:
        ``(G, M)`` scores.
    """
    return torch.stack([view.clamp_min(_SMALLEST).log() for view in scores]).mean(dim=0).exp()


@torch.no_grad()
def expected_overlap(
    scores: Float[Tensor, "G M"], bags: ProposalBags, *, temperature: float
) -> Float[Tensor, "G M"]:
    """Overlap that every proposal promises: ``sum_j p_j IoU(i, j)``.

    ``p_j`` is proportional to ``score_j^(1/t) / n_j``, with n_j the number of proposals of the bag that
    overlap j by at least 0.8, itself included.

    Args:
        scores: ``(G, M)`` final scores of the proposals, not negative.
        bags: The proposals; overlaps are those of their strided masks.
        temperature: t > 0. Towards 0 the proposal with the highest score wins; with a high one the
            proposal that overlaps all others most, whatever the scores.

    Returns:
        ``(G, M)`` expected intersections over union in [0, 1]; 0 at invalid proposals.
    """
    masks = bags.masks & bags.valid[:, :, None, None]
    overlaps = bag_mask_iou(masks, masks)
    copies = (overlaps >= _NEAR_COPY).sum(dim=2).clamp_min(1)
    weights = scores.clamp_min(torch.finfo(scores.dtype).tiny).log() / temperature - copies.log()
    weights = weights.masked_fill(~bags.valid, torch.finfo(weights.dtype).min).softmax(dim=1)
    return torch.einsum("gij,gj->gi", overlaps.to(weights.dtype), weights).masked_fill(~bags.valid, 0.0)


@torch.no_grad()
def proposal_belief(
    scores: Float[Tensor, "G M"], valid: Bool[Tensor, "G M"], *, temperature: float
) -> Float[Tensor, "G M"]:
    """How much every proposal of a bag is believed to be the object, proportional to ``score^(1/t)``.

    So it weighs in a vote over the label's pixels. Unlike in ``expected_overlap`` near copies all count: that
    several prompts gave nearly the same mask speaks for its pixels.

    Args:
        scores: ``(G, M)`` final scores of the proposals, not negative.
        valid: Which proposals there are.
        temperature: t > 0.

    Returns:
        ``(G, M)``, adding up to 1 in a bag that is not empty; 0 at invalid proposals.
    """
    weights = scores.clamp_min(torch.finfo(scores.dtype).tiny).log() / temperature
    weights = weights.masked_fill(~valid, torch.finfo(weights.dtype).min).softmax(dim=1)
    return weights.masked_fill(~valid, 0.0)


def bag_mask_iou(first: Bool[Tensor, "G N h w"], second: Bool[Tensor, "G M h w"]) -> Float[Tensor, "G N M"]:
    """Intersection over union of masks with those of a bag, bag by bag.

    Args:
        first: ``(G, N, h, w)`` masks.
        second: ``(G, M, h, w)`` masks, maybe the same; an invalid one must be empty.

    Returns:
        ``(G, N, M)`` float32 overlaps in [0, 1]; 0 for two empty masks. Exact below 2**24 cells.
    """
    size = bags_at_a_time(second)
    parts = [second.new_zeros((0, first.shape[1], second.shape[1]), dtype=torch.float32)]
    for some, others in zip(first.flatten(2).split(size), second.flatten(2).split(size), strict=True):
        right = others.float()
        areas = right.sum(dim=2)
        left, own = right, areas
        if first is not second:
            left = some.float()
            own = left.sum(dim=2)
        intersection = left @ right.transpose(1, 2)
        union = own[:, :, None] + areas[:, None] - intersection
        parts.append(intersection / union.clamp_min(1))
    return torch.cat(parts)
