"""From the original frame to the network input frame: resize, flip, normalise.

Image, clicks and boxes go through the same ``torchvision.transforms.v2`` calls as ``tv_tensors``;
masks go straight from run lengths to their coarse grid with the same geometry. A click travels as
a box without extent, because torchvision flips ``KeyPoints`` as pixel indices (x becomes
width - 1 - x) while this package's points are positions (x becomes width - x).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from sapnet.data.mask_grid import masks_on_grid


@dataclass(frozen=True)
class Geometry:
    """How an original image becomes the network input: resized, then perhaps mirrored.

    Sizes are ``(height, width)`` in pixels.
    """

    original_size: tuple[int, int]
    input_size: tuple[int, int]
    flipped: bool = False

    @property
    def scale_x(self) -> float:
        """Input pixels per original pixel along x."""
        return self.input_size[1] / self.original_size[1]

    @property
    def scale_y(self) -> float:
        """Input pixels per original pixel along y."""
        return self.input_size[0] / self.original_size[0]

    @property
    def area_scale(self) -> float:
        """Input pixels per original pixel, as areas."""
        return self.scale_x * self.scale_y


def input_size(original_size: tuple[int, int], *, short_side: int, max_long_side: int) -> tuple[int, int]:
    """Return the network input size of an image, keeping its proportions.

    Args:
        original_size: ``(height, width)`` in pixels.
        short_side: Wanted short side in pixels.
        max_long_side: The long side is never longer, even if the short side gets shorter.

    Returns:
        ``(height, width)``, at least one pixel each.
    """
    height, width = original_size
    scale = min(short_side / min(original_size), max_long_side / max(original_size))
    return max(1, math.floor(height * scale + 0.5)), max(1, math.floor(width * scale + 0.5))


def move_image(image: UInt8[ndarray, "H0 W0 3"], geometry: Geometry) -> UInt8[Tensor, "3 H W"]:
    """Resize (bilinear, antialiased) and mirror an RGB image."""
    wrapped = tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1))
    return _move(wrapped, geometry).as_subclass(torch.Tensor)


def move_boxes(boxes: Float[ndarray, "n 4"], geometry: Geometry) -> Float[Tensor, "n 4"]:
    """Move ``xyxy`` boxes from the original frame to the input frame."""
    wrapped = tv_tensors.BoundingBoxes(
        torch.from_numpy(np.array(boxes, dtype=np.float32).reshape(-1, 4)),
        format=tv_tensors.BoundingBoxFormat.XYXY,
        canvas_size=geometry.original_size,
    )
    return _move(wrapped, geometry).as_subclass(torch.Tensor)


def move_points(xy: Float[ndarray, "n 2"], geometry: Geometry) -> Float[Tensor, "n 2"]:
    """Move points from the original frame to the input frame."""
    return move_boxes(np.tile(np.asarray(xy).reshape(-1, 2), 2), geometry)[:, :2].contiguous()


def grid_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return how many cells of ``stride`` pixels cover a size, the last ones perhaps in part."""
    return -(-size[0] // stride), -(-size[1] // stride)


def move_masks(counts: Sequence[bytes], geometry: Geometry, *, stride: int) -> Bool[Tensor, "n h w"]:
    """Move masks from the original frame to the coarse grid of the input frame.

    Cell (i, j) covers the input pixels ``[stride * i, stride * (i + 1))`` by
    ``[stride * j, stride * (j + 1))``, cut at the border of the picture. It is filled where the
    exact area average of the full-resolution mask over it is at least one half; a mask with any
    pixel keeps at least its fullest cell.

    Args:
        counts: n compressed COCO counts at the original size.
        geometry: The way to the input frame.
        stride: Input pixels per cell.

    Raises:
        ValueError: A mask does not have the original size.
    """
    rows, columns = grid_size(geometry.input_size, stride)
    y = np.minimum(np.arange(rows + 1) * float(stride), geometry.input_size[0]) / geometry.scale_y
    x = np.minimum(np.arange(columns + 1) * float(stride), geometry.input_size[1])
    if geometry.flipped:
        # Looked up in the unmirrored image from right to left, then turned around.
        x = geometry.input_size[1] - x[::-1]
    height, width = geometry.original_size
    grid = masks_on_grid(
        counts, geometry.original_size, np.minimum(y, height), np.minimum(x / geometry.scale_x, width)
    )
    return torch.from_numpy(grid[:, :, ::-1].copy() if geometry.flipped else grid)


def normalise(
    image: UInt8[Tensor, "3 H W"], *, mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "3 H W"]:
    """Scale an image to [0, 1], subtract the channel means and divide by the deviations."""
    scaled = functional.to_dtype(image, torch.float32, scale=True)
    return functional.normalize(scaled, mean=list(mean), std=list(std))


def _move(wrapped: Tensor, geometry: Geometry) -> Tensor:
    # A box may leave its image; torchvision must not cut it to the canvas.
    if isinstance(wrapped, tv_tensors.BoundingBoxes) and hasattr(wrapped, "clamping_mode"):
        wrapped.clamping_mode = None
    moved = functional.resize(wrapped, list(geometry.input_size), antialias=True)
    return functional.horizontal_flip(moved) if geometry.flipped else moved
