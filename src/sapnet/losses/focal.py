"""The focal loss of SOLOv2's category branch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def sigmoid_focal_loss(
    logits: Float[Tensor, "*d"], targets: Float[Tensor, "*d"], *, alpha: float = 0.25, gamma: float = 2.0
) -> Float[Tensor, "*d"]:
    """Focal loss of independent binary outputs, element by element (RetinaNet, eq. 5).

    ``-alpha_t (1 - p_t)^gamma log(p_t)`` with ``p = sigmoid(logit)``; ``p_t = p`` and
    ``alpha_t = alpha`` where the target is 1, else ``1 - p`` and ``1 - alpha``.

    Args:
        logits: Outputs before the sigmoid.
        targets: 0 or 1, same shape.
        alpha: Weight of the ones.
        gamma: Exponent; 0 gives the weighted cross-entropy.

    Returns:
        The losses, same shape, not reduced.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probs = torch.sigmoid(logits)
    wrong = probs + targets - 2 * probs * targets
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    return weight * wrong**gamma * cross_entropy
