"""What speaks for a proposal before anything is learned: its size, its proposer's score, a second opinion.

Not in the paper. Among proposals that cover no other click of the class the whole object is rarely
the smallest; a proposer's score, even where it prefers parts, is seldom without information; and two
proposers err in different places (ADR 0011).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from sapnet.structures import ProposalBags

_SMALLEST = 1e-6
"""Stands in for the largest value of a bag that has none."""
_LEAST_OPINION = 1e-3
"""A second proposer that overlaps a proposal nowhere does not rule it out alone."""


@torch.no_grad()
def proposal_prior(
    bags: ProposalBags,
    *,
    size_exponent: float,
    proposer_exponent: float = 0.0,
    opinion_exponent: float = 0.0,
) -> Float[Tensor, "G M"]:
    """Relative size, relative proposer score and relative second opinion, each to a power.

    ``(area / largest area)^a (score / highest score)^b max(opinion / highest opinion, .001)^c`` within each
    bag; a quotient whose divisor is 0 is 1.

    Args:
        bags: The proposals; negative proposer scores count as 0.
        size_exponent: a; 0 leaves the size out.
        proposer_exponent: b; 0 leaves the proposer's score out.
        opinion_exponent: c; 0 leaves the second opinion out.

    Returns:
        ``(G, M)`` factors in [0, 1]; 0 at invalid proposals.
    """
    size = _relative(bags.area, bags.valid) ** size_exponent
    score = _relative(bags.scores, bags.valid) ** proposer_exponent
    opinion = _relative(bags.opinions, bags.valid).clamp_min(_LEAST_OPINION) ** opinion_exponent
    return (size * score * opinion).masked_fill(~bags.valid, 0.0)


def _relative(values: Float[Tensor, "G M"], valid: Bool[Tensor, "G M"]) -> Float[Tensor, "G M"]:
    """Values as a share of the largest valid one of their bag; 1 throughout a bag of zeros."""
    values = values.clamp_min(0).masked_fill(~valid, 0.0)
    largest = pad(values, (0, 1)).amax(dim=1, keepdim=True)
    return torch.where(largest > _SMALLEST, values / largest.clamp_min(_SMALLEST), 1.0)
