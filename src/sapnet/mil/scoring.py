"""Bag scores of the two-branch multiple-instance head (eq. 1 and the scores of eq. 3)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sapnet.structures import BagScores

ClassActivation = Literal["softmax", "sigmoid"]


def _at_least_float32(tensor: Tensor) -> Tensor:
    """Leave half precision before exponentials; float32 and float64 pass through."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def instance_softmax(
    instance_logits: Float[Tensor, "G P C"], valid: Bool[Tensor, "G P"]
) -> Float[Tensor, "G P C"]:
    """Softmax over the valid proposals of each bag, one per class column (S_ins of eq. 1).

    Args:
        instance_logits: ``(G, P, C)`` outputs of the instance branch.
        valid: ``(G, P)`` which proposals are real.

    Returns:
        ``(G, P, C)`` probabilities; 0 at invalid proposals and throughout a bag without any valid
        one. No gradient reaches the logits of invalid proposals.
    """
    invalid = ~valid[..., None]
    logits = _at_least_float32(instance_logits)
    # The lowest finite number, not -inf: a bag of -inf would give NaN values and gradients.
    lowest = torch.finfo(logits.dtype).min
    return logits.masked_fill(invalid, lowest).softmax(dim=1).masked_fill(invalid, 0.0)


def class_probabilities(
    class_logits: Float[Tensor, "*D C"], *, num_classes: int, class_activation: ClassActivation
) -> Float[Tensor, "*D K"]:
    """Class probabilities (S_cls of eq. 1), without the background column if there is one.

    Also the negatives of eq. 7 use it, which pass only through the class branch.

    Args:
        class_logits: ``(..., C)`` with C = K, or C = K + 1 and the background last.
        num_classes: K.
        class_activation: ``softmax`` over all C columns, or an independent ``sigmoid`` for each.

    Returns:
        ``(..., K)`` probabilities.
    """
    logits = _at_least_float32(class_logits)
    probs = logits.softmax(dim=-1) if class_activation == "softmax" else logits.sigmoid()
    return probs[..., :num_classes]


def bag_scores(
    class_logits: Float[Tensor, "G P C"],
    instance_logits: Float[Tensor, "G P C"],
    valid: Bool[Tensor, "G P"],
    *,
    num_classes: int,
    class_activation: ClassActivation = "softmax",
    guidance: Float[Tensor, "G P"] | None = None,
) -> BagScores:
    """Class and instance probabilities of every proposal (eq. 1).

    The paper has C = K columns; the released code has K + 1 in the select pass. With K + 1 the
    class softmax runs over all columns and the background column is dropped afterwards.

    Args:
        class_logits: ``(G, P, C)`` outputs of the class branch.
        instance_logits: ``(G, P, C)`` outputs of the instance branch.
        valid: ``(G, P)`` which proposals are real.
        num_classes: K.
        class_activation: ``softmax`` (eq. 1) or ``sigmoid`` (released code, refine pass).
        guidance: ``(G, P)`` factors S_dis of eq. 2 that enter the product of eq. 3; None: all 1.

    Returns:
        The scores; everything is 0 at invalid proposals, so that a bag without any valid one
        scores 0 and sends no gradient. What the logits hold at invalid proposals never matters.
    """
    invalid = ~valid[..., None]
    class_probs = class_probabilities(
        class_logits.masked_fill(invalid, 0.0), num_classes=num_classes, class_activation=class_activation
    ).masked_fill(invalid, 0.0)
    instance_probs = instance_softmax(instance_logits[..., :num_classes], valid)
    if guidance is None:
        guidance = torch.ones(valid.shape, dtype=class_probs.dtype, device=class_probs.device)
    return BagScores(
        class_probs=class_probs, instance_probs=instance_probs, guidance=guidance.to(class_probs.dtype)
    )


def guide_class_logits(
    class_logits: Float[Tensor, "G P C"], guidance: Float[Tensor, "G P"]
) -> Float[Tensor, "G P C"]:
    """The released code's place for the guidance: it multiplies the class logits before the softmax.

    Negative logits are thereby raised towards 0. The result feeds ``bag_scores`` for the loss of
    eq. 3 only; the selection uses the unguided logits (``apply_to: logits``).

    Args:
        class_logits: ``(G, P, C)`` outputs of the class branch.
        guidance: ``(G, P)`` factors of eq. 2.

    Returns:
        ``(G, P, C)`` logits.
    """
    return class_logits * guidance[..., None].to(class_logits.dtype)


def scores_at_label(scores: Float[Tensor, "G P K"], labels: Int[Tensor, " G"]) -> Float[Tensor, "G P"]:
    """Scores of every proposal for the annotated class of its prompt.

    Args:
        scores: ``(G, P, K)`` scores.
        labels: ``(G,)`` class labels 0..K-1.

    Returns:
        ``(G, P)`` scores.
    """
    index = labels[:, None, None].expand(-1, scores.shape[1], 1)
    return scores.gather(2, index)[..., 0]
