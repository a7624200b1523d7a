"""Boxes around an estimated box, the bag of the second pass (P2BNet: pseudo box refinement)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sapnet.ops.boxes import box_areas, clip_boxes


@torch.no_grad()
def refinement_boxes(
    boxes: Float[Tensor, "G 4"], *, scale_factors: Sequence[float], shift: float
) -> Float[Tensor, "G V 4"]:
    """Boxes near the estimated ones: both sides scaled independently, each also moved in four directions.

    Every pair of factors gives a width and a height about the same centre. Each such box comes five times:
    unmoved, and moved by plus and minus ``shift`` times its own width along x, its own height along y.

    Args:
        boxes: ``(G, 4)`` estimated boxes, xyxy.
        scale_factors: F factors on the sides (P2BNet: 1, 1.2, 1.3, 0.8, 0.7).
        shift: Share of a side (P2BNet: 0.1).

    Returns:
        ``(G, V, 4)`` boxes in the same frame, not clipped, with V = 5 F^2: for every factor of the width
        every factor of the height, and for both the unmoved box, left, right, up, down.
    """
    factors = torch.tensor(tuple(scale_factors), dtype=boxes.dtype, device=boxes.device)
    moves = torch.tensor([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)], dtype=boxes.dtype, device=boxes.device)
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = boxes[:, 2:] - boxes[:, :2]
    scaled = torch.cartesian_prod(factors, factors) * sides[:, None]  # (G, F^2, 2)
    centers = center[:, None, None] + moves * shift * scaled[:, :, None]  # (G, F^2, 5, 2)
    half = scaled[:, :, None].expand_as(centers) / 2
    return torch.cat([centers - half, centers + half], dim=-1).flatten(1, 2)


@torch.no_grad()
def shown_share(boxes: Float[Tensor, "G V 4"], image_sizes: Int[Tensor, "G 2"]) -> Float[Tensor, "G V"]:
    """How much of every box lies in its image: intersection over the box's own area.

    Args:
        boxes: ``(G, V, 4)`` xyxy boxes in input pixels.
        image_sizes: ``(G, 2)`` size ``(height, width)`` of every bag's picture, in the same pixels.

    Returns:
        ``(G, V)`` shares in [0, 1]; 0 for empty boxes. P2BNet keeps boxes with more than 0.7.
    """
    areas = box_areas(boxes)
    inside = box_areas(clip_boxes(boxes, image_sizes[:, None]))
    return torch.where(areas > 0, inside / torch.where(areas > 0, areas, 1.0), 0.0)
