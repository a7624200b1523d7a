"""Runs the boundary network on one image and brings its maps to the pixels of that image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from numpy import ndarray

from sapnet.proposals.builtin.boundary_network import (
    BoundaryNetwork,
    BoundaryOutputs,
    decode_extents,
    normalise,
)
from sapnet.proposals.builtin.prompt_head import FusedMaps, PromptHead
from sapnet.proposals.builtin.strides import (
    COARSE_STRIDE,
    FINE_STRIDE,
    OBJECT_CHANNEL,
    REGION_CHANNEL,
    SIZE_DIVISOR,
)


@dataclass(frozen=True)
class BoundaryMaps:
    """What the network says about an image, at its pixels."""

    region: Float[ndarray, "h w"]
    """Probability of a boundary of the kind people draw around regions."""
    border: Float[ndarray, "h w"]
    """Probability of the border of a whole object."""
    inside: Float[ndarray, "h w"]
    """Probability of lying on an object."""
    edges: Float[ndarray, "4 h w"]
    """Where each pixel sees the left, top, right and bottom edge of its object: pixel coordinates."""


@torch.inference_mode()
def image_maps(
    network: BoundaryNetwork, head: PromptHead | None, image: UInt8[ndarray, "h w 3"]
) -> tuple[BoundaryMaps, Callable[[], FusedMaps] | None]:
    """Compute the maps of an RGB image, which is padded with its rim to a multiple of 32.

    Args:
        network: In evaluation mode.
        head: The promptable head, in evaluation mode; None where it is not asked.
        image: At the working size.

    Returns:
        The maps at the image's pixels, and what computes, when called, what the head needs of the padded
        image: that takes a while, and the trees can be worked on meanwhile.
    """
    height, width = image.shape[:2]
    tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    padding = (0, -width % SIZE_DIVISOR, 0, -height % SIZE_DIVISOR)
    padded = normalise(F.pad(tensor, padding, mode="replicate"))
    features = network.features(padded)
    outputs = network.outputs(features)
    maps = _at_pixels(outputs, (height, width))
    if head is None:
        return maps, None
    return maps, partial(torch.inference_mode()(head.fuse), padded, features, outputs)


def _at_pixels(outputs: BoundaryOutputs, size: tuple[int, int]) -> BoundaryMaps:
    height, width = size
    boundary = outputs.boundary_logits.sigmoid()[0].numpy()
    inside = outputs.inside_logits.sigmoid()[0, 0].numpy()
    distances = decode_extents(outputs.extents)[0].numpy()
    grid_x = (np.arange(distances.shape[2], dtype=np.float32) + 0.5) * COARSE_STRIDE
    grid_y = (np.arange(distances.shape[1], dtype=np.float32)[:, None] + 0.5) * COARSE_STRIDE
    seen = (grid_x - distances[0], grid_y - distances[1], grid_x + distances[2], grid_y + distances[3])
    limits = (width, height, width, height)
    edges = [
        np.clip(_enlarged(edge, COARSE_STRIDE, height, width), 0.0, limit)
        for edge, limit in zip(seen, limits, strict=True)
    ]
    return BoundaryMaps(
        region=_enlarged(boundary[REGION_CHANNEL], FINE_STRIDE, height, width),
        border=_enlarged(boundary[OBJECT_CHANNEL], FINE_STRIDE, height, width),
        inside=_enlarged(inside, COARSE_STRIDE, height, width),
        edges=np.stack(edges),
    )


def _enlarged(values: ndarray, stride: int, height: int, width: int) -> ndarray:
    """Return a strided map at every pixel (OpenCV keeps the cells' centres in place)."""
    size = (values.shape[1] * stride, values.shape[0] * stride)
    return np.ascontiguousarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)[:height, :width])
