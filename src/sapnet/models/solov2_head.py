"""The SOLOv2 head: categories and dynamic mask kernels for every cell of a grid over the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sapnet.models.layers import conv_norm, initialise_output, with_coordinates
from sapnet.models.mask_features import MaskFeatures
from sapnet.structures import SegmentationOutputs

CATEGORY_PRIOR = 0.01
"""Initial probability of every category (SOLOv2, as in RetinaNet)."""


class Solov2Head(nn.Module):
    """Category and kernel branches on every pyramid level, and the mask feature branch (SOLOv2).

    Every level is resized to its ``head_strides`` entry, then to an S x S grid over the *whole padded
    input*; the towers are shared between levels. The kernel branch sees two coordinate channels.

    Args:
        in_channels: Channels of the pyramid.
        num_classes: K.
        level_strides: Input pixels per cell of the pyramid levels.
        num_grids: S of every level.
        head_strides: Strides to which the levels are resized before the grid is formed.
        head_channels: Channels of the two towers.
        head_convs: Convolutions per tower.
        mask_channels: Channels of the mask feature branch.
        kernel_channels: D, the length of a dynamic 1x1 kernel.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        level_strides: Sequence[int],
        num_grids: Sequence[int] = (40, 36, 24, 16, 12),
        head_strides: Sequence[int] = (8, 8, 16, 32, 32),
        head_channels: int = 128,
        head_convs: int = 2,
        mask_channels: int = 64,
        kernel_channels: int = 64,
    ) -> None:
        super().__init__()
        self.level_strides = tuple(level_strides)
        self.num_grids = tuple(num_grids)
        self.head_strides = tuple(head_strides)
        self.category_tower = _tower(in_channels, head_channels, head_convs)
        self.kernel_tower = _tower(in_channels + 2, head_channels, head_convs)
        width = head_channels if head_convs else in_channels
        self.category_output = nn.Conv2d(width, num_classes, 3, padding=1)
        self.kernel_output = nn.Conv2d(
            width if head_convs else in_channels + 2, kernel_channels, 3, padding=1
        )
        initialise_output(self.category_output, CATEGORY_PRIOR)
        initialise_output(self.kernel_output)
        self.mask_features = MaskFeatures(
            in_channels, mask_channels, kernel_channels, num_levels=min(4, len(self.level_strides))
        )

    def forward(self, levels: Sequence[Float[Tensor, "B C _ _"]]) -> SegmentationOutputs:
        """Compute category logits, kernels and mask features.

        Args:
            levels: The pyramid, finest first.

        Returns:
            Category logits and kernels of every level, row-major grids over the padded input, and
            mask features at stride 4.
        """
        categories, kernels = [], []
        for level, grid, stride, wanted in zip(
            levels, self.num_grids, self.level_strides, self.head_strides, strict=True
        ):
            resized = _resize_level(level, stride, wanted)
            category, kernel = self._towers(resized, grid)
            categories.append(category)
            kernels.append(kernel)
        return SegmentationOutputs(tuple(categories), tuple(kernels), self.mask_features(levels))

    def _towers(self, level: Tensor, grid: int) -> tuple[Tensor, Tensor]:
        # The coordinates are appended before the resizing, so a grid cell sees the position of the
        # pixels that it interpolates.
        cells = F.interpolate(
            with_coordinates(level), size=(grid, grid), mode="bilinear", align_corners=False
        )
        category = self.category_output(self.category_tower(cells[:, :-2]))
        return category, self.kernel_output(self.kernel_tower(cells))


def dynamic_masks(
    kernels: Float[Tensor, "n D"], mask_features: Float[Tensor, "D h w"]
) -> Float[Tensor, "n h w"]:
    """Convolve the mask features of one image with n dynamic 1x1 kernels (SOLOv2, 3.2.3).

    Args:
        kernels: One kernel per object, no bias.
        mask_features: The mask features of the objects' image.

    Returns:
        Mask logits at the stride of the mask features; n = 0 is legal.
    """
    depth, height, width = mask_features.shape
    return (kernels @ mask_features.reshape(depth, height * width)).reshape(-1, height, width)


def _tower(in_channels: int, channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(
        *(conv_norm(channels if step else in_channels, channels, 3, activate=True) for step in range(count))
    )


def _resize_level(level: Tensor, stride: int, wanted: int) -> Tensor:
    if stride == wanted:
        return level
    height, width = level.shape[-2:]
    # Ceiling division keeps at least one cell, whatever the size of the image.
    size = (-(-height * stride // wanted), -(-width * stride // wanted))
    return F.interpolate(level, size=size, mode="bilinear", align_corners=False)
