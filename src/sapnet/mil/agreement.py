"""Agreement of every proposal with the segmentation branch's own mask at the click.

Not in the paper. Parts and groups differ from object to object while wholes look alike, so a
segmenter trained on noisy picks learns wholes: what it draws at a click tells the whole from its
rivals, a signal of another kind than the class signal of multiple-instance learning.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sapnet.models.solov2_head import dynamic_masks
from sapnet.structures import PointPrompts, ProposalBags, SegmentationOutputs

_NO_DEVIATION = 1e-6
"""Deviations below this count as none."""


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
    """Correlation of every proposal with the mask drawn at its click, around the bag.

    Pearson's correlation over the cells of a window twice the size of the bag's extent. Unlike an
    intersection over union it does not depend on how sure the branch is, which grows in training
    and with the size of the object.

    Args:
        outputs: Raw outputs of the SOLOv2 branch.
        prompts: The clicks, input frame.
        bags: Their proposals, with masks on the grid of the mask features.
        image_sizes: ``(B, 2)`` sizes ``(height, width)`` inside the padding.
        mask_stride: Input pixels per mask cell.

    Returns:
        ``(G, M)`` values in [0, 1], negative correlations raised to 0; 0 at invalid proposals and
        for masks that fill the window or miss it.
    """
    rows, columns = outputs.mask_features.shape[-2:]
    drawn = click_masks(outputs, prompts, (rows * mask_stride, columns * mask_stride))
    masks = bags.masks & bags.valid[:, :, None, None]
    window = _windows(masks.any(dim=1), image_sizes[prompts.image_index] / mask_stride)
    count = window.sum(dim=(-2, -1)).clamp_min(1)
    weights = window.to(drawn.dtype) / count[:, None, None]
    centred = drawn - (drawn * weights).sum(dim=(-2, -1))[:, None, None]
    deviation = (centred**2 * weights).sum(dim=(-2, -1)).clamp_min(0).sqrt()
    share = torch.einsum("gmhw,ghw->gm", masks.to(drawn.dtype), weights)
    covariance = torch.einsum("gmhw,ghw->gm", masks.to(drawn.dtype), centred * weights)
    scale = (share * (1 - share)).clamp_min(0).sqrt() * deviation[:, None]
    correlation = torch.where(scale > _NO_DEVIATION, covariance / scale.clamp_min(_NO_DEVIATION), 0.0)
    return correlation.clamp(0, 1).masked_fill(~bags.valid, 0.0)


def _windows(covered: Bool[Tensor, "G h w"], sizes: Float[Tensor, "G 2"]) -> Bool[Tensor, "G h w"]:
    """Cells of a window twice the extent of the covered ones and one cell more, inside the picture."""

    def along(line: Tensor, limit: Tensor) -> Tensor:
        place = torch.arange(line.shape[1], device=line.device)
        first = torch.where(line, place, line.shape[1]).amin(dim=1)
        last = torch.where(line, place, -1).amax(dim=1)
        reach = (last - first + 1) / 2 + 1
        near = (place >= (first - reach)[:, None]) & (place <= (last + reach)[:, None])
        return near & line.any(dim=1)[:, None] & (place < limit[:, None])

    in_rows = along(covered.any(dim=2), sizes[:, 0])
    in_columns = along(covered.any(dim=1), sizes[:, 1])
    return in_rows[:, :, None] & in_columns[:, None, :]


def _cell(share: Tensor, grid: int) -> Tensor:
    return (share * grid).floor().long().clamp(0, grid - 1)


def _draw(kernels: Tensor, mask_features: Tensor, image: Tensor) -> Tensor:
    """Logits of one mask per prompt, image by image, so that features are not copied per prompt."""
    logits = mask_features.new_zeros(len(kernels), *mask_features.shape[-2:])
    for index, features in enumerate(mask_features):
        own = (image == index).nonzero()[:, 0]
        if len(own):
            logits[own] = dynamic_masks(kernels[own], features).to(logits.dtype)
    return logits
