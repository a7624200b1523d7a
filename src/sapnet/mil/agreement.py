"""Agreement of every proposal with the segmentation branch's own mask at the click.

Not in the paper. Parts and groups differ from object to object while wholes look alike, so a
segmenter trained on noisy picks learns wholes: what it draws at a click tells the whole from its
rivals, a signal of another kind than the class signal of multiple-instance learning.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sapnet.structures import PointPrompts, ProposalBags, SegmentationOutputs


@torch.no_grad()
def click_masks(
    outputs: SegmentationOutputs,
    prompts: PointPrompts,
    padded_size: tuple[int, int],
) -> Float[Tensor, "G h w"]:
    """What the segmentation branch draws at every click.

    Each level's kernel at the click's grid cell gives a mask; the levels are averaged with their
    category probabilities of the annotated class as weights.

    Args:
        outputs: Raw outputs of the SOLOv2 branch.
        prompts: The clicks, input frame.
        padded_size: (height, width) of the padded input, which the grids cover.

    Returns:
        ``(G, h, w)`` probabilities at the stride of the mask features.
    """
    height, width = padded_size
    share = prompts.xy / prompts.xy.new_tensor([width, height])
    image = prompts.image_index
    masks = outputs.mask_features.new_zeros(len(image), *outputs.mask_features.shape[-2:])
    total = masks.new_zeros(len(image))
    for category_logits, kernels in zip(outputs.category_logits, outputs.kernels, strict=True):
        cell = _cell(share, category_logits.shape[-1])
        weight = torch.sigmoid(category_logits[image, prompts.labels, cell[:, 1], cell[:, 0]])
        own = kernels[image, :, cell[:, 1], cell[:, 0]]  # (G, D)
        masks = masks + weight[:, None, None] * torch.sigmoid(_draw(own, outputs.mask_features, image))
        total = total + weight
    return masks / total.clamp_min(1e-6)[:, None, None]


@torch.no_grad()
def segmenter_agreement(
    outputs: SegmentationOutputs,
    prompts: PointPrompts,
    bags: ProposalBags,
    image_sizes: Int[Tensor, "B 2"],
    *,
    mask_stride: int = 4,
) -> Float[Tensor, "G M"]:
    """Soft intersection over union of every proposal with the mask drawn at its click.

    Args:
        outputs: Raw outputs of the SOLOv2 branch.
        prompts: The clicks, input frame.
        bags: Their proposals, with masks on the grid of the mask features.
        image_sizes: ``(B, 2)`` sizes ``(height, width)`` inside the padding.
        mask_stride: Input pixels per mask cell.

    Returns:
        ``(G, M)`` values in [0, 1]; 0 at invalid proposals.
    """
    rows, columns = outputs.mask_features.shape[-2:]
    drawn = click_masks(outputs, prompts, (rows * mask_stride, columns * mask_stride))
    sizes = image_sizes[prompts.image_index]
    inside_rows = torch.arange(rows, device=drawn.device) * mask_stride < sizes[:, :1]
    inside_columns = torch.arange(columns, device=drawn.device) * mask_stride < sizes[:, 1:]
    drawn = drawn * (inside_rows[:, :, None] & inside_columns[:, None, :])
    masks = bags.masks.to(drawn.dtype)
    intersection = torch.einsum("gmhw,ghw->gm", masks, drawn)
    union = masks.sum(dim=(-2, -1)) + drawn.sum(dim=(-2, -1))[:, None] - intersection
    return (intersection / union.clamp_min(1e-6)).masked_fill(~bags.valid, 0.0)


def _cell(share: Tensor, grid: int) -> Tensor:
    return (share * grid).floor().long().clamp(0, grid - 1)


def _draw(kernels: Tensor, mask_features: Tensor, image: Tensor) -> Tensor:
    """Logits of one mask per prompt, image by image, so that features are not copied per prompt."""
    logits = mask_features.new_zeros(len(kernels), *mask_features.shape[-2:])
    for index, features in enumerate(mask_features):
        own = (image == index).nonzero()[:, 0]
        if len(own):
            logits[own] = torch.einsum("gd,dhw->ghw", kernels[own], features).to(logits.dtype)
    return logits
