"""The losses of the boundary network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sapnet.proposals.builtin.boundary_data import Sample
from sapnet.proposals.builtin.boundary_network import BoundaryOutputs, encode_extents

_BOUNDARY_EMPHASIS = 4.0
"""How much more a cell on a boundary counts than one off it, in the cross-entropy."""
_DICE_SHARE, _INSIDE_SHARE, _EXTENT_SHARE = 0.5, 1.0, 1.0
"""Weights of the Dice, inside and extent losses against the boundary cross-entropy."""


@dataclass(frozen=True)
class TargetBatch:
    """The targets of a batch, stacked; see :class:`sapnet.proposals.builtin.boundary_targets.Targets`."""

    images: Float[Tensor, "B 3 S S"]
    """Grey levels 0..255."""
    boundary: Float[Tensor, "B 2 h2 w2"]
    boundary_weight: Float[Tensor, "B 2 h2 w2"]
    inside: Float[Tensor, "B 1 h4 w4"]
    inside_weight: Float[Tensor, "B 1 h4 w4"]
    distances: Float[Tensor, "B 4 h4 w4"]
    distances_weight: Float[Tensor, "B 1 h4 w4"]


def stack_samples(samples: Sequence[Sample]) -> TargetBatch:
    """Stack crops of one size."""

    def stacked(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(sample.targets, name) for sample in samples]))

    images = np.stack([sample.image for sample in samples]).transpose(0, 3, 1, 2).astype(np.float32)
    return TargetBatch(
        torch.from_numpy(images),
        stacked("boundary"),
        stacked("boundary_weight"),
        stacked("inside"),
        stacked("inside_weight"),
        stacked("distances"),
        stacked("distances_weight"),
    )


def boundary_losses(outputs: BoundaryOutputs, batch: TargetBatch) -> dict[str, Tensor]:
    """Return the loss terms and their weighted sum ``total``; all scalars, 0 where nothing is known.

    - boundary: cross-entropy with the soft targets t, cells weighted 1 + 3t, mean over known cells, plus
      half of a Dice loss per image and map (after Deng et al., "Learning to Predict Crisp Boundaries",
      2018), which wants thin boundaries;
    - inside: cross-entropy, mean over known cells;
    - extent: smooth L1 of the encoded distances, mean over the cells of objects. Each cell counts by the
      inverse root of its object's area, so that large objects do not drown small ones.
    """
    weight = batch.boundary_weight * (1.0 + (_BOUNDARY_EMPHASIS - 1.0) * batch.boundary)
    entropy = F.binary_cross_entropy_with_logits(outputs.boundary_logits, batch.boundary, reduction="none")
    boundary = (entropy * weight).sum() / weight.sum().clamp(min=1.0)
    dice = _dice(outputs.boundary_logits.sigmoid(), batch.boundary, batch.boundary_weight)
    entropy = F.binary_cross_entropy_with_logits(outputs.inside_logits, batch.inside, reduction="none")
    inside = (entropy * batch.inside_weight).sum() / batch.inside_weight.sum().clamp(min=1.0)
    # Left plus right is the width of the object's box, top plus bottom its height.
    sides = batch.distances[:, :2] + batch.distances[:, 2:]
    per_cell = batch.distances_weight / sides.prod(1, keepdim=True).clamp(min=16.0).sqrt()
    error = F.smooth_l1_loss(outputs.extents, encode_extents(batch.distances), reduction="none", beta=0.2)
    extent = (error.mean(1, keepdim=True) * per_cell).sum() / per_cell.sum().clamp(min=1e-3)
    total = boundary + _DICE_SHARE * dice + _INSIDE_SHARE * inside + _EXTENT_SHARE * extent
    return {"boundary": boundary, "dice": dice, "inside": inside, "extent": extent, "total": total}


def _dice(probs: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Return the mean Dice loss over the maps in which something is known."""
    probs, targets = probs * known, targets * known
    common = (probs * targets).sum((2, 3))
    extent = (probs**2).sum((2, 3)) + (targets**2).sum((2, 3))
    loss = 1.0 - (2.0 * common + 1.0) / (extent + 1.0)
    judged = (known.sum((2, 3)) > 0).float()
    return (loss * judged).sum() / judged.sum().clamp(min=1.0)
