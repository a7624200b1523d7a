"""Masks in the original image from probabilities at the stride of the mask features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sapnet.ops.masks import masks_to_boxes


@torch.no_grad()
def resized_masks(
    probs: Float[Tensor, "n h w"],
    image_size: tuple[int, int],
    original_size: tuple[int, int],
    *,
    stride: int,
    threshold: float,
) -> Bool[Tensor, "n H W"]:
    """Enlarge mask probabilities to the input, cut them at the padding, resize to the original, compare.

    Both resizings are bilinear, so each is a product with a matrix on either side and so are both
    together. A pixel is a mean of cells, so it belongs to the mask only if one of its cells does: the
    product is formed around those cells alone, which for most objects is a small part of the image.

    Args:
        probs: Mask probabilities, cells of ``stride`` input pixels.
        image_size: (height, width) of the picture inside the padding, input frame.
        original_size: (height, width) of the result.
        stride: Input pixels per cell.
        threshold: Probability above which a pixel belongs to the mask.

    Returns:
        The masks, stored column by column as run-length encoding reads them.
    """
    probs = probs.float()
    rows = _Axis(_resizing(probs.shape[-2], stride, image_size[0], original_size[0]).to(probs))
    columns = _Axis(_resizing(probs.shape[-1], stride, image_size[1], original_size[1]).to(probs))
    masks = torch.zeros(
        (len(probs), original_size[1], original_size[0]), dtype=torch.bool, device=probs.device
    )
    cells = masks_to_boxes(probs > threshold).long()
    windows = torch.cat([columns.windows(cells[:, 0::2]), rows.windows(cells[:, 1::2])], dim=1)
    for mask, prob, window in zip(masks, probs, windows.tolist(), strict=True):
        left, right, first_column, last_column, top, bottom, first_row, last_row = window
        part = prob[first_row:last_row, first_column:last_column].T
        part = columns.weights[left:right, first_column:last_column] @ part
        part = part @ rows.weights[top:bottom, first_row:last_row].T
        torch.gt(part, threshold, out=mask[left:right, top:bottom])
    return masks.transpose(1, 2)


class _Axis:
    """The matrix that resizes one axis, and which cells each of its pixels is made of."""

    def __init__(self, weights: Float[Tensor, "P c"]) -> None:
        self.weights = weights
        used = weights > 0
        # Both rise from pixel to pixel; pixels without a weight do not exist, every row sums to 1.
        self.first = used.to(torch.uint8).argmax(dim=1)
        self.last = used.shape[1] - 1 - used.flip(1).to(torch.uint8).argmax(dim=1)

    def windows(self, cells: Int[Tensor, "n 2"]) -> Int[Tensor, "n 4"]:
        """Pixels that see a half-open range of cells, and all the cells that those pixels see.

        Args:
            cells: First cell and one past the last; equal for none.

        Returns:
            First pixel, one past the last, first cell, one past the last; all zero for none.
        """
        start = torch.searchsorted(self.last, cells[:, 0].contiguous())
        stop = torch.searchsorted(self.first, cells[:, 1].contiguous())
        some = (start < stop) & (cells[:, 0] < cells[:, 1])
        at = torch.where(some, start, 0), torch.where(some, stop, 1) - 1
        found = torch.stack([at[0], at[1] + 1, self.first[at[0]], self.last[at[1]] + 1], dim=1)
        return found * some[:, None]


def _resizing(cells: int, stride: int, length: int, original: int) -> Float[Tensor, "P c"]:
    """Weights of the cells in every pixel of the original along one axis, on the CPU, float64."""
    unit = torch.eye(cells, dtype=torch.float64)[None]
    enlarged = F.interpolate(unit, cells * stride, mode="linear", align_corners=False)[..., :length]
    return F.interpolate(enlarged, original, mode="linear", align_corners=False)[0].T.contiguous()
