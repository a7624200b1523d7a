"""The feature pyramid network (FPN) with group normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sapnet.models.layers import conv_norm

FIRST_STRIDE = 4
"""Input pixels per cell of the finest level P2."""


class FeaturePyramid(nn.Module):
    """Levels P2, P3, ... from backbone stages at strides 4, 8, 16 and 32.

    A 1x1 convolution brings each stage to ``channels``, coarser levels are added to finer ones from
    the top down, and a 3x3 convolution smooths each sum. Levels beyond the stages come from 3x3
    convolutions of stride 2: the first on the deepest *backbone* stage, any further one on the
    level before it. Every convolution is followed by group normalisation instead of a bias
    (reference configuration of SAPNet; the paper only says FPN).

    Args:
        in_channels: Channels of the backbone stages, finest first.
        channels: Channels of every level.
        num_levels: Number of levels, at least one per stage or fewer (then the coarsest are
            computed for the top-down path only and not returned).
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 128, num_levels: int = 5) -> None:
        super().__init__()
        num_stages = len(in_channels)
        self.laterals = nn.ModuleList(conv_norm(count, channels, 1) for count in in_channels)
        self.outputs = nn.ModuleList(
            conv_norm(channels, channels, 3) for _ in range(min(num_stages, num_levels))
        )
        self.extras = nn.ModuleList(
            conv_norm(channels if extra else in_channels[-1], channels, 3, stride=2)
            for extra in range(max(0, num_levels - num_stages))
        )
        self.channels = channels
        """Channels of every level."""
        self.strides = tuple(FIRST_STRIDE * 2**level for level in range(num_levels))
        """Input pixels per cell of every level."""

    def forward(self, features: Sequence[Float[Tensor, "B _ _ _"]]) -> tuple[Float[Tensor, "B C _ _"], ...]:
        """Compute the levels, finest first.

        Args:
            features: Backbone stages, finest first; sizes need not be exact multiples.

        Returns:
            ``num_levels`` maps of ``channels`` channels.
        """
        merged = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        for level in range(len(merged) - 1, 0, -1):
            upsampled = F.interpolate(merged[level], size=merged[level - 1].shape[-2:], mode="nearest")
            merged[level - 1] = merged[level - 1] + upsampled
        levels = [output(feature) for output, feature in zip(self.outputs, merged, strict=False)]
        source = features[-1]
        for extra in self.extras:
            source = extra(source)
            levels.append(source)
        return tuple(levels)
