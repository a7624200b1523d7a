"""Convolution with group normalisation, and the initialisations that several networks share."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

MAX_GROUPS = 32
"""Groups of every group normalisation (paper: GN(32))."""


def conv_norm(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, activate: bool = False
) -> nn.Sequential:
    """Return a padded convolution without bias, a group normalisation and, if asked for, a ReLU.

    Args:
        in_channels: Input channels.
        out_channels: Output channels. The number of groups is the largest divisor up to 32.
        kernel_size: Odd side of the kernel; the padding keeps the size at stride 1.
        stride: Stride of the convolution.
        activate: Append a ReLU.
    """
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=False
    )
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    layers: list[nn.Module] = [convolution, nn.GroupNorm(math.gcd(MAX_GROUPS, out_channels), out_channels)]
    if activate:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def initialise_output(layer: nn.Conv2d | nn.Linear, prior: float = 0.5) -> None:
    """Draw weights from a normal distribution of deviation 0.01 and set the bias to a prior.

    Args:
        layer: A convolution or linear layer with a bias.
        prior: The probability a sigmoid of the output shows at the start (RetinaNet uses 0.01 so
            that the many background cells do not swamp the first steps).
    """
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, -math.log((1 - prior) / prior))


def with_coordinates(features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C2 h w"]:
    """Append two channels with the normalised position of each cell (CoordConv; SOLOv2, 3.2).

    Args:
        features: Feature maps.

    Returns:
        The maps with x, then y appended, both from -1 (first cell) to 1 (last cell).
    """
    batch, _, height, width = features.shape
    x = torch.linspace(-1, 1, width, dtype=features.dtype, device=features.device)
    y = torch.linspace(-1, 1, height, dtype=features.dtype, device=features.device)
    grid = torch.stack((x.expand(height, width), y[:, None].expand(height, width)))
    return torch.cat((features, grid.expand(batch, 2, height, width)), dim=1)
