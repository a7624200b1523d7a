"""The losses of the SOLOv2 branch on pseudo masks, with multi-mask proposal supervision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sapnet.losses.dice import dice_loss
from sapnet.losses.focal import sigmoid_focal_loss
from sapnet.losses.solov2_targets import GridTargets, assign_targets
from sapnet.models.solov2_head import dynamic_masks
from sapnet.structures import PseudoLabels, SegmentationOutputs

_GOLDEN_RATIO = 0.6180339887498949


@dataclass(frozen=True)
class SegmentationSums:
    """Loss sums of the segmentation branch and their count, for ``LossSums``."""

    category: Float[Tensor, ""]
    """Focal loss over grid cells and classes."""
    mask: Float[Tensor, ""]
    """Weighted Dice losses over positive cells."""
    num_positive_cells: Float[Tensor, ""]
    """Positive cells of the picks (alternates do not count)."""


def segmentation_sums(
    outputs: SegmentationOutputs,
    labels: PseudoLabels,
    *,
    scale_ranges: Sequence[tuple[int, int]],
    center_sigma: float = 0.2,
    mask_stride: int = 4,
    alternate_weight: float = 0.5,
    focal_alpha: float = 0.25,
    focal_gamma: float = 2.0,
    max_positives: int = 1000,
    known: Float[Tensor, "B h w"] | None = None,
) -> SegmentationSums:
    """Sum the category and the mask losses of a batch (L_cls and L_mask of eq. 9; method.md 1.3, 1.8).

    The mask loss is the Dice loss of the pick plus ``alternate_weight / (2 n)`` times that of each
    of the n alternates. The category loss knows the picks only.

    Args:
        outputs: What the head returned.
        labels: Pseudo masks on the grid of ``outputs.mask_features``.
        scale_ranges: Smallest and largest object scale of every level, input pixels.
        center_sigma: Size of the centre region as a share of the object's size.
        mask_stride: Input pixels per mask cell.
        alternate_weight: Weight of the alternates.
        focal_alpha: Alpha of the focal loss.
        focal_gamma: Gamma of the focal loss.
        max_positives: Largest number of masks per image that enter the Dice loss, which bounds
            memory. Beyond it a fixed choice keeps centre cells before their neighbours and picks
            before alternates, and those kept stand for all.
        known: How sure it is, in [0, 1], that all objects of a mask cell are labelled: the category loss
            of a grid cell without a pick is weighted by the mean over the mask cells that it touches.

    Returns:
        Sums and count. Every sum depends on every output, so that unused parameters get zero
        gradients and not none.

    Raises:
        ValueError: The masks are not on the grid of the mask features.
    """
    if labels.masks.shape[-2:] != outputs.mask_features.shape[-2:]:
        raise ValueError(
            f"pseudo masks are {tuple(labels.masks.shape[-2:])} cells, "
            f"mask features {tuple(outputs.mask_features.shape[-2:])}"
        )
    targets = assign_targets(
        labels,
        num_grids=[logits.shape[-1] for logits in outputs.category_logits],
        scale_ranges=scale_ranges,
        center_sigma=center_sigma,
        mask_stride=mask_stride,
    )
    picks = targets[targets.rank == 0]
    focal = partial(sigmoid_focal_loss, alpha=focal_alpha, gamma=focal_gamma)
    category = _category_sum(outputs, picks, labels.labels, focal, known)
    kept, share = limit_positives(targets, max_positives)
    num_alternates = max(1, labels.masks.shape[1] - 1)
    weights = torch.where(kept.rank == 0, 1.0, alternate_weight / (2 * num_alternates)) * share
    mask = _mask_sum(outputs, kept, weights, labels)
    return SegmentationSums(category, mask, mask.new_tensor(float(len(picks))))


def limit_positives(targets: GridTargets, max_positives: int) -> tuple[GridTargets, Float[Tensor, " n"]]:
    """Keep at most ``max_positives`` cells per image, the same ones every time.

    Picks come before alternates, then centre cells before neighbours; a group that does not fit is
    thinned evenly over its objects and levels.

    Args:
        targets: All positive cells.
        max_positives: Largest number per image.

    Returns:
        The kept cells, sorted by image, and for each the number of cells of its image and rank
        that it stands for (1 where nothing was dropped).
    """
    device = targets.cell.device
    if not len(targets):
        return targets, torch.zeros(0, device=device)
    group = (targets.rank > 0).long() * 2 + targets.ring
    order = (targets.image * 4 + group).argsort(stable=True)
    # Multiples of the golden ratio, modulo 1, spread any leading part evenly over the group.
    # On the CPU: not every device has float64.
    spread = torch.arange(len(order), dtype=torch.float64) * _GOLDEN_RATIO % 1.0
    thinned = spread.argsort(stable=True).to(device)
    sorted_group = (targets.image * 4 + group)[order]
    order = order[thinned[sorted_group[thinned].argsort(stable=True)]]
    counts = torch.bincount(targets.image)
    start = counts.cumsum(0) - counts
    place = torch.arange(len(order), device=device) - start[targets.image[order]]
    kept = targets[order[place < max_positives]]

    num_ranks = int(targets.rank.max()) + 1
    all_cells = torch.bincount(targets.image * num_ranks + targets.rank)
    kept_key = kept.image * num_ranks + kept.rank
    kept_cells = torch.bincount(kept_key, minlength=len(all_cells))
    return kept, (all_cells[kept_key] / kept_cells[kept_key]).float()


def _category_sum(
    outputs: SegmentationOutputs,
    picks: GridTargets,
    labels: Tensor,
    focal: Callable[[Tensor, Tensor], Tensor],
    known: Tensor | None,
) -> Tensor:
    total = outputs.mask_features.new_zeros(())
    for level, logits in enumerate(outputs.category_logits):
        own = picks[picks.level == level]
        flat = logits.flatten(2)
        expected = torch.zeros_like(flat)
        expected[own.image, labels[own.prompt], own.cell] = 1.0
        losses = focal(flat, expected)
        if known is not None:
            weight = F.interpolate(known[:, None], size=logits.shape[-2:], mode="area").flatten(2)
            # Whatever is known of its surroundings, a picked object is there.
            losses = losses * weight.where(expected.amax(1, keepdim=True) == 0, 1.0)
        total = total + losses.sum()
    return total


def _mask_sum(
    outputs: SegmentationOutputs, kept: GridTargets, weights: Tensor, labels: PseudoLabels
) -> Tensor:
    kernels = torch.cat([level.flatten(2) for level in outputs.kernels], dim=2)
    sizes = torch.tensor([level.shape[-1] ** 2 for level in outputs.kernels], device=kernels.device)
    column = (sizes.cumsum(0) - sizes)[kept.level] + kept.cell
    # Ties the sum to both branches even without a positive cell.
    total = 0.0 * (outputs.mask_features.sum() + kernels.sum())
    for image, features in enumerate(outputs.mask_features):
        own = (kept.image == image).nonzero()[:, 0]
        if len(own):
            logits = dynamic_masks(kernels[image, :, column[own]].T, features)
            masks = labels.masks[kept.prompt[own], kept.rank[own]].to(logits.dtype)
            total = total + (weights[own] * dice_loss(torch.sigmoid(logits), masks)).sum()
    return total
