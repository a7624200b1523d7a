"""How the final scores of a bag choose its mask: exclusion, expected overlap and a vote, one after the other.

Not in the paper (ADR 0008, 0012, 0013). Labels are chosen so, and what supervises the SOLOv2 branch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sapnet.mil.exclusion import exclude_neighbours
from sapnet.mil.expected_overlap import bag_mask_iou, expected_overlap, proposal_belief
from sapnet.mil.selection import best_valid_index
from sapnet.ops.masks import bags_at_a_time, masks_to_boxes
from sapnet.structures import ProposalBags, PseudoLabels

SMALL_SHARE = 0.5
"""Share of the weight above which a vote keeps a pixel of a small object."""
_SMALL_SIDE, _LARGE_SIDE = 0.05, 0.3
"""Square roots of the shares of the image that small and large objects take up."""
_FEW_VOICES, _MANY_VOICES = 2.5, 4.0
"""A belief as concentrated as this many equal voices: so few are whole masks, so many are parts and pieces."""
_IN_EARNEST = 0.1
"""A proposal with this share of the largest weight of its bag weighs in earnest."""


@dataclass(frozen=True)
class LabelRule:
    """How final scores choose a label; the defaults are the paper's: the highest score."""

    exclusion: float = 0.0
    """Weight of ``mil.exclusion``; 0: not."""
    overlap_temperature: float = 0.0
    """Temperature of ``mil.expected_overlap``; 0: the highest score."""
    vote: bool = False
    """Whether pixels are voted on; with a temperature alone."""
    vote_share_large: float = SMALL_SHARE
    """Share of the weight above which a vote keeps a pixel of a large object."""

    @property
    def is_highest_score(self) -> bool:
        """Whether it leaves the choice to the scores as they are."""
        return self.exclusion == 0 and self.overlap_temperature == 0


PAPER_RULE = LabelRule()


@dataclass(frozen=True)
class Choice:
    """What a rule chose for every click."""

    proposal_index: Int[Tensor, " G"]
    """Index into the bag; -1 for an empty bag."""
    scores: Float[Tensor, "G M"]
    """Final scores after exclusion, which weigh in the choice."""
    belief: Float[Tensor, "G M"]
    """How much every proposal is believed to be the object, adding up to 1 in a bag that is not empty:
    proportional to the score, or to ``score^(1/t)`` with a temperature t."""
    is_vote: bool
    """Whether the belief votes over pixels."""
    needed: Float[Tensor, " G"]
    """Share of the belief above which a vote keeps a pixel."""


@torch.no_grad()
def choose_by_rule(
    scores: Float[Tensor, "G M"],
    bags: ProposalBags,
    image_index: Int[Tensor, " G"],
    image_sizes: Int[Tensor, "B 2"],
    rule: LabelRule,
) -> Choice:
    """Choose a proposal for every click, and say how much is believed in each.

    Args:
        scores: ``(G, M)`` final scores of the proposals, not negative.
        bags: The proposals.
        image_index: ``(G,)`` image of every prompt.
        image_sizes: ``(B, 2)`` (height, width) of the pictures, input pixels.
        rule: How the scores choose.

    Returns:
        The choices.
    """
    if rule.exclusion > 0:
        scores = exclude_neighbours(scores, bags, image_index, weight=rule.exclusion)
    temperature = rule.overlap_temperature
    ranking = expected_overlap(scores, bags, temperature=temperature) if temperature > 0 else scores
    belief = proposal_belief(scores, bags.valid, temperature=temperature if temperature > 0 else 1.0)
    index = best_valid_index(ranking, bags.valid)
    areas = image_sizes.to(belief).prod(dim=1)[image_index]
    needed = needed_share(belief, bags.area, areas, large=rule.vote_share_large)
    return Choice(index, scores, belief, is_vote=rule.vote and temperature > 0, needed=needed)


@torch.no_grad()
def needed_share(
    belief: Float[Tensor, "G M"],
    proposal_areas: Float[Tensor, "G M"],
    image_areas: Float[Tensor, " G"],
    *,
    large: float,
) -> Float[Tensor, " G"]:
    """Share of the belief above which a vote keeps a pixel: less of a large object that many parts speak for.

    It is 0.5 - (0.5 - ``large``) a b (ADR 0015). With s the square root of the expected area over the area of
    the image, a rises from 0 to 1 with log s, from s = 0.05 to 0.3. With n = 1 / sum(belief^2), the number of
    equal voices that are as concentrated, b rises from 0 to 1 with log n, from n = 2.5 to 4. Many voices about a
    large object are its parts and pieces, so that half of the belief covers a core of it; two or three are whole
    masks that differ at the border.

    Args:
        belief: ``(G, M)`` how much every proposal is believed to be the object, adding up to 1.
        proposal_areas: ``(G, M)`` of their masks.
        image_areas: ``(G,)`` of the pictures, in the same unit.
        large: Share for large objects.
    """
    side = ((belief * proposal_areas).sum(dim=1) / image_areas).clamp_min(1e-12).sqrt()
    voices = 1 / belief.square().sum(dim=1).clamp_min(1e-12)
    size = (side / _SMALL_SIDE).log() / math.log(_LARGE_SIDE / _SMALL_SIDE)
    division = (voices / _FEW_VOICES).log() / math.log(_MANY_VOICES / _FEW_VOICES)
    return SMALL_SHARE + (large - SMALL_SHARE) * size.clamp(0, 1) * division.clamp(0, 1)


@torch.no_grad()
def with_votes(
    labels: PseudoLabels,
    votes: Float[Tensor, "G M"],
    needed: Float[Tensor, " G"],
    bags: ProposalBags,
    *,
    mask_stride: int,
) -> PseudoLabels:
    """Replace the first mask of every pseudo label, and its box, by what a vote gives it.

    A label without a valid mask stays so. One keeps its own mask where the vote leaves no cell, and where it
    leaves a sliver that is shared by masks which part otherwise: less than half of the smallest proposal that
    weighs in earnest. ``labels.picks.label_masks`` does the same with whole pixels. Alternates stay as they
    are, also one that has the very cells that are voted for.

    Args:
        labels: Of the choices.
        votes: ``(G, M)`` weights, adding up to 1 in a bag that is not empty.
        needed: ``(G,)`` weight above which a cell is kept.
        bags: The proposals that vote.
        mask_stride: Input pixels per mask cell, the unit of boxes being input pixels.

    Returns:
        Pseudo labels whose first masks are the cells that more than the needed weight covers, with the
        bounds of those cells as boxes.
    """
    voted, usable = voted_masks(labels.masks[:, 0], votes, needed, bags)
    usable &= labels.mask_valid[:, 0]
    masks = labels.masks.clone()
    masks[:, 0] = torch.where(usable[:, None, None], voted, masks[:, 0])
    boxes = torch.where(
        usable[:, None], masks_to_boxes(voted, stride=mask_stride).to(labels.boxes), labels.boxes
    )
    return replace(labels, masks=masks, boxes=boxes)


@torch.no_grad()
def voted_masks(
    own: Bool[Tensor, "G h w"],
    votes: Float[Tensor, "G M"],
    needed: Float[Tensor, " G"],
    bags: ProposalBags,
) -> tuple[Bool[Tensor, "G h w"], Bool[Tensor, " G"]]:
    """Return the cells that a vote gives every click, and to which clicks it gives any.

    Args:
        own: Masks of the picks, which stay where the vote leaves nothing or a shared sliver.
        votes: ``(G, M)`` weights, adding up to 1 in a bag that is not empty.
        needed: ``(G,)`` weight above which a cell is kept.
        bags: The proposals that vote.
    """
    if votes.shape[1] == 0:
        return own, own.new_zeros(len(own))
    voted, areas = _voted(bags.masks, votes, needed)
    earnest = (votes > 0) & (votes >= _IN_EARNEST * votes.amax(dim=1, keepdim=True))
    smallest = areas.masked_fill(~earnest, torch.inf).amin(dim=1)
    cells = voted.flatten(1).sum(dim=1)
    usable = (cells > 0) & (cells >= smallest / 2)
    return torch.where(usable[:, None, None], voted, own), usable


@torch.no_grad()
def promised_overlap(
    masks: Bool[Tensor, "G h w"], belief: Float[Tensor, "G M"], bags: ProposalBags
) -> Float[Tensor, " G"]:
    """Overlap with the object that a label promises: ``sum_j b_j IoU(label, j)``.

    Args:
        masks: ``(G, h, w)`` one label per click.
        belief: ``(G, M)`` how much proposal j is believed to be the object, adding up to 1.
        bags: The proposals.

    Returns:
        Expected intersections over union in [0, 1]; 0 of an empty label.
    """
    return (belief * bag_mask_iou(masks[:, None], bags.masks)[:, 0]).sum(dim=1)


def _voted(
    masks: Bool[Tensor, "G M h w"], votes: Float[Tensor, "G M"], needed: Float[Tensor, " G"]
) -> tuple[Bool[Tensor, "G h w"], Float[Tensor, "G M"]]:
    """Cells that more than the needed weight covers, and the number of cells of every proposal."""
    size = bags_at_a_time(masks)
    voted, areas = [masks.new_zeros((0, *masks.shape[2:]))], [votes[:0]]
    for some, weights, least in zip(masks.split(size), votes.split(size), needed.split(size), strict=True):
        cells = some.to(votes.dtype)
        # Weights of a bag add up to one but for rounding, and what is needed is not more than it.
        voted.append(torch.einsum("gmhw,gm->ghw", cells, weights) > least.to(votes)[:, None, None] + 1e-6)
        areas.append(cells.sum(dim=(2, 3)))
    return torch.cat(voted), torch.cat(areas)
