"""Functions of boxes.

Boxes are ``xyxy``, float, absolute and half-open, and both arguments of a function share one
frame. A box whose right side is not right of its left side (or bottom not below top) is empty:
its area is 0 and so is its overlap with anything.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor


def box_areas(boxes: Float[Tensor, "*D 4"]) -> Float[Tensor, "*D"]:
    """Areas in square pixels; 0 for empty boxes.

    Args:
        boxes: ``(..., 4)`` xyxy in any frame.

    Returns:
        ``(...)`` areas.
    """
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0)
    return sides[..., 0] * sides[..., 1]


def _broadcast_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes whose leading axes broadcast; 0 where the union is empty."""
    corner_min = torch.maximum(first[..., :2], second[..., :2])
    corner_max = torch.minimum(first[..., 2:], second[..., 2:])
    sides = (corner_max - corner_min).clamp_min(0)
    intersection = sides[..., 0] * sides[..., 1]
    union = box_areas(first) + box_areas(second) - intersection
    # The inner where keeps 0 / 0 out of the graph, so that no NaN can reach a gradient.
    return torch.where(union > 0, intersection / torch.where(union > 0, union, 1.0), 0.0)


def bag_iou(boxes: Float[Tensor, "G M 4"], box: Float[Tensor, "G 4"]) -> Float[Tensor, "G M"]:
    """Intersection over union of every box of a bag with the one box of that bag's prompt.

    Args:
        boxes: ``(G, M, 4)`` xyxy boxes of the bags.
        box: ``(G, 4)`` one xyxy box per bag, same frame.

    Returns:
        ``(G, M)`` overlaps in [0, 1]; 0 where either box is empty.
    """
    return _broadcast_iou(boxes, box[:, None])


def pairwise_iou(first: Float[Tensor, "A 4"], second: Float[Tensor, "B 4"]) -> Float[Tensor, "A B"]:
    """Intersection over union of every box of one list with every box of another.

    Unlike ``torchvision.ops.box_iou`` it gives 0, not NaN, for two empty boxes.

    Args:
        first: ``(A, 4)`` xyxy boxes.
        second: ``(B, 4)`` xyxy boxes, same frame.

    Returns:
        ``(A, B)`` overlaps in [0, 1].
    """
    return _broadcast_iou(first[:, None], second[None])


def scale_about_center(boxes: Float[Tensor, "G 4"], factors: Float[Tensor, "G V"]) -> Float[Tensor, "G V 4"]:
    """Enlarge or shrink boxes about their centres, both sides by the same factor.

    Args:
        boxes: ``(G, 4)`` xyxy boxes.
        factors: ``(G, V)`` factors; a factor of 0 or less gives an empty box.

    Returns:
        ``(G, V, 4)`` boxes in the same frame, not clipped to any image.
    """
    center = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2  # (G, 1, 2)
    half = (boxes[:, None, 2:] - boxes[:, None, :2]) / 2 * factors[..., None]  # (G, V, 2)
    return torch.cat([center - half, center + half], dim=-1)


def contains_points(boxes: Float[Tensor, "*#D 4"], points: Float[Tensor, "*#D 2"]) -> Bool[Tensor, "*D"]:
    """Whether points lie in boxes; the leading axes broadcast.

    Args:
        boxes: ``(..., 4)`` xyxy boxes.
        points: ``(..., 2)`` points ``(x, y)`` in the same frame.

    Returns:
        ``(...)`` True where ``x1 <= x < x2`` and ``y1 <= y < y2`` (boxes are half-open).
    """
    return ((points >= boxes[..., :2]) & (points < boxes[..., 2:])).all(dim=-1)


def contains_box(
    outer: Float[Tensor, "*#D 4"], inner: Float[Tensor, "*#D 4"], *, tolerance: float = 0.0
) -> Bool[Tensor, "*D"]:
    """Whether boxes contain other boxes; the leading axes broadcast.

    Args:
        outer: ``(..., 4)`` xyxy boxes.
        inner: ``(..., 4)`` xyxy boxes in the same frame.
        tolerance: By how many pixels ``inner`` may stick out on each side.

    Returns:
        ``(...)`` True where ``inner`` lies within ``outer`` up to the tolerance.
    """
    starts_after = inner[..., :2] >= outer[..., :2] - tolerance
    ends_before = inner[..., 2:] <= outer[..., 2:] + tolerance
    return (starts_after & ends_before).all(dim=-1)


def clip_boxes(boxes: Float[Tensor, "*#D 4"], image_sizes: Num[Tensor, "*#D 2"]) -> Float[Tensor, "*D 4"]:
    """Clamp boxes to their images; a box that lies outside becomes an empty box on the border.

    Args:
        boxes: ``(..., 4)`` xyxy boxes in the frame of the image.
        image_sizes: ``(..., 2)`` sizes ``(height, width)`` in the same pixels; leading axes
            broadcast against those of ``boxes``.

    Returns:
        ``(..., 4)`` clamped boxes.
    """
    limits = image_sizes[..., [1, 0, 1, 0]].to(boxes.dtype)
    return torch.minimum(boxes.clamp_min(0), limits)
