"""Fixed-size features of boxes: RoIAlign on pyramid levels or on all backbone stages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torchvision.ops import roi_align

FINEST_SCALE = 56
"""Boxes of up to twice this scale sqrt(w * h), in pixels, use the finest pyramid level (FPN)."""


class RegionPooler(nn.Module):
    """RoIAlign for boxes of several images; rows come out in the order of the boxes.

    Args:
        strides: Input pixels per cell of the maps that ``forward`` receives, finest first.
        roi_size: Output cells per side.
        mode: ``pyramid``: each box uses the level ``floor(log2(sqrt(area) / 56))``, clamped
            (paper); ``backbone``: each box uses every map and the channels are concatenated.
        pooling: ``box``: all cells count (paper); ``mask``: cells are weighted with the box's mask,
            so that the average over the cells is the average over the mask.
        samples: RoIAlign samples per side of an output cell; a fixed number bounds the work of
            large boxes.
        chunk: Boxes pooled at once, which bounds temporary memory. On the CPU some 16 kB per box and map
            stay until the backward pass.
    """

    def __init__(
        self,
        strides: Sequence[int],
        *,
        roi_size: int = 7,
        mode: Literal["pyramid", "backbone"] = "backbone",
        pooling: Literal["box", "mask"] = "box",
        samples: int = 2,
        chunk: int = 1024,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.roi_size = roi_size
        self.mode = mode
        self.pooling = pooling
        self.samples = samples
        self.chunk = chunk

    def out_channels(self, channels: Sequence[int]) -> int:
        """Return the channels of the result for maps of the given channels."""
        return sum(channels) if self.mode == "backbone" else channels[0]

    def forward(
        self,
        features: Sequence[Float[Tensor, "B _ _ _"]],
        boxes: Float[Tensor, "n 4"],
        image_index: Int[Tensor, " n"],
        masks: Bool[Tensor, "m h w"] | None = None,
        mask_index: Int[Tensor, " n"] | None = None,
        *,
        mask_boxes: Float[Tensor, "m 4"] | None = None,
        mask_stride: int = 4,
    ) -> Float[Tensor, "n D r r"]:
        """Pool the features of n boxes.

        Args:
            features: One map per entry of ``strides``.
            boxes: ``xyxy`` in input pixels, of any images in any order.
            image_index: The image of every box.
            masks: Masks that ``pooling='mask'`` uses, at ``mask_stride``; ignored otherwise.
            mask_index: Row of ``masks`` of every box, -1 for a box without a mask (all its cells
                count). Absent: box i has mask i.
            mask_boxes: The box of every mask. Where given, a box borrows the *shape* of its mask,
                stretched from the mask's box to its own; otherwise masks are looked up in place.
            mask_stride: Input pixels per mask cell.

        Returns:
            ``(n, D, roi_size, roi_size)``; n = 0 is legal.
        """
        rois = torch.cat((image_index[:, None].to(boxes.dtype), boxes), dim=1)
        chunks = [self._pool(features, part) for part in rois.split(self.chunk)]
        pooled = torch.cat(chunks) if len(chunks) != 1 else chunks[0]
        if self.pooling == "box" or masks is None or len(boxes) == 0:
            return pooled
        if mask_index is None:
            mask_index = torch.arange(len(boxes), device=boxes.device)
        # A shape is read in the mask's own box and then used in the borrower's.
        places = boxes if mask_boxes is None else mask_boxes[mask_index.clamp_min(0)]
        weights = [
            self._mask_weights(part, masks, index, mask_stride)
            for part, index in zip(places.split(self.chunk), mask_index.split(self.chunk), strict=True)
        ]
        return pooled * torch.cat(weights)

    def _pool(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        size, samples = self.roi_size, self.samples
        if self.mode == "backbone":
            maps = [
                align_regions(feature, rois, size, stride=stride, samples=samples)
                for feature, stride in zip(features, self.strides, strict=True)
            ]
            return torch.cat(maps, dim=1)
        levels = box_levels(rois[:, 1:], len(self.strides))
        pooled = features[0].new_zeros(len(rois), features[0].shape[1], size, size)
        for level, (feature, stride) in enumerate(zip(features, self.strides, strict=True)):
            index = (levels == level).nonzero()[:, 0]
            part = align_regions(feature, rois[index], size, stride=stride, samples=samples)
            pooled = pooled.index_copy(0, index, part)
        return pooled

    def _mask_weights(self, boxes: Tensor, masks: Tensor, index: Tensor, mask_stride: int) -> Tensor:
        """Soft masks of the boxes, scaled to mean 1; all 1 without a mask or where it misses the box."""
        own = masks[index.clamp_min(0)] if len(masks) else masks.new_zeros(len(boxes), 1, 1)
        rows = torch.arange(len(boxes), device=boxes.device, dtype=boxes.dtype)
        rois = torch.cat((rows[:, None], boxes), dim=1)
        own = own[:, None].to(boxes.dtype)
        soft = roi_align(own, rois, self.roi_size, 1 / mask_stride, self.samples, aligned=True)
        mean = soft.mean(dim=(-2, -1), keepdim=True)
        usable = (mean > 0) & (index >= 0)[:, None, None, None]
        return torch.where(usable, soft / mean.clamp_min(torch.finfo(soft.dtype).tiny), torch.ones_like(soft))


def align_regions(
    feature: Float[Tensor, "B C h w"], rois: Float[Tensor, "n 5"], size: int, *, stride: int, samples: int
) -> Float[Tensor, "n C r r"]:
    """RoIAlign (Mask R-CNN, section 3; the aligned variant of half-pixel centres).

    On a GPU this is torchvision's operator. On the CPU the same sums are one product of a sparse matrix,
    a row per output cell, with the map, because torchvision's backward pass there would take longer than
    the rest of a training step.

    Args:
        feature: Feature maps of the batch.
        rois: Image index and ``xyxy`` in input pixels.
        size: Output cells per side, r.
        stride: Input pixels per feature cell.
        samples: Samples per side of an output cell, at least 1.

    Returns:
        ``(n, C, size, size)`` in the order of ``rois``, summed in their type, which may be wider than that of
        ``feature``, and returned in the latter. Boxes get no gradient.
    """
    if feature.device.type != "cpu":
        wide = roi_align(feature.to(rois.dtype), rois, size, 1 / stride, samples, aligned=True)
        return wide.to(feature.dtype)
    batch, channels, height, width = feature.shape
    weights = _sampling_matrix(rois, (batch, height, width), size, stride, samples)
    with torch.autocast("cpu", enabled=False):
        flat = feature.to(rois.dtype).permute(0, 2, 3, 1).reshape(-1, channels)
        cells = torch.sparse.mm(weights, flat)
    return cells.to(feature.dtype).view(len(rois), size, size, channels).permute(0, 3, 1, 2)


@torch.no_grad()
def _sampling_matrix(
    rois: Tensor, shape: tuple[int, int, int], size: int, stride: int, samples: int
) -> Tensor:
    """Sparse weights ``(n * size * size, B * h * w)`` of the maps' cells in the output cells."""
    _, height, width = shape
    columns, across = _sampling_weights(rois[:, [1, 3]], size, width, stride, samples)
    rows, down = _sampling_weights(rois[:, [2, 4]], size, height, stride, samples)
    first = rois[:, 0].long() * (height * width)
    # (n, r, r, k, k): bilinear sampling on a grid is separable.
    cells = (rows * width)[:, :, None, :, None] + columns[:, None, :, None, :]
    cells = cells + first[:, None, None, None, None]
    weights = down[:, :, None, :, None] * across[:, None, :, None, :]
    outputs = torch.arange(len(rois) * size**2).repeat_interleave((2 * samples) ** 2)
    return torch.sparse_coo_tensor(
        torch.stack((outputs, cells.flatten())),
        weights.flatten(),
        (len(rois) * size**2, math.prod(shape)),
        check_invariants=False,
    )


def _sampling_weights(
    span: Tensor, size: int, length: int, stride: int, samples: int
) -> tuple[Int[Tensor, "n r k"], Float[Tensor, "n r k"]]:
    """Which of a map's cells count in each output cell along one axis, and how much.

    Each of the ``samples`` samples has the cells before and after it, so ``k = 2 * samples``.
    """
    scaled = span / stride - 0.5
    step = (scaled[:, 1:] - scaled[:, :1]) / (size * samples)
    position = scaled[:, :1] + step * (torch.arange(size * samples) + 0.5)
    # Samples more than a cell outside count 0; those just outside repeat the border.
    counts = (position >= -1) & (position <= length)
    position = position.clamp(0, length - 1)
    # What is not a number must reach the loss, which names its image, and not the index of a cell.
    before = torch.where(counts, position.floor(), torch.zeros_like(position))
    after = position - before
    cells = torch.stack((before, (before + 1).clamp_max(length - 1)), dim=-1).long()
    weights = torch.stack((1 - after, after), dim=-1) * (counts.to(position.dtype) / samples)[..., None]
    shape = (len(span), size, 2 * samples)
    return cells.view(shape), weights.view(shape)


def box_levels(boxes: Float[Tensor, "n 4"], num_levels: int) -> Int[Tensor, " n"]:
    """Return the pyramid level of each box: ``floor(log2(sqrt(area) / 56))``, clamped (FPN, eq. 1).

    Args:
        boxes: ``xyxy`` in input pixels.
        num_levels: Number of levels; level 0 is the finest.
    """
    width = (boxes[:, 2] - boxes[:, 0]).clamp_min(0)
    height = (boxes[:, 3] - boxes[:, 1]).clamp_min(0)
    # The small constant keeps a box of exactly 56 * 2**k pixels on level k.
    level = torch.floor(torch.log2((width * height).sqrt() / FINEST_SCALE + 1e-6))
    return level.clamp(0, num_levels - 1).long()
