"""Box mining strategy (BMS, section 3.4).

The paper's algorithm 2 is in a supplement that was not available; the merge weights and the order
of the steps are those of the released code, the candidates those of the paper (docs/adr/0005).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sapnet.mil.selection import best_valid_index, take_rows
from sapnet.ops.boxes import bag_iou, box_areas, contains_box
from sapnet.structures import ProposalBags, Selection

CandidateOrder = Literal["refine-score", "proposer-score"]


@torch.no_grad()
def mine_boxes(
    selection: Selection,
    scores: Float[Tensor, "G M"],
    bags: ProposalBags,
    *,
    candidates: int = 3,
    candidate_order: CandidateOrder = "refine-score",
    overlap_threshold: float = 0.6,
    containing_threshold: float = 0.3,
    containing_tolerance: float = 2.0,
    respect_neighbours: bool = True,
) -> Selection:
    """Expand every selected box by merging larger proposals into it, then choose its proposal anew.

    One pass over the candidates g. With b the box so far, ``u = IoU(b, g)``, A the area of the
    proposal merged last (at first: of b) and u* the highest overlap merged so far, g is skipped
    unless ``area(g) > A`` and ``u > u*``. Then ``b <- (g + u b) / (1 + u)`` if
    ``u > overlap_threshold`` (T_min1), else ``b <- (u g + b) / (1 + u)`` if
    ``u > containing_threshold`` (T_min2) and g contains b. Merging never makes a box smaller.

    Args:
        selection: box_select of every prompt.
        scores: ``(G, M)`` refine scores of the proposals for the annotated class.
        bags: The proposals.
        candidates: k.
        candidate_order: The k best by ``scores`` (paper), or the first k (released code).
            Ineligible proposals among them are skipped, not replaced.
        overlap_threshold: T_min1.
        containing_threshold: T_min2.
        containing_tolerance: Input pixels by which b may stick out of g on each side.
        respect_neighbours: Skip proposals that cover another click of the class, both when merging
            and, if the bag has others, when choosing the proposal.

    Returns:
        The selection with the mined boxes. ``proposal_index`` stays where the box did and its
        proposal is eligible; otherwise it is the eligible proposal whose box overlaps the mined
        box most (the lowest index among equals). Where nothing was merged and the proposal changed
        all the same, the box is the new proposal's. Scores and guidance are passed on.
    """
    mergeable = bags.valid & ~bags.covered_points if respect_neighbours else bags.valid
    order = _candidate_order(scores, bags.valid, candidate_order)[:, :candidates]  # (G, k)
    boxes, last_area = selection.boxes, box_areas(selection.boxes)
    best_overlap = torch.zeros_like(last_area)
    for step in range(order.shape[1]):  # each merge depends on the one before
        proposal = take_rows(bags.boxes, order[:, step], absent=0.0)
        overlap, area = bag_iou(proposal[:, None], boxes)[:, 0], box_areas(proposal)
        possible = take_rows(mergeable, order[:, step], absent=False)
        possible &= (area > last_area) & (overlap > best_overlap)
        similar = possible & (overlap > overlap_threshold)
        containing = possible & (overlap > containing_threshold) & ~similar
        containing &= contains_box(proposal, boxes, tolerance=containing_tolerance)
        merged = similar | containing
        proposal_weight = torch.where(similar, 1.0, overlap) / (1 + overlap)
        expanded = torch.lerp(boxes, proposal, proposal_weight[:, None])
        boxes = torch.where(merged[:, None], expanded, boxes)
        last_area = torch.where(merged, area, last_area)
        best_overlap = torch.where(merged, overlap, best_overlap)
    return _with_proposals(boxes, selection, bags, mergeable)


def _candidate_order(
    scores: Float[Tensor, "G M"], valid: Bool[Tensor, "G M"], candidate_order: CandidateOrder
) -> Int[Tensor, "G M"]:
    """Proposals in the order in which they are tried; equal scores keep the order of the bag."""
    if candidate_order == "proposer-score":
        return torch.arange(valid.shape[1], device=valid.device).expand(valid.shape)
    ranked = scores.masked_fill(~valid, -torch.inf)
    return ranked.sort(dim=1, descending=True, stable=True).indices


def _with_proposals(
    boxes: Float[Tensor, "G 4"],
    selection: Selection,
    bags: ProposalBags,
    mergeable: Bool[Tensor, "G M"],
) -> Selection:
    """The mined boxes, each with the proposal that stands for it."""
    eligible = torch.where(mergeable.any(dim=1, keepdim=True), mergeable, bags.valid)
    nearest = best_valid_index(bag_iou(bags.boxes, boxes), eligible)
    still_eligible = take_rows(eligible, selection.proposal_index, absent=False)
    unmoved = (boxes == selection.boxes).all(dim=1)
    keep = unmoved & (still_eligible | (selection.proposal_index < 0))
    index = torch.where(keep, selection.proposal_index, nearest)
    # The box of a proposal that covers a neighbour's click must not stay with another's mask.
    replaced = unmoved & (index != selection.proposal_index)
    boxes = torch.where(replaced[:, None], take_rows(bags.boxes, index, absent=0.0), boxes)
    return replace(selection, boxes=boxes, proposal_index=index)
