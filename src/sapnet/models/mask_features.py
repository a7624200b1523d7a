"""The mask feature branch of SOLOv2: one map that every dynamic kernel convolves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sapnet.models.layers import conv_norm, with_coordinates

NUM_LEVELS = 4
"""Pyramid levels P2 to P5 that are fused (SOLOv2, 3.2.2)."""


class MaskFeatures(nn.Module):
    """Fuse P2 to P5 into one mask feature map at stride 4 (SOLOv2, 3.2.2 and figure 3).

    Level i passes i times through a 3x3 convolution, group normalisation, ReLU and a bilinear
    upsampling by two (P2 through one convolution without upsampling); the coarsest gets two
    coordinate channels first. The maps are summed, and a 1x1 convolution with group normalisation
    and ReLU gives the result.

    Args:
        in_channels: Channels of the pyramid.
        mask_channels: Channels of the branch.
        out_channels: Channels of the result, which is the length of a 1x1 dynamic kernel.
        num_levels: How many pyramid levels to fuse.
    """

    def __init__(
        self, in_channels: int, mask_channels: int = 64, out_channels: int = 64, num_levels: int = NUM_LEVELS
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList()
        for level in range(num_levels):
            first = in_channels + 2 * (level == num_levels - 1 and level > 0)
            convolutions = [
                conv_norm(mask_channels if step else first, mask_channels, 3, activate=True)
                for step in range(max(1, level))
            ]
            self.branches.append(nn.ModuleList(convolutions))
        self.output = conv_norm(mask_channels, out_channels, 1, activate=True)
        self.num_levels = num_levels

    def forward(self, levels: Sequence[Float[Tensor, "B C _ _"]]) -> Float[Tensor, "B D h w"]:
        """Compute the mask features.

        Args:
            levels: The pyramid, finest first; levels beyond ``num_levels`` are not used.

        Returns:
            The features, at the size of the finest level (stride 4).
        """
        used = levels[: self.num_levels]
        total: Tensor | None = None
        for level, (feature, branch) in enumerate(zip(used, self.branches, strict=True)):
            if level == self.num_levels - 1 and level > 0:
                feature = with_coordinates(feature)
            for step, convolution in enumerate(cast(nn.ModuleList, branch)):
                feature = convolution(feature)
                if level > 0:
                    # The target's own size, not a factor of two, keeps odd sizes aligned.
                    size = used[level - step - 1].shape[-2:]
                    feature = F.interpolate(feature, size=size, mode="bilinear", align_corners=False)
            total = feature if total is None else total + feature
        return self.output(total)
