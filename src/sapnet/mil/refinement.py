"""The pick of the refine pass (PRM, section 3.4): among all positives, then back to a proposal."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sapnet.mil.scoring import ClassActivation, bag_scores, scores_at_label
from sapnet.mil.selection import best_valid_index, take_rows
from sapnet.ops.boxes import bag_iou
from sapnet.structures import BagScores, ProposalBags, Regions, Selection


def positive_guidance(
    guidance: Float[Tensor, "G M"], selection: Selection, *, num_positives: int
) -> Float[Tensor, "G P"]:
    """Guidance factors of all positives: proposals keep theirs, generated boxes take the selection's.

    Args:
        guidance: ``(G, M)`` factors of the proposals (eq. 2).
        selection: What the boxes were generated from.
        num_positives: P, at least M.

    Returns:
        ``(G, P)`` factors.
    """
    generated = num_positives - guidance.shape[1]
    inherited = selection.guidance.to(guidance.dtype)[:, None].expand(-1, generated)
    return torch.cat([guidance, inherited], dim=1)


@torch.no_grad()
def picking_scores(
    class_logits: Float[Tensor, "G P C"],
    instance_logits: Float[Tensor, "G P C"],
    valid: Bool[Tensor, "G P"],
    *,
    num_classes: int,
    class_activation: ClassActivation = "softmax",
    use_instances: bool = True,
    prior: Float[Tensor, "G P"] | None = None,
    guidance: Float[Tensor, "G P"] | None = None,
) -> BagScores:
    """Scores by which a pass picks; they may differ from those it is trained with.

    The paper picks with the product of eq. 3. On a few hundred photographs the instance probability
    prefers the most discriminative part, and a class score alone cannot tell a part from the whole;
    what is known before any learning (``mil.prior``) can.

    Args:
        class_logits: ``(G, P, C)`` outputs of the class branch.
        instance_logits: ``(G, P, C)`` outputs of the instance branch.
        valid: ``(G, P)`` which boxes are real.
        num_classes: K.
        class_activation: ``softmax`` (paper) or ``sigmoid``.
        use_instances: Multiply with the instance probability (paper).
        prior: ``(G, P)`` factors of ``mil.prior.proposal_prior``; None: none (paper).
        guidance: ``(G, P)`` factors of eq. 2; None: not guided.

    Returns:
        Scores without gradient, for ``select``, ``refine``, box mining and the ranking of masks. The
        size factor is part of ``instance_probs``.
    """
    scores = bag_scores(
        class_logits,
        instance_logits,
        valid,
        num_classes=num_classes,
        class_activation=class_activation,
        guidance=guidance,
    )
    present = valid[..., None].to(scores.class_probs.dtype)
    factor = scores.instance_probs if use_instances else present.expand_as(scores.class_probs)
    if prior is not None:
        factor = factor * prior[..., None].to(factor.dtype)
    return BagScores(class_probs=scores.class_probs, instance_probs=factor, guidance=scores.guidance)


@torch.no_grad()
def refine(scores: BagScores, regions: Regions, bags: ProposalBags, labels: Int[Tensor, " G"]) -> Selection:
    """Pick the positive box that scores highest for the annotated class, and a proposal for it.

    Args:
        scores: ``picking_scores`` over the P positives.
        regions: The positives: the M proposals of the bag, then the generated boxes.
        bags: The proposals.
        labels: ``(G,)`` annotated classes.

    Returns:
        The selection, without gradient: the picked box, and as ``proposal_index`` the proposal
        itself if one was picked, else the valid proposal whose box overlaps the picked box most
        (the lowest index among equals); -1, zeros and guidance 1 for an empty bag.
    """
    values = scores_at_label(scores.scores, labels)
    # A bag without proposals has nothing to map back to.
    usable = regions.positive_valid & bags.valid.any(dim=1, keepdim=True)
    picked = best_valid_index(values, usable)
    boxes = take_rows(regions.positive_boxes, picked, absent=0.0)
    nearest = best_valid_index(bag_iou(bags.boxes, boxes), bags.valid)
    return Selection(
        boxes=boxes,
        proposal_index=torch.where(picked < bags.valid.shape[1], picked, nearest),
        scores=take_rows(values, picked, absent=0.0),
        guidance=take_rows(scores.guidance, picked, absent=1.0),
    )
