"""Point distance guidance (PDG, section 3.2, eq. 2).

A proposal that overlaps another object of its class is a candidate for a *group* of objects. Its
score is multiplied with ``sigmoid(1 / W)^d``, where W sums the distances from the prompt to the
clicks of the objects overlapped: 1 without overlap, towards ``0.5^d`` for far-away objects. (The
equation as printed lacks the "1 +" of the sigmoid; the paper's text names the sigmoid.)
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sapnet.ops.boxes import contains_points
from sapnet.structures import PointPrompts, ProposalBags

Overlap = Literal["mask-covers-point", "box-covers-point", "bags-overlap"]
Distance = Literal["euclidean", "square-root"]

_CHUNK_ELEMENTS = 4_000_000
"""Largest number of elements of a pairwise intermediate; bounds memory with 1,000 prompts."""


def guidance_factor(summed_distance: Float[Tensor, "*D"], *, exponent: float) -> Float[Tensor, "*D"]:
    """S_dis of eq. 2: ``sigmoid(1 / W)^d``.

    Args:
        summed_distance: ``(...)`` W_dis >= 0, in input pixels (or their square roots).
        exponent: d.

    Returns:
        ``(...)`` factors in (0.5^d, 1], exactly 1 where W is 0.
    """
    alone = summed_distance <= 0
    inverse = 1 / torch.where(alone, 1.0, summed_distance)
    return torch.where(alone, 1.0, torch.sigmoid(inverse) ** exponent)


@torch.no_grad()
def point_guidance(
    prompts: PointPrompts,
    bags: ProposalBags,
    *,
    overlap: Overlap = "mask-covers-point",
    distance: Distance = "euclidean",
    exponent: float = 1.0,
    mask_stride: int = 4,
) -> Float[Tensor, "G M"]:
    """Guidance factor S_dis of every proposal (eq. 2), from annotated clicks only.

    The case (mask-covers-point, euclidean) uses what the data set computed on full-resolution
    masks. With square-root distances the covered clicks are looked up on the strided masks; where
    that finds none although the full-resolution mask covers one, the square root of the summed
    distance stands in, which is exact for one covered click.

    Args:
        prompts: The clicks of the batch.
        bags: Their proposals.
        overlap: What t_mj = 1 means: the mask covers the other click; the box covers it (released
            code); the box meets any proposal box of the other bag (paper).
        distance: ``euclidean`` (paper) or ``square-root`` of each distance (released code).
        exponent: d; 0 switches the guidance off.
        mask_stride: Input pixels per cell of ``bags.masks``.

    Returns:
        ``(G, M)`` factors in (0.5^d, 1]; exactly 1 without overlap and at invalid proposals.
    """
    if overlap == "mask-covers-point" and distance == "euclidean":
        summed = bags.covered_distance.masked_fill(~bags.covered_points, 0.0)
    else:
        summed = _pairwise_distance(prompts, bags, overlap, distance, mask_stride)
    return guidance_factor(summed.masked_fill(~bags.valid, 0.0), exponent=exponent).to(bags.boxes.dtype)


def _pairwise_distance(
    prompts: PointPrompts, bags: ProposalBags, overlap: Overlap, distance: Distance, mask_stride: int
) -> Tensor:
    """W_dis ``(G, M)`` from the boxes or masks and the clicks themselves, in chunks of prompts."""
    num_prompts, num_proposals = bags.valid.shape
    per_prompt = num_prompts * num_proposals * (num_proposals if overlap == "bags-overlap" else 1)
    chunk = max(1, _CHUNK_ELEMENTS // max(1, per_prompt))
    parts = [bags.boxes.new_zeros(0, num_proposals)]
    for rows in torch.arange(num_prompts, device=bags.boxes.device).split(chunk):
        neighbours = _neighbours(prompts, rows)
        lengths = torch.linalg.vector_norm(prompts.xy[rows, None] - prompts.xy[None], dim=-1)
        if distance == "square-root":
            lengths = lengths.sqrt()
        if overlap == "bags-overlap":
            overlaps = _boxes_meet_bags(bags, rows)
        elif overlap == "box-covers-point":
            overlaps = contains_points(bags.boxes[rows, :, None], prompts.xy[None, None])
        else:
            overlaps = _masks_at_points(bags, rows, prompts, mask_stride)
        weights = torch.where(neighbours, lengths, 0.0)[:, None]  # (R, 1, G)
        parts.append(torch.where(overlaps, weights, 0.0).sum(dim=-1))
    summed = torch.cat(parts)
    if overlap == "mask-covers-point":
        unseen = bags.covered_points & (summed == 0)
        summed = torch.where(unseen, bags.covered_distance.sqrt(), summed)
        summed = summed.masked_fill(~bags.covered_points, 0.0)
    return summed


def _neighbours(prompts: PointPrompts, rows: Tensor) -> Bool[Tensor, "R G"]:
    """Which prompts are other objects of the same image and class."""
    same_image = prompts.image_index[rows, None] == prompts.image_index[None]
    same_class = prompts.labels[rows, None] == prompts.labels[None]
    others = rows[:, None] != torch.arange(prompts.labels.shape[0], device=rows.device)[None]
    return same_image & same_class & others


def _boxes_meet_bags(bags: ProposalBags, rows: Tensor) -> Bool[Tensor, "R M G"]:
    """Whether a proposal's box shares area with any valid proposal's box of another bag."""
    ours = bags.boxes[rows][:, :, None, None]  # (R, M, 1, 1, 4)
    theirs = bags.boxes[None, None]  # (1, 1, G, M, 4)
    meets_x = (ours[..., 0] < theirs[..., 2]) & (theirs[..., 0] < ours[..., 2])
    meets_y = (ours[..., 1] < theirs[..., 3]) & (theirs[..., 1] < ours[..., 3])
    return (meets_x & meets_y & bags.valid).any(dim=-1)


def _masks_at_points(
    bags: ProposalBags, rows: Tensor, prompts: PointPrompts, mask_stride: int
) -> Bool[Tensor, "R M G"]:
    """The strided masks looked up at every click; clicks of other images are masked by the caller."""
    height, width = bags.masks.shape[-2:]
    cells = (prompts.xy / mask_stride).floor().long()
    return bags.masks[rows][:, :, cells[:, 1].clamp(0, height - 1), cells[:, 0].clamp(0, width - 1)]
