"""Matrix NMS: soft suppression of duplicate masks in one step (SOLOv2, 3.3.3)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sapnet.ops.masks import pairwise_mask_iou


def matrix_nms(
    masks: Bool[Tensor, "n h w"],
    labels: Int[Tensor, " n"],
    scores: Float[Tensor, " n"],
    *,
    kernel: Literal["gaussian", "linear"] = "gaussian",
    sigma: float = 2.0,
) -> Float[Tensor, " n"]:
    """Return the scores after decay by better masks of the same label.

    For mask j the decay is ``min over better i of f(iou_ij) / f(max over better k of iou_ki)``:
    a mask i that is itself suppressed suppresses less. ``f(x) = exp(-sigma x^2)`` or ``1 - x``.
    Equal scores count as ordered by index.

    Args:
        masks: Binary masks on any one grid.
        labels: Classes.
        scores: Scores, in any order.
        kernel: The decay function f.
        sigma: Steepness of the gaussian kernel.

    Returns:
        Decayed scores, in the order given; n = 0 is legal.
    """
    count = len(scores)
    if count == 0:
        return scores.clone()
    order = scores.sort(descending=True, stable=True).indices
    sorted_masks, sorted_labels = masks[order], labels[order]
    # Row i, column j: the overlap of j with a better i of its label, else 0.
    overlap = pairwise_mask_iou(sorted_masks, sorted_masks).triu(diagonal=1)
    overlap = overlap * (sorted_labels[:, None] == sorted_labels[None])
    suppressed = overlap.amax(dim=0)[:, None]
    if kernel == "gaussian":
        ratio = torch.exp(-sigma * (overlap.square() - suppressed.square()))
    else:
        # An exact duplicate i of a better mask has f = 0: it suppresses nothing.
        ratio = (1 - overlap) / (1 - suppressed).clamp_min(torch.finfo(scores.dtype).eps)
    # Where i does not bear on j the overlap is 0 and the ratio at least 1, so only real pairs decay.
    decay = ratio.amin(dim=0).clamp_max(1.0)
    decayed = torch.empty_like(scores)
    decayed[order] = scores[order] * decay
    return decayed
