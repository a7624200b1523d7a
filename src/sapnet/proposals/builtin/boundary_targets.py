"""What the boundary network should answer, computed from human segments and object masks.

Everything is in the frame of a crop of ``h`` x ``w`` pixels. Targets lie on the network's grids: maps
at stride 2 for boundaries, at stride 4 for insides and extents. Weights say where a target is known:
beside the only labelled object of a photograph, an unmarked border is not a negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.proposals.builtin.strides import COARSE_STRIDE, FINE_STRIDE, OBJECT_CHANNEL, REGION_CHANNEL

_TOLERANCE = np.ones((3, 3), dtype=np.uint8)
"""Annotators who draw a boundary one pixel apart mean the same one."""
_KNOWN_BESIDE = 3
"""Pixels outside a lone object's mask in which the border target is still known."""
_RING_SHARE, _RING_LEAST, _RING_MOST = 0.25, 4.0, 32.0
"""Width of the ring around a lone object that is taken as ground: share of the object's size (the root
of its area), and limits in pixels."""
_RING_WEIGHT = 0.4
"""Weight of that ring, in which an unlabelled neighbour may stand."""


@dataclass(frozen=True)
class Targets:
    """Targets and weights of one crop, float32; cells of weight 0 are unknown."""

    boundary: Float[ndarray, "2 h2 w2"]
    boundary_weight: Float[ndarray, "2 h2 w2"]
    inside: Float[ndarray, "1 h4 w4"]
    inside_weight: Float[ndarray, "1 h4 w4"]
    distances: Float[ndarray, "4 h4 w4"]
    """Pixels from a cell's centre to the left, top, right and bottom of its object's box."""
    distances_weight: Float[ndarray, "1 h4 w4"]


def label_borders(labels: Int[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
    """Return the pixels with a right, left, upper or lower neighbour of another label."""
    border = np.zeros(labels.shape, dtype=bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    return border


def annotator_share(segmentations: Sequence[Int[ndarray, "h w"]]) -> Float[ndarray, "h w"]:
    """Return the share of annotators with a boundary within a pixel of each pixel.

    Args:
        segmentations: A label map per annotator, at least one.
    """
    drawn = [cv2.dilate(label_borders(labels).astype(np.uint8), _TOLERANCE) for labels in segmentations]
    return np.asarray(np.mean(drawn, axis=0, dtype=np.float32))


def region_targets(share: Float[ndarray, "h w"]) -> Targets:
    """Return the targets of a crop of BSDS500: only the region boundaries are known.

    Args:
        share: :func:`annotator_share` of the crop; sides are multiples of 4.
    """
    targets = _unknown(share.shape)
    targets.boundary[REGION_CHANNEL] = _largest(share, FINE_STRIDE)
    targets.boundary_weight[REGION_CHANNEL] = 1.0
    return targets


def object_targets(
    masks: Bool[ndarray, "n h w"], unusable: Bool[ndarray, "h w"], *, complete: bool
) -> Targets:
    """Return the targets of a crop with object masks.

    Args:
        masks: The objects; where masks overlap, the smaller object is in front.
        unusable: Crowds and the like: nothing is known there.
        complete: Whether all objects are labelled. If not, nothing is known away from the masks.
    """
    height, width = unusable.shape
    areas = masks.sum((1, 2))
    order = np.argsort(-areas, kind="stable")
    # The number of the front-most object of each pixel, 0 where there is none.
    rank = np.arange(1, len(masks) + 1, dtype=np.int32)[:, None, None]
    front = (masks[order] * rank).max(0, initial=0).astype(np.int32)
    targets = _unknown((height, width))
    border = label_borders(front).astype(np.float32)
    known = np.ones((height, width), dtype=np.float32)
    ground = np.ones((height, width), dtype=np.float32)
    figure = (front > 0).astype(np.uint8)
    if not complete:
        distance = (
            cv2.distanceTransform(1 - figure, cv2.DIST_L2, 3)
            if len(masks)
            else np.full((height, width), np.inf, dtype=np.float32)
        )
        known = (distance <= _KNOWN_BESIDE).astype(np.float32)
        size = float(np.sqrt(areas.max(initial=0)))
        reach = min(max(_RING_SHARE * size, _RING_LEAST), _RING_MOST)
        ground = _RING_WEIGHT * (distance <= reach).astype(np.float32)
    usable = 1.0 - unusable.astype(np.float32)
    targets.boundary[OBJECT_CHANNEL] = _largest(border, FINE_STRIDE)
    targets.boundary_weight[OBJECT_CHANNEL] = -_largest(-known * usable, FINE_STRIDE)
    targets.inside[0] = _mean(figure.astype(np.float32), COARSE_STRIDE)
    targets.inside_weight[0] = _mean(
        np.where(figure > 0, 1.0, ground).astype(np.float32) * usable, COARSE_STRIDE
    )
    cells = front[COARSE_STRIDE // 2 :: COARSE_STRIDE, COARSE_STRIDE // 2 :: COARSE_STRIDE]
    targets.distances[:] = _distances(cells, _boxes(masks[order]))
    targets.distances_weight[0] = (cells > 0) * _mean(usable, COARSE_STRIDE)
    return targets


def _unknown(shape: tuple[int, ...]) -> Targets:
    fine = (2, shape[0] // FINE_STRIDE, shape[1] // FINE_STRIDE)
    coarse = (shape[0] // COARSE_STRIDE, shape[1] // COARSE_STRIDE)
    zeros = [
        np.zeros(size, dtype=np.float32)
        for size in (fine, fine, *[(count, *coarse) for count in (1, 1, 4, 1)])
    ]
    return Targets(*zeros)


def _cells(values: ndarray, stride: int) -> ndarray:
    height, width = values.shape
    return values.reshape(height // stride, stride, width // stride, stride)


def _largest(values: ndarray, stride: int) -> ndarray:
    return _cells(values, stride).max((1, 3))


def _mean(values: ndarray, stride: int) -> ndarray:
    return _cells(values, stride).mean((1, 3))


def _boxes(masks: ndarray) -> ndarray:
    """Return the tight boxes (n, 4) of masks; of an empty mask, the whole crop."""
    height, width = masks.shape[1:]
    columns, rows = np.asarray(masks.any(1)), np.asarray(masks.any(2))
    left, top = columns.argmax(1), rows.argmax(1)
    right, bottom = width - columns[:, ::-1].argmax(1), height - rows[:, ::-1].argmax(1)
    return np.stack([left, top, right, bottom], axis=1).reshape(-1, 4).astype(np.float32)


def _distances(cells: ndarray, boxes: ndarray) -> ndarray:
    """Return the distances (4, h4, w4) to the box of the object at each cell; 0 where there is none."""
    box = np.concatenate([np.zeros((1, 4), dtype=np.float32), boxes])[cells].transpose(2, 0, 1)
    rows = (np.arange(cells.shape[0], dtype=np.float32)[:, None] + 0.5) * COARSE_STRIDE
    columns = (np.arange(cells.shape[1], dtype=np.float32)[None] + 0.5) * COARSE_STRIDE
    distances = np.stack([columns - box[0], rows - box[1], box[2] - columns, box[3] - rows])
    return np.maximum(distances, 0.0) * (cells > 0)
