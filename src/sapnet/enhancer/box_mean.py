"""From the scores of a bag to one box: the weighted mean of the best (P2BNet)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class MeanBoxes:
    """One box per click."""

    boxes: Float[Tensor, "G 4"]
    """xyxy in the frame of the bag; all 0 where ``valid`` is False."""
    confidence: Float[Tensor, " G"]
    """Weighted mean of a second score of the same boxes; 0 where ``valid`` is False."""
    valid: Bool[Tensor, " G"]
    """False for a bag without a valid box."""


@torch.no_grad()
def mean_of_best(
    boxes: Float[Tensor, "G V 4"],
    scores: Float[Tensor, "G V"],
    valid: Bool[Tensor, "G V"],
    *,
    count: int,
    confidence: Float[Tensor, "G V"] | None = None,
) -> MeanBoxes:
    """Mean of the boxes with the highest scores, weighted with these: ``sum s b / sum s``.

    Args:
        boxes: ``(G, V, 4)`` xyxy boxes of the bags.
        scores: ``(G, V)`` scores, not negative. Where all of the best are 0 they weigh the same.
        valid: ``(G, V)`` which boxes are real; the others never count.
        count: How many of the best (P2BNet: 7); fewer where a bag has fewer.
        confidence: ``(G, V)`` what is averaged along with the boxes; None: the scores.

    Returns:
        The means, not clipped; the first box wins a tie for the last place.
    """
    ranking = scores.masked_fill(~valid, -1.0)
    # A stable sort, not topk: which of two equal scores topk takes is not defined.
    order = ranking.argsort(dim=1, descending=True, stable=True)[:, : max(1, count)]
    real = valid.gather(1, order)
    weights = scores.gather(1, order).clamp_min(0).masked_fill(~real, 0.0)
    weights = torch.where(weights.sum(dim=1, keepdim=True) > 0, weights, real.to(weights.dtype))
    weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    best = boxes.gather(1, order[..., None].expand(-1, -1, 4)).masked_fill(~real[..., None], 0.0)
    other = (scores if confidence is None else confidence).gather(1, order).masked_fill(~real, 0.0)
    return MeanBoxes(
        boxes=(best * weights[..., None].to(best.dtype)).sum(dim=1),
        confidence=(other * weights).sum(dim=1),
        valid=valid.any(dim=1),
    )
