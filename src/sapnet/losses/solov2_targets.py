"""Which grid cells are responsible for which pseudo mask (SOLOv2, 3.1 and 3.3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from sapnet.ops.masks import center_of_mass
from sapnet.structures import PseudoLabels


@dataclass(frozen=True)
class GridTargets:
    """The positive cells, as flat parallel arrays sorted by rank, image, level and cell.

    Within one mask rank a cell of a level of an image occurs at most once.
    """

    image: Int[Tensor, " n"]
    level: Int[Tensor, " n"]
    cell: Int[Tensor, " n"]
    """``row * S + column`` in the level's S x S grid."""
    prompt: Int[Tensor, " n"]
    """Row of the pseudo labels."""
    rank: Int[Tensor, " n"]
    """Which of the prompt's masks: 0 the pick, then the alternates."""
    ring: Int[Tensor, " n"]
    """0 for the cell with the centre of mass, 1 for its neighbours."""

    def __len__(self) -> int:
        return len(self.cell)

    def __getitem__(self, index: Tensor) -> GridTargets:
        """Return the entries at an index or boolean array."""
        return GridTargets(
            self.image[index],
            self.level[index],
            self.cell[index],
            self.prompt[index],
            self.rank[index],
            self.ring[index],
        )

    def to(self, target: torch.device | str) -> GridTargets:
        """Return the same cells on another device."""
        return GridTargets(
            self.image.to(target),
            self.level.to(target),
            self.cell.to(target),
            self.prompt.to(target),
            self.rank.to(target),
            self.ring.to(target),
        )


def assign_targets(
    labels: PseudoLabels,
    *,
    num_grids: Sequence[int],
    scale_ranges: Sequence[tuple[int, int]],
    center_sigma: float = 0.2,
    mask_stride: int = 4,
) -> GridTargets:
    """Assign every usable pseudo mask to its grid cells.

    A prompt belongs to every level whose (inclusive) scale range holds ``sqrt(w * h)`` of its box;
    a scale outside all ranges is moved to the nearest end, so that no object is lost. On a level,
    the cells touched by a region of ``center_sigma`` times the box's size around the mask's centre
    of mass are positive, at most one cell away from the cell of the centre. Each of a prompt's
    masks has its own centre but the box is shared (method.md 1.8). Where two prompts claim one cell
    with masks of one rank, the smaller mask wins, then the lower prompt index (the SOLOv2 paper
    leaves this open). Empty and invalid masks are skipped.

    Args:
        labels: Pseudo masks, all images of the batch; the mask grid covers the padded input.
        num_grids: S of every level.
        scale_ranges: Smallest and largest scale of every level, input pixels.
        center_sigma: Size of the centre region as a share of the box's size.
        mask_stride: Input pixels per mask cell.

    Returns:
        The positive cells, on the device of the masks.
    """
    masks = labels.masks
    # float64, lest a centre between two cells depend on rounding; on the CPU, since MPS has no float64.
    center = center_of_mass(masks.flatten(0, 1), stride=mask_stride).cpu().double()
    center = center.reshape(*masks.shape[:2], 2)
    area = masks.sum(dim=(-2, -1)).cpu()
    size = torch.tensor(masks.shape[:1:-1], dtype=torch.float64) * mask_stride  # (width, height)
    boxes, grids = labels.boxes.cpu().double(), torch.tensor(num_grids)
    half = (boxes[:, 2:] - boxes[:, :2]).clamp_min(0)[:, None] * (center_sigma / 2)

    # Axes from here on: prompt, mask rank, level, (x, y).
    middle = _cells_of(center / size, grids)
    first = torch.maximum(_cells_of((center - half) / size, grids), middle - 1)
    last = torch.minimum(_cells_of((center + half) / size, grids), middle + 1)
    on_level = _levels_of(boxes, scale_ranges)[:, None, :]
    usable = (labels.mask_valid.cpu() & (area > 0))[:, :, None] & on_level

    # The nine candidate cells around the middle one: axes prompt, rank, level, candidate, (x, y).
    offset = torch.cartesian_prod(*torch.tensor([[-1, 0, 1]] * 2))
    cells = middle[:, :, :, None] + offset
    inside = ((cells >= first[:, :, :, None]) & (cells <= last[:, :, :, None])).all(dim=-1)
    prompt, rank, level, candidate = (inside & usable[..., None]).nonzero(as_tuple=True)
    position = cells[prompt, rank, level, candidate]
    claims = GridTargets(
        image=labels.image_index.cpu()[prompt],
        level=level,
        cell=position[:, 1] * grids[level] + position[:, 0],
        prompt=prompt,
        rank=rank,
        ring=offset.abs().amax(dim=1)[candidate],
    )
    max_cells = max(num_grids, default=1) ** 2
    return _settle(claims, area[prompt, rank], max_cells, len(num_grids)).to(masks.device)


def _cells_of(share: Tensor, grids: Tensor) -> Tensor:
    """Cell (x, y) per level of points given as shares of the input's size, clamped to the grid."""
    cells = torch.floor(share[:, :, None] * grids[:, None]).long()
    return torch.minimum(cells.clamp_min(0), (grids - 1)[:, None])


def _levels_of(boxes: Tensor, scale_ranges: Sequence[tuple[int, int]]) -> Tensor:
    """Return ``(G, levels)``: whether a level is responsible for a box."""
    ranges = torch.tensor(scale_ranges, dtype=torch.float64).reshape(-1, 2)
    extent = (boxes[:, 2:] - boxes[:, :2]).clamp_min(0)
    scale = extent.prod(dim=1).sqrt().clamp(ranges.min(), ranges.max())[:, None]
    return (scale >= ranges[:, 0]) & (scale <= ranges[:, 1])


def _settle(claims: GridTargets, area: Tensor, max_cells: int, num_levels: int) -> GridTargets:
    """Keep one claim per rank, image, level and cell: the smallest mask, then the lowest prompt."""
    if not len(claims):
        return claims
    num_images = int(claims.image.max()) + 1
    place = (claims.rank * num_images + claims.image) * num_levels + claims.level
    place = place * max_cells + claims.cell
    # Claims arrive sorted by prompt; two stable sorts order them by place, area, prompt.
    order = area.argsort(stable=True)
    order = order[place[order].argsort(stable=True)]
    place = place[order]
    is_first = torch.ones_like(place, dtype=torch.bool)
    is_first[1:] = place[1:] != place[:-1]
    return claims[order[is_first]]
