"""What speaks for a proposal before anything is learned: its size and its proposer's score.

Not in the paper. Among proposals that cover no other click of the class the whole object is rarely
the smallest, and a proposer's score, even where it prefers parts, is seldom without information.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from sapnet.structures import ProposalBags

_SMALLEST = 1e-6
"""Stands in for the largest value of a bag that has none."""


@torch.no_grad()
def proposal_prior(
    bags: ProposalBags, *, size_exponent: float, proposer_exponent: float
) -> Float[Tensor, "G M"]:
    """Relative size and relative proposer score, each to a power.

    ``(area / largest area)^a (score / highest score)^b`` within each bag.

    Args:
        bags: The proposals; negative proposer scores count as 0.
        size_exponent: a; 0 leaves the size out.
        proposer_exponent: b; 0 leaves the proposer's score out.

    Returns:
        ``(G, M)`` factors in [0, 1]; 0 at invalid proposals.
    """
    size = _relative(bags.area, bags.valid) ** size_exponent
    score = _relative(bags.scores, bags.valid) ** proposer_exponent
    return (size * score).masked_fill(~bags.valid, 0.0)


def _relative(values: Float[Tensor, "G M"], valid: Bool[Tensor, "G M"]) -> Float[Tensor, "G M"]:
    """Values as a share of the largest valid one of their bag; 1 throughout a bag of zeros."""
    values = values.clamp_min(0).masked_fill(~valid, 0.0)
    largest = pad(values, (0, 1)).amax(dim=1, keepdim=True)
    return torch.where(largest > _SMALLEST, values / largest.clamp_min(_SMALLEST), 1.0)
