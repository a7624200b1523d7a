"""Square windows onto an image, each with the prompts of one query, as the promptable head sees them.

A window of side ``s`` pixels is cut into ``N x N`` cells, so small objects are seen finely and large ones
coarsely. Everything is in the working frame, whose pixels the maps' strides count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

CELLS = 40
"""Cells N per side of a window."""
DISC_DEVIATION = 1.5
"""Deviation in cells of the soft disc that marks a point."""
_SIDE_UNIT = 96.0
PROMPT_CHANNELS = 6
"""Positive discs, negative discs, box, offset to the middle of the prompt in x and in y, log side."""
_LEAST_SIDE = 4.0


@dataclass(frozen=True)
class WindowPrompts:
    """Windows with their prompts; ``q`` windows, ``p`` points of all windows together."""

    image_index: Int[Tensor, " q"]
    """Which image of the batch each window lies on."""
    centers: Float[Tensor, "q 2"]
    sides: Float[Tensor, " q"]
    point_xy: Float[Tensor, "p 2"]
    point_positive: Bool[Tensor, " p"]
    point_window: Int[Tensor, " p"]
    boxes: Float[Tensor, "q 4"]
    """Box prompt of each window, ``xyxy``; NaN where it has none."""

    @property
    def rectangles(self) -> Float[Tensor, "q 4"]:
        """The windows as boxes, ``xyxy``."""
        half = self.sides[:, None] / 2.0
        return torch.cat([self.centers - half, self.centers + half], dim=1)

    def rows(self, start: int, stop: int) -> WindowPrompts:
        """Return the windows ``start`` to ``stop`` with their points."""
        points = (self.point_window >= start) & (self.point_window < stop)
        return WindowPrompts(
            self.image_index[start:stop],
            self.centers[start:stop],
            self.sides[start:stop],
            self.point_xy[points],
            self.point_positive[points],
            self.point_window[points] - start,
            self.boxes[start:stop],
        )

    def distinct(self) -> tuple[WindowPrompts, Int[Tensor, " q"]]:
        """Return the windows without repetitions and without prompts, and which of them each window is."""
        places = torch.cat([self.image_index[:, None].float(), self.centers, self.sides[:, None]], dim=1)
        found, which = torch.unique(places, dim=0, return_inverse=True)
        nowhere = torch.full((len(found), 4), torch.nan)
        none = torch.zeros(0, dtype=torch.long)
        points = torch.zeros(0, 2), none.bool(), none
        return WindowPrompts(found[:, 0].long(), found[:, 1:3], found[:, 3], *points, nowhere), which


def cell_centers(prompts: WindowPrompts, cells: int = CELLS) -> tuple[Tensor, Tensor]:
    """Return the x of every column (q, N) and the y of every row (q, N) of cells, in pixels."""
    offsets = (torch.arange(cells, dtype=torch.float32) + 0.5) / cells - 0.5
    grid = prompts.centers[:, :, None] + prompts.sides[:, None, None] * offsets
    return grid[:, 0], grid[:, 1]


def prompt_channels(prompts: WindowPrompts, cells: int = CELLS) -> Float[Tensor, "q 6 N N"]:
    """Draw the prompts of every window on its cells.

    - positive and negative points: the sum of exp(-d^2 / (2 * 1.5^2)), d in cells, at most 1;
    - box: the share of each cell that the box covers; 0 where there is none;
    - offset of each cell from :func:`prompt_centers`, in half sides of the window;
    - the logarithm of the side over 96 pixels, in every cell.
    """
    count = len(prompts.sides)
    x, y = cell_centers(prompts, cells)
    middle = prompt_centers(prompts)
    half = prompts.sides[:, None] / 2.0
    offset_x = ((x - middle[:, :1]) / half)[:, None].expand(count, cells, cells)
    offset_y = ((y - middle[:, 1:]) / half)[..., None].expand(count, cells, cells)
    log_side = torch.log(prompts.sides.clamp(min=_LEAST_SIDE) / _SIDE_UNIT)
    return torch.stack(
        [
            _discs(prompts, prompts.point_positive, cells),
            _discs(prompts, ~prompts.point_positive, cells),
            _box_shares(prompts, cells),
            offset_x,
            offset_y,
            log_side[:, None, None].expand(count, cells, cells),
        ],
        dim=1,
    )


def prompt_centers(prompts: WindowPrompts) -> Float[Tensor, "q 2"]:
    """Return the mean of each window's positive points, or its box's centre, or its own where neither is."""
    positive = prompts.point_positive
    window = prompts.point_window[positive]
    number = torch.zeros(len(prompts.sides)).index_add_(0, window, torch.ones(len(window)))
    sums = torch.zeros(len(prompts.sides), 2).index_add_(0, window, prompts.point_xy[positive])
    has_box = prompts.boxes.isfinite().all(1, keepdim=True)
    of_box = torch.where(has_box, (prompts.boxes[:, :2] + prompts.boxes[:, 2:]) / 2.0, prompts.centers)
    return torch.where(number[:, None] > 0, sums / number.clamp(min=1.0)[:, None], of_box)


def reference_weights(channels: Float[Tensor, "q 6 N N"]) -> Float[Tensor, "q N N"]:
    """Return weights of the cells at the prompt, which sum to 1 in every window.

    They follow the positive discs; where there are none, a disc about the prompt's centre.
    """
    cells = channels.shape[-1]
    distance = (channels[:, 3] ** 2 + channels[:, 4] ** 2) * (cells / 2.0) ** 2
    at_center = torch.exp(-distance / (2.0 * DISC_DEVIATION**2))
    has_point = channels[:, 0].amax((1, 2), keepdim=True) > 0.01
    weights = torch.where(has_point, channels[:, 0], at_center)
    return weights / weights.sum((1, 2), keepdim=True).clamp(min=1e-6)


def cut_windows(
    maps: Sequence[Float[Tensor, "B c _ _"]],
    strides: Sequence[int],
    prompts: WindowPrompts,
    cells: int = CELLS,
) -> Float[Tensor, "q c N N"]:
    """Sample every window from the map whose stride is nearest, as a ratio, to the window's cells.

    A cell gets the bilinear mean of the map at its centre, or 0 where that is off the map.

    Args:
        maps: The same channels at several strides.
        strides: Pixels per cell of each map, rising.
        prompts: The windows.
        cells: Cells per side.
    """
    logarithms = torch.log2(torch.tensor(strides, dtype=torch.float32))
    wanted = torch.log2(prompts.sides.clamp(min=_LEAST_SIDE) / cells)
    level_of = (wanted[:, None] - logarithms).abs().argmin(1)
    parts, order = [], []
    for level, (values, stride) in enumerate(zip(maps, strides, strict=True)):
        rows = torch.nonzero(level_of == level)[:, 0]
        parts.append(_sampled(values, stride, prompts, rows, cells))
        order.append(rows)
    return torch.cat(parts)[torch.argsort(torch.cat(order))].permute(0, 3, 1, 2)


def _sampled(values: Tensor, stride: int, prompts: WindowPrompts, rows: Tensor, cells: int) -> Tensor:
    """Return the windows (rows, N, N, c) of one map."""
    channels, height, width = values.shape[1:]
    x, y = cell_centers(prompts, cells)
    column, column_weight = _neighbours(x[rows] / stride - 0.5, width)
    row, row_weight = _neighbours(y[rows] / stride - 0.5, height)
    first = (prompts.image_index[rows] * height * width)[:, None, None, None, None]
    index = first + row[:, :, None, :, None] * width + column[:, None, :, None, :]
    weight = row_weight[:, :, None, :, None] * column_weight[:, None, :, None, :]
    # The gradient of a bag of four table rows is several times as fast as that of RoIAlign on a CPU.
    table = values.permute(0, 2, 3, 1).reshape(-1, channels)
    bags = F.embedding_bag(index.reshape(-1, 4), table, per_sample_weights=weight.reshape(-1, 4), mode="sum")
    return bags.view(len(rows), cells, cells, channels)


def _neighbours(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the two grid points (..., 2) about positions in units of the grid, and their weights."""
    known = (position >= -0.5) & (position <= size - 0.5)
    inside = position.clamp(0.0, size - 1.0)
    low = inside.floor().clamp(max=max(size - 2, 0))
    share = inside - low
    high = (low + 1.0).clamp(max=size - 1.0)
    weights = torch.stack([1.0 - share, share], dim=-1) * known[..., None]
    return torch.stack([low, high], dim=-1).long(), weights


def _discs(prompts: WindowPrompts, chosen: Tensor, cells: int) -> Tensor:
    x, y = cell_centers(prompts, cells)
    window = prompts.point_window[chosen]
    unit = prompts.sides[window, None] / cells
    across = torch.exp(-0.5 * ((x[window] - prompts.point_xy[chosen, :1]) / unit / DISC_DEVIATION) ** 2)
    down = torch.exp(-0.5 * ((y[window] - prompts.point_xy[chosen, 1:]) / unit / DISC_DEVIATION) ** 2)
    marks = down[:, :, None] * across[:, None, :]
    sums = torch.zeros(len(prompts.sides), cells, cells).index_add_(0, window, marks)
    return sums.clamp(max=1.0)


def _box_shares(prompts: WindowPrompts, cells: int) -> Tensor:
    x, y = cell_centers(prompts, cells)
    unit = (prompts.sides / cells)[:, None]
    boxes = prompts.boxes.nan_to_num(0.0)
    across = (torch.minimum(x + unit / 2, boxes[:, 2:3]) - torch.maximum(x - unit / 2, boxes[:, :1])) / unit
    down = (torch.minimum(y + unit / 2, boxes[:, 3:]) - torch.maximum(y - unit / 2, boxes[:, 1:2])) / unit
    return down.clamp(0.0, 1.0)[:, :, None] * across.clamp(0.0, 1.0)[:, None, :]
