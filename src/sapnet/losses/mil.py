"""The multiple-instance losses, as sums (eq. 3 and 5 to 7).

They take probabilities in at least float32. Logarithms are cut off at a tiny probability, so that
neither values nor gradients become infinite, while a perfect prediction still costs exactly 0.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_EPSILON = 1e-12
"""Smallest probability a logarithm sees. Gradients stay finite in float32, and as the derivative
of a softmax or sigmoid is itself proportional to the probability, so do those of the logits."""


def _negative_log(probs: Tensor) -> Tensor:
    """``-log(p)``, finite at 0 and never negative (sums of probabilities may round above 1)."""
    return -probs.clamp(_EPSILON, 1.0).log()


def _one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """``(G, K)`` boolean one-hot labels."""
    return labels[:, None] == torch.arange(like.shape[1], device=like.device)


def _binary_cross_entropy(bag_scores: Tensor, positive: Tensor) -> Tensor:
    """``(G, K)`` cross-entropy of every class on its own."""
    return torch.where(positive, _negative_log(bag_scores), _negative_log(1 - bag_scores))


def selection_loss_sum(
    bag_scores: Float[Tensor, "G K"],
    labels: Int[Tensor, " G"],
    *,
    usable: Bool[Tensor, " G"] | None = None,
) -> Float[Tensor, ""]:
    """Binary cross-entropy of the select pass, summed over classes and prompts (eq. 3, times N).

    Args:
        bag_scores: ``(G, K)`` bag scores in [0, 1].
        labels: ``(G,)`` annotated classes.
        usable: ``(G,)`` which prompts have any proposal; the others score 0 by definition and
            would only add a constant. None: all.

    Returns:
        The sum; divide by the number of usable prompts.
    """
    per_class = _binary_cross_entropy(bag_scores, _one_hot(labels, bag_scores))
    return per_class.sum() if usable is None else per_class[usable].sum()


def annotated_bag_scores(bag_scores: Float[Tensor, "G K"], labels: Int[Tensor, " G"]) -> Float[Tensor, " G"]:
    """Bag scores of the annotated classes, ``<c_i, S^_i>`` of eq. 5 and 6, detached.

    Args:
        bag_scores: ``(G, K)`` bag scores of the select pass.
        labels: ``(G,)`` annotated classes.

    Returns:
        ``(G,)`` weights in [0, 1], without gradient.
    """
    return bag_scores.detach().gather(1, labels[:, None])[:, 0]


def refinement_positive_sum(
    bag_scores: Float[Tensor, "G K"],
    labels: Int[Tensor, " G"],
    weights: Float[Tensor, " G"],
    *,
    gamma: float = 2.0,
    usable: Bool[Tensor, " G"] | None = None,
) -> Float[Tensor, ""]:
    """Weighted focal loss of the positive bags, summed over classes and prompts (eq. 5, times N).

    Per class ``|p - q|^gamma`` times the binary cross-entropy, with q the one-hot label and no
    class balancing (the released code's form of the focal loss; the paper only names it).

    Args:
        bag_scores: ``(G, K)`` bag scores of the refine pass over the positives.
        labels: ``(G,)`` annotated classes.
        weights: ``(G,)`` select-pass bag scores of ``annotated_bag_scores``; used detached.
        gamma: Focusing exponent; 0 gives the plain cross-entropy.
        usable: ``(G,)`` which prompts have any proposal; None: all.

    Returns:
        The sum; divide by the number of usable prompts.
    """
    positive = _one_hot(labels, bag_scores)
    distance = torch.where(positive, 1 - bag_scores, bag_scores)
    # Not below epsilon: the slope of x^gamma at 0 is infinite for gamma < 1.
    focus = distance.clamp_min(_EPSILON) ** gamma
    per_prompt = (focus * _binary_cross_entropy(bag_scores, positive)).sum(dim=1) * weights.detach()
    return per_prompt.sum() if usable is None else per_prompt[usable].sum()


def refinement_negative_sum(class_probs: Float[Tensor, "N K"], *, gamma: float = 2.0) -> Float[Tensor, ""]:
    """Focal loss of the negatives, summed over classes and boxes (eq. 7, times |U| / beta).

    Per class ``-p^gamma log(1 - p)``; negatives pass only through the class branch.

    Args:
        class_probs: ``(N, K)`` class probabilities of the refine pass at the negatives.
        gamma: Focusing exponent (2 in eq. 7).

    Returns:
        The sum; multiply by beta and divide by the number of negatives.
    """
    return (class_probs.clamp_min(_EPSILON) ** gamma * _negative_log(1 - class_probs)).sum()


def beta(selected_score_sum: Float[Tensor, ""], num_prompts: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Mean select-pass bag score of the annotated classes (eq. 6), which weighs the negatives.

    Args:
        selected_score_sum: Sum of ``annotated_bag_scores`` over all prompts of all processes.
        num_prompts: Their number; with 0 the result is 0.

    Returns:
        beta in [0, 1], without gradient.
    """
    return (selected_score_sum / num_prompts.clamp_min(1)).detach()
