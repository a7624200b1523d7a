"""The losses of the promptable head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torchvision.ops import roi_align

from sapnet.proposals.builtin.head_data import HeadSample
from sapnet.proposals.builtin.prompt_head import HeadOutputs
from sapnet.proposals.builtin.prompt_windows import CELLS, WindowPrompts

_ENTROPY_SHARE, _DICE_SHARE, _OVERLAP_SHARE = 2.0, 1.0, 1.0
_OTHERS_SHARE = 0.05
"""Weight of the mean over all masks beside the least loss, so that none of them is left behind."""
_LEAST_SEEN = 0.6
"""Share of an object that must lie in the window for its mask to be asked of it."""


@dataclass(frozen=True)
class HeadBatch:
    """Crops of one size with their queries, stacked."""

    images: Float[Tensor, "B 3 S S"]
    """Grey levels 0..255."""
    prompts: WindowPrompts
    targets: Float[Tensor, "q N N"]
    """Share of every cell that the object covers."""
    areas: Float[Tensor, " q"]
    """Area of the whole object, in cells of its window."""
    on_image: Bool[Tensor, "q N N"]
    """Which cells have their centre on the crop."""


@torch.no_grad()
def stack_head_samples(samples: Sequence[HeadSample], cells: int = CELLS) -> HeadBatch:
    """Stack crops of one size and bring the masks to the cells of the queries' windows."""
    counts = [len(sample.queries.target) for sample in samples]
    firsts = np.cumsum([0, *counts[:-1]])
    masks_before = np.cumsum([0, *[len(sample.masks) for sample in samples[:-1]]])

    def joined(name: str, dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(np.concatenate([getattr(s.queries, name) for s in samples]), dtype=dtype)

    points = [sample.queries.point_query + first for sample, first in zip(samples, firsts, strict=True)]
    prompts = WindowPrompts(
        image_index=torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(counts)),
        centers=joined("centers", torch.float32),
        sides=joined("sides", torch.float32),
        point_xy=joined("point_xy", torch.float32),
        point_positive=joined("point_positive", torch.bool),
        point_window=torch.as_tensor(np.concatenate(points)),
        boxes=joined("boxes", torch.float32),
    )
    masks = torch.from_numpy(np.concatenate([sample.masks for sample in samples]))[:, None].float()
    index = [s.queries.target + before for s, before in zip(samples, masks_before, strict=True)]
    target = torch.as_tensor(np.concatenate(index))
    side = samples[0].image.shape[0]
    regions = torch.cat([target[:, None].float(), prompts.rectangles], dim=1)
    shares = roi_align(masks, regions, cells, 1.0, sampling_ratio=-1, aligned=True)[:, 0]
    offsets = (torch.arange(cells) + 0.5) / cells - 0.5
    middles = prompts.centers[:, :, None] + prompts.sides[:, None, None] * offsets
    inside = (middles >= 0) & (middles <= side)
    on_image = inside[:, 1, :, None] & inside[:, 0, None, :]
    images = np.stack([sample.image for sample in samples]).transpose(0, 3, 1, 2).astype(np.float32)
    cell_area = (prompts.sides / cells) ** 2
    areas = masks.sum((1, 2, 3))[target] / cell_area
    return HeadBatch(torch.from_numpy(images), prompts, shares * on_image, areas, on_image)


def head_losses(outputs: HeadOutputs, batch: HeadBatch) -> dict[str, Tensor]:
    """Return the loss terms and their weighted sum ``total``; all scalars, 0 without queries.

    - mask: per query the least over its three masks of 2 times the mean cross-entropy of its cells on the
      image plus the Dice loss (after Kirillov et al., "Segment Anything", 2023, section 3, with
      cross-entropy for focal loss), plus a twentieth of the mean over the three. Queries whose object is
      mostly beyond the window do not count.
    - overlap: cross-entropy of the predicted IoU with that of each mask and the whole object.

    ``best`` and ``top`` are no losses: mean IoU of the best mask, and of the one judged best, over the
    queries that count.
    """
    entropy, dice = mask_losses(outputs.mask_logits, batch.targets, batch.on_image)
    per_mask = _ENTROPY_SHARE * entropy + _DICE_SHARE * dice
    seen = batch.targets.sum((1, 2)) / batch.areas.clamp(min=1e-6)
    counted = (seen >= _LEAST_SEEN).float()
    per_query = per_mask.amin(1) + _OTHERS_SHARE * per_mask.mean(1)
    count = counted.sum().clamp(min=1.0)
    mask = (per_query * counted).sum() / count
    overlaps = true_overlaps(outputs.mask_logits.detach(), batch)
    judged = F.binary_cross_entropy_with_logits(outputs.overlap_logits, overlaps, reduction="none")
    overlap = judged.sum() / max(judged.numel(), 1)
    top = overlaps.gather(1, outputs.overlap_logits.detach().argmax(1, keepdim=True))[:, 0]
    return {
        "mask": mask,
        "overlap": overlap,
        "best": (overlaps.amax(1) * counted).sum() / count,
        "top": (top * counted).sum() / count,
        "total": mask + _OVERLAP_SHARE * overlap,
    }


def mask_losses(
    mask_logits: Float[Tensor, "q 3 N N"], targets: Float[Tensor, "q N N"], on_image: Bool[Tensor, "q N N"]
) -> tuple[Float[Tensor, "q 3"], Float[Tensor, "q 3"]]:
    """Return the mean cross-entropy over the cells on the image, and 1 - (2 p.t + 1) / (p.p + t.t + 1)."""
    wanted = targets[:, None].expand_as(mask_logits)
    known = on_image[:, None].float()
    entropy = F.binary_cross_entropy_with_logits(mask_logits, wanted, reduction="none") * known
    probs = mask_logits.sigmoid() * known
    common = (probs * wanted).sum((2, 3))
    extent = (probs**2).sum((2, 3)) + (wanted**2).sum((2, 3))
    dice = 1.0 - (2.0 * common + 1.0) / (extent + 1.0)
    return entropy.sum((2, 3)) / known.sum((2, 3)).clamp(min=1.0), dice


def true_overlaps(mask_logits: Float[Tensor, "q 3 N N"], batch: HeadBatch) -> Float[Tensor, "q 3"]:
    """Return the IoU of every mask (cells with logits above 0) with the whole object."""
    drawn = ((mask_logits > 0) & batch.on_image[:, None]).float()
    common = (drawn * batch.targets[:, None]).sum((2, 3))
    union = drawn.sum((2, 3)) + batch.areas[:, None] - common
    return (common / union.clamp(min=1e-6)).clamp(0.0, 1.0)
