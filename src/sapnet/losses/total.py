"""From sums and counts to the total loss (eq. 8 and 9)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sapnet.losses.mil import beta
from sapnet.structures import LossSums


@dataclass(frozen=True)
class LossCounts:
    """What the sums are divided by: added up over all processes, detached."""

    num_prompts: Float[Tensor, ""]
    num_negatives: Float[Tensor, ""]
    num_positive_cells: Float[Tensor, ""]
    selected_score_sum: Float[Tensor, ""]

    @classmethod
    def of(cls, sums: LossSums) -> LossCounts:
        """The counts of one process, to be added up over processes if there are several.

        Args:
            sums: The sums of the process.

        Returns:
            Its detached counts.
        """
        return cls(
            num_prompts=sums.num_prompts.detach(),
            num_negatives=sums.num_negatives.detach(),
            num_positive_cells=sums.num_positive_cells.detach(),
            selected_score_sum=sums.selected_score_sum.detach(),
        )


@dataclass(frozen=True)
class LossMeans:
    """The normalised losses, each without its weight in eq. 9, and their weighted total."""

    selection: Float[Tensor, ""]
    """L_psm (eq. 3)."""
    refinement: Float[Tensor, ""]
    """L_prm (eq. 8)."""
    refinement_positive: Float[Tensor, ""]
    """L_pos (eq. 5)."""
    refinement_negative: Float[Tensor, ""]
    """L_neg (eq. 7, with beta)."""
    category: Float[Tensor, ""]
    """SOLOv2's focal loss over positive cells + 1."""
    mask: Float[Tensor, ""]
    """SOLOv2's Dice loss over positive cells."""
    total: Float[Tensor, ""]
    """L_total (eq. 9)."""


def total_loss(
    sums: LossSums,
    counts: LossCounts | None = None,
    *,
    refinement_positive_weight: float = 0.25,
    selection_weight: float = 0.25,
    refinement_weight: float = 1.0,
    mask_weight: float = 3.0,
    category_weight: float = 1.0,
) -> LossMeans:
    """Normalise the sums and combine them (eq. 8 and 9).

    With several processes every process passes its own sums and the counts of all: its result is
    then its *share* of the loss, the shares add up to the loss of the joint batch, and gradients
    that are averaged over processes must be multiplied by the number of processes.

    Counts of 0 are legal and give losses of 0. The refine pass's negatives are divided by their
    number |U| (paper; the released code divides by the number of prompts).

    Args:
        sums: Differentiable sums of this process.
        counts: Counts over all processes; None: those of ``sums``.
        refinement_positive_weight: alpha of eq. 8.
        selection_weight: lambda of eq. 9.
        refinement_weight: Weight of L_prm in eq. 9 (paper: 1).
        mask_weight: Weight of the Dice loss in eq. 9 (paper: 1; released code: 3).
        category_weight: Weight of the category focal loss in eq. 9 (paper: 1).

    Returns:
        The means and the total; gradients flow through all of them.
    """
    counts = LossCounts.of(sums) if counts is None else counts
    num_prompts = counts.num_prompts.clamp_min(1)
    selection = sums.selection / num_prompts
    positive = sums.refinement_positive / num_prompts
    negative = (
        beta(counts.selected_score_sum, counts.num_prompts)
        * sums.refinement_negative
        / counts.num_negatives.clamp_min(1)
    )
    alpha = refinement_positive_weight
    refinement = alpha * positive + (1 - alpha) * negative
    category = sums.category / (counts.num_positive_cells + 1)
    mask = sums.mask / counts.num_positive_cells.clamp_min(1)
    total = mask_weight * mask + category_weight * category
    total = total + selection_weight * selection + refinement_weight * refinement
    return LossMeans(
        selection=selection,
        refinement=refinement,
        refinement_positive=positive,
        refinement_negative=negative,
        category=category,
        mask=mask,
        total=total,
    )
