"""Coarse boxes around a click, the bag of the first pass (P2BNet: coarse pseudo box prediction)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

Cut = Literal["symmetric", "clip"]


@torch.no_grad()
def coarse_boxes(
    xy: Float[Tensor, "G 2"],
    image_sizes: Int[Tensor, "G 2"],
    *,
    base_sizes: Sequence[float] = (4, 8, 16, 32, 64, 128),
    aspect_factors: Sequence[float] = (1 / 3, 1 / 2, 2 / 3, 1.0, 1.5, 2.0, 3.0),
    cut: Cut = "symmetric",
) -> Float[Tensor, "G V 4"]:
    """Boxes centred on the clicks, of every size and shape: ``(x, y, f s, s / f)``.

    ``s`` is a base size times a hundredth of the image's short side, ``f`` a factor on the shape (so that
    width over height is ``f**2``). Boxes that leave the image are cut. The symmetric cut (P2BNet) limits
    the width to ``2 min(x, W - x)`` and the height likewise: the click stays the centre. The other
    cut keeps what lies inside the image.

    Args:
        xy: ``(G, 2)`` clicks in input pixels.
        image_sizes: ``(G, 2)`` size ``(height, width)`` of every click's picture, in the same pixels.
        base_sizes: Hundredths of the short side.
        aspect_factors: f.
        cut: How boxes that leave the image are cut.

    Returns:
        ``(G, V, 4)`` xyxy boxes inside the image, V = sizes times factors, all factors of a size together.
        A click on the rim or outside has boxes without area.
    """
    extent = image_sizes.flip(-1).to(xy.dtype)  # (G, 2): width, height
    sizes = torch.tensor(tuple(base_sizes), dtype=xy.dtype, device=xy.device)
    factors = torch.tensor(tuple(aspect_factors), dtype=xy.dtype, device=xy.device)
    shapes = torch.stack([factors, 1 / factors], dim=-1)  # (F, 2): of width, of height
    sides = (sizes[:, None, None] * shapes).flatten(0, 1)  # (V, 2)
    sides = sides[None] * (extent.amin(dim=1) / 100)[:, None, None]  # (G, V, 2)
    if cut == "symmetric":
        room = 2 * torch.minimum(xy, extent - xy).clamp_min(0)
        sides = torch.minimum(sides, room[:, None])
    boxes = torch.cat([xy[:, None] - sides / 2, xy[:, None] + sides / 2], dim=-1)
    return torch.minimum(boxes.clamp_min(0), extent.repeat(1, 2)[:, None])
