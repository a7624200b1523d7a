"""Functions of boolean masks. Axes ``h w`` count cells; ``stride`` is the side of a cell in pixels.

Cell ``(i, j)`` covers the square of ``stride`` pixels whose top-left corner is
``(x, y) = (j * stride, i * stride)``.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_CHUNK_ELEMENTS = 16_000_000
"""Largest number of mask cells turned into floats at a time; bounds memory with 1,000 prompts."""


def bags_at_a_time(masks: Bool[Tensor, "G M h w"]) -> int:
    """Return how many bags of masks to turn into floats at a time.

    Args:
        masks: ``(G, M, h, w)`` boolean masks, all bags of the same size.

    Returns:
        At least 1.
    """
    return max(1, _CHUNK_ELEMENTS // max(1, masks[:1].numel()))


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First occupied index and one past the last along the last axis; ``(0, 0)`` where none is."""
    length = occupied.shape[-1]
    position = torch.arange(length, device=occupied.device)
    if length == 0:
        empty = torch.zeros(occupied.shape[:-1], dtype=position.dtype, device=occupied.device)
        return empty, empty
    start = torch.where(occupied, position, length).amin(dim=-1)
    stop = torch.where(occupied, position + 1, 0).amax(dim=-1)
    return torch.minimum(start, stop), stop


def _any(masks: Tensor, axis: int) -> Tensor:
    """As ``masks.any(axis)``, which on the CPU takes eight times as long as the largest byte."""
    return masks.view(torch.uint8).amax(axis).bool() if masks.shape[axis] else masks.any(axis)


def masks_to_boxes(masks: Bool[Tensor, "*D h w"], *, stride: int = 1) -> Float[Tensor, "*D 4"]:
    """Smallest half-open boxes around masks; all zeros for an empty mask.

    Args:
        masks: ``(..., h, w)`` boolean masks.
        stride: Pixels per cell; the boxes come out in pixels.

    Returns:
        ``(..., 4)`` float32 xyxy boxes with the origin at the top-left corner of cell (0, 0).
    """
    left, right = _extent(_any(masks, -2))
    top, bottom = _extent(_any(masks, -1))
    return torch.stack([left, top, right, bottom], dim=-1).float() * stride


def pairwise_mask_iou(first: Bool[Tensor, "A h w"], second: Bool[Tensor, "B h w"]) -> Float[Tensor, "A B"]:
    """Intersection over union of every mask of one list with every mask of another.

    Args:
        first: ``(A, h, w)`` boolean masks.
        second: ``(B, h, w)`` boolean masks on the same grid.

    Returns:
        ``(A, B)`` float32 overlaps in [0, 1]; 0 for two empty masks. Exact below 2**24 cells.
    """
    flat_first = first.flatten(1).float()
    flat_second = second.flatten(1).float()
    intersection = flat_first @ flat_second.T
    union = flat_first.sum(1)[:, None] + flat_second.sum(1)[None] - intersection
    return intersection / union.clamp_min(1)


def center_of_mass(masks: Bool[Tensor, "N h w"], *, stride: int = 1) -> Float[Tensor, "N 2"]:
    """Centres of mass of masks, every cell counted at its centre.

    Args:
        masks: ``(N, h, w)`` boolean masks.
        stride: Pixels per cell; the centres come out in pixels.

    Returns:
        ``(N, 2)`` float32 points ``(x, y)``; ``(0, 0)`` for an empty mask.
    """
    height, width = masks.shape[-2:]
    count = masks.sum(dim=(-2, -1)).clamp_min(1)
    columns = torch.arange(width, device=masks.device) + 0.5
    rows = torch.arange(height, device=masks.device) + 0.5
    x = (masks.sum(dim=-2) * columns).sum(dim=-1) / count
    y = (masks.sum(dim=-1) * rows).sum(dim=-1) / count
    return torch.stack([x, y], dim=-1) * stride
