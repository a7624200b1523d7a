"""The losses of the SOLOv2 branch on crops: every object is of the one class there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sapnet.losses.segmentation import SegmentationSums
from sapnet.ops.masks import masks_to_boxes
from sapnet.pretraining.crops import ObjectCrop
from sapnet.proposals.builtin.boundary_network import normalise
from sapnet.proposals.builtin.strides import COARSE_STRIDE
from sapnet.structures import PseudoLabels, SegmentationOutputs

_MASK_WEIGHT = 3.0
"""Weight of the mask loss against the category loss (SOLOv2, eq. 4)."""


@dataclass(frozen=True)
class CropBatch:
    """Crops of one size, stacked."""

    images: Float[Tensor, "B 3 S S"]
    """Normalised as the backbone expects them."""
    labels: PseudoLabels
    """The objects of all crops, one mask each at stride 4, all of class 0."""
    known: Float[Tensor, "B h4 w4"]


def stack_crops(crops: Sequence[ObjectCrop]) -> CropBatch:
    """Stack crops of one size.

    A cell belongs to an object that covers at least half of it; of an object that covers half of none,
    the cell that it covers most.

    Args:
        crops: At least one crop.

    Returns:
        The batch, on the CPU; boxes are those of the masks, in pixels of the crop.
    """
    covered = torch.from_numpy(np.concatenate([crop.masks for crop in crops]))
    most = torch.zeros_like(covered, dtype=torch.bool).flatten(1)
    if len(covered):
        most[torch.arange(len(covered)), covered.flatten(1).argmax(1)] = True
    masks = (covered >= 0.5) | most.reshape(covered.shape)
    labels = PseudoLabels(
        labels=torch.zeros(len(masks), dtype=torch.long),
        boxes=masks_to_boxes(masks, stride=COARSE_STRIDE),
        masks=masks[:, None],
        mask_valid=torch.ones(len(masks), 1, dtype=torch.bool),
        image_index=torch.arange(len(crops)).repeat_interleave(
            torch.tensor([len(crop.masks) for crop in crops])
        ),
    )
    images = torch.from_numpy(np.stack([crop.image for crop in crops])).permute(0, 3, 1, 2).float()
    known = torch.from_numpy(np.stack([crop.known for crop in crops]))
    return CropBatch(normalise(images), labels, known)


def crop_losses(
    outputs: SegmentationOutputs,
    batch: CropBatch,
    segmentation_sums: Callable[..., SegmentationSums],
) -> dict[str, Tensor]:
    """Return the losses per positive cell and their weighted sum ``total``; all scalars.

    - category: focal loss over the cells of all grids; cells without an object count as far as it is
      known that there is none;
    - mask: Dice loss of the masks of positive cells.

    Args:
        outputs: What the SOLOv2 head of one class returned for the batch's images.
        batch: The crops.
        segmentation_sums: :func:`sapnet.losses.segmentation.segmentation_sums` with its settings bound.
    """
    sums = segmentation_sums(outputs, batch.labels, known=batch.known)
    count = sums.num_positive_cells.clamp(min=1.0)
    category, mask = sums.category / count, sums.mask / count
    return {"total": category + _MASK_WEIGHT * mask, "category": category, "mask": mask}
