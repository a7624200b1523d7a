"""The network behind the built-in proposer: boundaries, object insides and extents of an image.

An EfficientNet-Lite0 trunk (strides 2 to 32), a light top-down decoder, and three heads. It knows no
classes and no clicks, so it runs once per image:

- ``boundary_logits``: two maps at stride 2: boundaries of the kind people draw around regions
  (BSDS500), and borders of whole objects;
- ``inside_logits``: at stride 4, whether a cell lies on an object;
- ``extents``: at stride 4, how far the borders of the object's box are from the cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sapnet.models.backbone import Backbone
from sapnet.models.layers import conv_norm, initialise_output

MEAN, DEVIATION = 127.0, 128.0
"""What the trunk's images are normalised with, in grey levels."""
STAGE_CHANNELS = (16, 24, 40, 112, 320)
"""Channels of the trunk at strides 2, 4, 8, 16 and 32."""
LEVEL_CHANNELS = (16, 32, 48, 64, 64)
"""Channels of the decoder at the same strides."""
_EXTENT_OFFSET, _EXTENT_UNIT = 4.0, 32.0


@dataclass(frozen=True)
class BoundaryOutputs:
    """Raw outputs for a batch of padded images."""

    boundary_logits: Float[Tensor, "B 2 h2 w2"]
    inside_logits: Float[Tensor, "B 1 h4 w4"]
    extents: Float[Tensor, "B 4 h4 w4"]
    """Encoded distances (:func:`encode_extents`) to the left, top, right and bottom."""


@dataclass(frozen=True)
class NetworkFeatures:
    """What the trunk and the decoder computed, finest first: strides 2, 4, 8, 16 and 32."""

    stages: tuple[Float[Tensor, "B _ _ _"], ...]
    """Of the trunk; :data:`STAGE_CHANNELS` channels."""
    levels: tuple[Float[Tensor, "B _ _ _"], ...]
    """Of the decoder; :data:`LEVEL_CHANNELS` channels."""


class BoundaryNetwork(nn.Module):
    """Computes boundary, inside and extent maps.

    Args:
        pretrained: Start from the ImageNet weights of the bundled package, for training. Where weights
            are loaded afterwards this is waste.
    """

    def __init__(self, *, pretrained: bool = False) -> None:
        super().__init__()
        self.trunk = Backbone(weights="bundled" if pretrained else "none", frozen_stages=2)
        self.laterals = nn.ModuleList(
            conv_norm(source, width, 1) for source, width in zip(STAGE_CHANNELS, LEVEL_CHANNELS, strict=True)
        )
        self.refinements = nn.ModuleList(
            conv_norm(width, width, 3, activate=True) for width in LEVEL_CHANNELS
        )
        self.descents = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(LEVEL_CHANNELS))
        self.boundary_head = nn.Conv2d(LEVEL_CHANNELS[0], 2, 3, padding=1)
        self.inside_head = nn.Conv2d(LEVEL_CHANNELS[1], 1, 1)
        self.extent_head = nn.Sequential(
            conv_norm(LEVEL_CHANNELS[1], LEVEL_CHANNELS[1], 3, activate=True),
            nn.Conv2d(LEVEL_CHANNELS[1], 4, 1),
        )
        initialise_output(self.boundary_head, prior=0.1)
        initialise_output(self.inside_head, prior=0.3)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> BoundaryOutputs:
        """Compute the maps.

        Args:
            images: Normalised by :func:`normalise`; height and width are multiples of 32.
        """
        return self.outputs(self.features(images))

    def features(self, images: Float[Tensor, "B 3 H W"]) -> NetworkFeatures:
        """Run the trunk and the decoder.

        Args:
            images: Normalised by :func:`normalise`; height and width are multiples of 32.
        """
        stages = self.trunk.network(images.contiguous(memory_format=torch.channels_last))
        decoded: Tensor | None = None
        levels: list[Tensor] = []
        for level in range(len(stages) - 1, -1, -1):
            merged = self.laterals[level](stages[level])
            if decoded is not None:
                descended = self.descents[level](decoded)
                merged = merged + F.interpolate(descended, size=merged.shape[-2:], mode="nearest")
            decoded = self.refinements[level](merged)
            levels.append(decoded)
        return NetworkFeatures(tuple(stages), tuple(levels[::-1]))

    def outputs(self, features: NetworkFeatures) -> BoundaryOutputs:
        """Read the maps off the decoder's two finest levels."""
        fine, coarse = features.levels[:2]
        return BoundaryOutputs(
            boundary_logits=self.boundary_head(fine),
            inside_logits=self.inside_head(coarse),
            extents=self.extent_head(coarse),
        )


def normalise(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Return images of grey levels 0..255 as the trunk expects them."""
    return (images - MEAN) / DEVIATION


def encode_extents(distances: Float[Tensor, "*sizes"]) -> Float[Tensor, "*sizes"]:
    """Return log((d + 4) / 32) of distances d in pixels, so that errors count relative to the size."""
    return torch.log((distances.clamp(min=0.0) + _EXTENT_OFFSET) / _EXTENT_UNIT)


def decode_extents(encoded: Float[Tensor, "*sizes"]) -> Float[Tensor, "*sizes"]:
    """Return the distances in pixels of encoded extents; the inverse of :func:`encode_extents`."""
    return torch.exp(encoded.clamp(max=6.0)) * _EXTENT_UNIT - _EXTENT_OFFSET
