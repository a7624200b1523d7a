"""Masks that supervise the segmentation branch: the pick and its alternates (MPS, supplement).

The supplement was not available; the choice of alternates is the released code's (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sapnet.structures import PointPrompts, ProposalBags, PseudoLabels, Selection


@torch.no_grad()
def map_to_masks(
    selection: Selection,
    bags: ProposalBags,
    ranking_scores: Float[Tensor, "G M"],
    prompts: PointPrompts,
    *,
    ranks: Sequence[int] = (1, 3, 5),
    respect_neighbours: bool = True,
) -> PseudoLabels:
    """Turn a selection into pseudo labels: the selected proposal's mask, then the alternates.

    Args:
        selection: box_prm and its proposal for every prompt.
        bags: The proposals with their masks.
        ranking_scores: ``(G, M)`` final scores of the proposals for the annotated class.
        prompts: The clicks, for labels and images.
        ranks: 0-based ranks, by falling ranking score among valid proposals, of the alternates;
            equal scores keep the order of the bag. Empty: the pick alone.
        respect_neighbours: No alternate whose mask covers another click of the class.

    Returns:
        One pseudo label per prompt, with Q = 1 + len(ranks) masks. An alternate is invalid if the
        bag has no such rank, if it is the pick itself, or if its mask is empty. A prompt whose
        pick is missing or empty has no valid mask at all.
    """
    num_prompts, num_proposals, height, width = bags.masks.shape
    num_masks = 1 + len(ranks)
    if num_proposals == 0:
        masks = bags.masks.new_zeros(num_prompts, num_masks, height, width)
        mask_valid = bags.valid.new_zeros(num_prompts, num_masks)
    else:
        order = ranking_scores.masked_fill(~bags.valid, -torch.inf)
        order = order.sort(dim=1, descending=True, stable=True).indices
        wanted = torch.tensor(tuple(ranks), dtype=torch.long, device=order.device)
        alternates = order[:, wanted.clamp_max(num_proposals - 1)]  # (G, Q - 1)
        pick = selection.proposal_index[:, None]
        usable = wanted < bags.valid.sum(dim=1, keepdim=True)
        usable &= alternates != pick
        if respect_neighbours:
            usable &= ~bags.covered_points.gather(1, alternates)
        index = torch.cat([pick.clamp_min(0), alternates], dim=1)  # (G, Q)
        masks = bags.masks[torch.arange(num_prompts, device=index.device)[:, None], index]
        mask_valid = torch.cat([pick >= 0, usable], dim=1) & masks.flatten(2).any(dim=2)
        mask_valid = mask_valid & mask_valid[:, :1]
    return PseudoLabels(
        labels=prompts.labels,
        boxes=selection.boxes,
        masks=masks,
        mask_valid=mask_valid,
        image_index=prompts.image_index,
    )
