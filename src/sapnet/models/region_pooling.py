"""Fixed-size features of boxes: RoIAlign on pyramid levels or on all backbone stages."""

from __future__ import annotations

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
        samples: RoIAlign samples per side of an output cell. A fixed number bounds the work of
            large boxes; 0 takes about one per feature cell.
        chunk: Boxes pooled at once, which bounds temporary memory.
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
        weights = [
            self._mask_weights(part, masks, index, mask_stride)
            for part, index in zip(boxes.split(self.chunk), mask_index.split(self.chunk), strict=True)
        ]
        return pooled * torch.cat(weights)

    def _pool(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        size, samples = self.roi_size, self.samples
        if self.mode == "backbone":
            maps = [
                roi_align(feature, rois, size, 1 / stride, samples, aligned=True)
                for feature, stride in zip(features, self.strides, strict=True)
            ]
            return torch.cat(maps, dim=1)
        levels = box_levels(rois[:, 1:], len(self.strides))
        pooled = features[0].new_zeros(len(rois), features[0].shape[1], size, size)
        for level, (feature, stride) in enumerate(zip(features, self.strides, strict=True)):
            index = (levels == level).nonzero()[:, 0]
            part = roi_align(feature, rois[index], size, 1 / stride, samples, aligned=True)
            pooled = pooled.index_copy(0, index, part)
        return pooled

    def _mask_weights(self, boxes: Tensor, masks: Tensor, index: Tensor, mask_stride: int) -> Tensor:
        """Soft masks of the boxes, scaled to mean 1; all 1 without a mask or where it misses the box."""
        own = masks[index.clamp_min(0)] if len(masks) else masks.new_zeros(len(boxes), 1, 1)
        rows = torch.arange(len(boxes), device=boxes.device, dtype=boxes.dtype)
        soft = roi_align(
            own[:, None].to(boxes.dtype),
            torch.cat((rows[:, None], boxes), dim=1),
            self.roi_size,
            1 / mask_stride,
            self.samples,
            aligned=True,
        )
        mean = soft.mean(dim=(-2, -1), keepdim=True)
        usable = (mean > 0) & (index >= 0)[:, None, None, None]
        return torch.where(usable, soft / mean.clamp_min(torch.finfo(soft.dtype).tiny), torch.ones_like(soft))


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
