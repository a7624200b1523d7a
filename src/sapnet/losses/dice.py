"""The Dice loss of SOLOv2's mask branch."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-3
"""Added to each of the two sums in the denominator (reference configuration)."""


def dice_loss(probs: Float[Tensor, "n h w"], targets: Float[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Dice loss of each mask, in the squared form of V-Net (SOLOv2, eq. 6 and 7).

    ``1 - 2 sum(p q) / (sum(p^2) + eps + sum(q^2) + eps)``.

    Args:
        probs: Mask probabilities.
        targets: Masks of 0 and 1.

    Returns:
        One loss in [0, 1] per mask; n = 0 is legal.
    """
    probs, targets = probs.flatten(1), targets.flatten(1)
    overlap = (probs * targets).sum(dim=1)
    squares = probs.square().sum(dim=1) + targets.square().sum(dim=1)
    return 1 - 2 * overlap / (squares + 2 * EPSILON)
