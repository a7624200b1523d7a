"""The promptable head: for a window with points and a box, three masks and how good each of them is.

The boundary network's features are fused once per image into maps of one width at strides 2 to 16. Every
query cuts a window from them (:mod:`sapnet.proposals.builtin.prompt_windows`); a small network with a
coarse inner part looks at the window and the prompt and draws three masks, as SAM does (Kirillov et al.,
"Segment Anything", 2023, section 3), with a predicted IoU each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sapnet.models.layers import initialise_output
from sapnet.proposals.builtin.boundary_network import (
    LEVEL_CHANNELS,
    STAGE_CHANNELS,
    BoundaryOutputs,
    NetworkFeatures,
    decode_extents,
)
from sapnet.proposals.builtin.prompt_windows import (
    PROMPT_CHANNELS,
    WindowPrompts,
    cut_windows,
    prompt_channels,
    reference_weights,
)
from sapnet.proposals.builtin.strides import COARSE_STRIDE

MASKS = 3
"""Masks per query."""
STRIDES = (2, 4, 8, 16)
"""Of the fused maps."""
_FUSED, _INNER, _DEEP = 32, 48, 64
_IMAGE_CHANNELS = 6
"""Colours, both boundary maps and the inside map."""
_SEEN_CHANNELS = 5
"""Edges of the box seen at each cell, and its overlap with the one seen at the prompt."""
_GROUPS, _GROUP_CHANNELS = 4, 4
"""Embeddings that are compared with the prompt's: groups, and channels of each."""
_EDGE_LIMITS = (-1.0, 2.0)


@dataclass(frozen=True)
class FusedMaps:
    """What the head needs of a batch of images; everything but ``features`` is free of the head."""

    features: tuple[Float[Tensor, "B c _ _"], ...]
    """At strides 2, 4, 8 and 16; the last channel is 1 on the image and 0 on windows' cells beyond it."""
    edges: Float[Tensor, "B 4 h4 w4"]
    """Where each cell sees the left, top, right and bottom edge of its object, in pixels."""


@dataclass(frozen=True)
class HeadOutputs:
    """Answers of ``q`` windows."""

    mask_logits: Float[Tensor, "q 3 N N"]
    overlap_logits: Float[Tensor, "q 3"]
    """Logits of the predicted IoU of each mask (where above 0) with the object."""


def _block(source: int, target: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(source, target, 3, stride=stride, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(target),
        nn.ReLU(inplace=True),
    )


class PromptHead(nn.Module):
    """Draws masks for prompts in windows; about 300 thousand parameters.

    In evaluation mode the answer to a query does not depend on the other queries.
    """

    def __init__(self) -> None:
        super().__init__()
        self.from_stages = nn.ModuleList(_projection(channels) for channels in STAGE_CHANNELS)
        self.from_levels = nn.ModuleList(_projection(channels) for channels in LEVEL_CHANNELS)
        self.from_image = nn.Conv2d(_IMAGE_CHANNELS, _FUSED, 1)
        self.embedding = nn.Conv2d(_FUSED, _GROUPS * _GROUP_CHANNELS, 1)
        inputs = _FUSED + 1 + PROMPT_CHANNELS + _SEEN_CHANNELS + 2 * _GROUPS
        self.outer = nn.Sequential(_block(inputs, _FUSED), _block(_FUSED, _FUSED))
        self.inner = nn.Sequential(_block(_FUSED, _INNER, stride=2), _block(_INNER, _INNER))
        self.deep = nn.Sequential(
            _block(_INNER, _DEEP, stride=2), _block(_DEEP, _DEEP), _block(_DEEP, _DEEP, dilation=2)
        )
        self.context = nn.Linear(_DEEP, _DEEP)
        self.deep_to_inner = nn.Conv2d(_DEEP, _INNER, 1)
        self.inner_again = _block(_INNER, _INNER)
        self.inner_to_outer = nn.Conv2d(_INNER, _FUSED, 1)
        self.outer_again = _block(_FUSED, _FUSED)
        self.mask_head = nn.Conv2d(_FUSED, MASKS, 3, padding=1)
        self.judge = nn.Sequential(
            nn.Linear(2 * _FUSED + _DEEP + 3 + MASKS, _DEEP), nn.ReLU(inplace=True), nn.Linear(_DEEP, 1)
        )
        initialise_output(self.mask_head, prior=0.3)

    def fuse(
        self, images: Float[Tensor, "B 3 H W"], features: NetworkFeatures, outputs: BoundaryOutputs
    ) -> FusedMaps:
        """Bring everything known about the images to one width, at strides 2, 4, 8 and 16.

        Args:
            images: Normalised; sides are multiples of 32.
            features: The boundary network's.
            outputs: Its maps.
        """
        size = outputs.boundary_logits.shape[-2:]
        inside = F.interpolate(outputs.inside_logits.sigmoid(), size=size, mode="bilinear")
        seen = torch.cat([F.avg_pool2d(images, 2), outputs.boundary_logits.sigmoid(), inside], dim=1)
        own = [
            of_stage(stage).add_(of_level(level))
            for of_stage, of_level, stage, level in zip(
                self.from_stages, self.from_levels, features.stages, features.levels, strict=True
            )
        ]
        own[0] += self.from_image(seen)
        # Coarse knowledge comes down to every level, and fine knowledge up to every level, added up.
        coarser = own[-1]
        fused = []
        for level in range(len(STRIDES) - 1, -1, -1):
            coarser = F.interpolate(coarser, scale_factor=2.0, mode="nearest").add_(own[level])
            fused.append(coarser)
        fused.reverse()
        finer = own[0]
        for level in range(1, len(STRIDES)):
            finer = F.avg_pool2d(finer, 2)
            fused[level] += finer
            finer += own[level]
        return FusedMaps(tuple(map(_with_ones, fused)), seen_edges(outputs.extents))

    def forward(self, maps: FusedMaps, prompts: WindowPrompts) -> HeadOutputs:
        """Answer the queries of some windows.

        Args:
            maps: Of the images that the windows lie on.
            prompts: At least one window.
        """
        # A click is often asked with negative points and without: what its windows show is the same.
        windows, which = prompts.distinct()
        cut = cut_windows(maps.features, STRIDES, windows)[which]
        channels = prompt_channels(prompts)
        weights = reference_weights(channels)
        seen = _seen_boxes(maps.edges, prompts, weights, cut[:, -1:])
        alike = self._likeness(self.embedding(cut[:, :-1]), weights, channels[:, 1])
        inputs = torch.cat([cut, channels, seen, alike], dim=1)
        outer = self.outer(inputs.contiguous(memory_format=torch.channels_last))
        inner = self.inner(outer)
        deep = self.deep(inner)
        whole = deep.mean((2, 3))
        deep = deep + self.context(whole)[:, :, None, None]
        inner = inner + F.interpolate(self.deep_to_inner(deep), scale_factor=2.0, mode="nearest")
        inner = self.inner_again(inner)
        outer = outer + F.interpolate(self.inner_to_outer(inner), scale_factor=2.0, mode="nearest")
        outer = self.outer_again(outer)
        mask_logits = self.mask_head(outer)
        return HeadOutputs(mask_logits, self._judged(mask_logits.detach(), outer, whole, channels))

    def _likeness(self, embedded: Tensor, weights: Tensor, negatives: Tensor) -> Tensor:
        """Return exp(-distance^2) of every cell's embeddings to those at the prompt, and at negatives."""
        groups = embedded.unflatten(1, (_GROUPS, _GROUP_CHANNELS))
        there = negatives.amax((1, 2), keepdim=True) > 0.01
        of_negatives = negatives / negatives.sum((1, 2), keepdim=True).clamp(min=1e-6)
        alike = []
        for share in (weights, of_negatives):
            at_points = torch.einsum("qgchw,qhw->qgc", groups, share)
            alike.append(torch.exp(-((groups - at_points[..., None, None]) ** 2).sum(2)))
        alike[1] = alike[1] * there[:, None]
        return torch.cat(alike, dim=1)

    def _judged(self, mask_logits: Tensor, outer: Tensor, whole: Tensor, channels: Tensor) -> Tensor:
        """Predict the overlap of each mask from the features in it and around it."""
        probs = mask_logits.sigmoid()
        covered = probs.sum((2, 3)).clamp(min=1.0)
        within = torch.einsum("qmhw,qchw->qmc", probs, outer) / covered[..., None]
        ring = F.avg_pool2d(probs, 5, stride=1, padding=2) * (1.0 - probs)
        around = torch.einsum("qmhw,qchw->qmc", ring, outer) / ring.sum((2, 3)).clamp(min=0.1)[..., None]
        cells = probs.shape[-1] ** 2
        sure = ((2.0 * probs - 1.0).abs() * probs).sum((2, 3)) / covered
        log_side = channels[:, 5, 0, 0][:, None].expand(-1, MASKS)
        facts = torch.stack([torch.log(covered / cells), sure, log_side], dim=2)
        which = torch.eye(MASKS).expand(len(probs), MASKS, MASKS)
        everywhere = whole[:, None].expand(-1, MASKS, -1)
        return cast(Tensor, self.judge(torch.cat([within, around, everywhere, facts, which], dim=2)))[..., 0]


def seen_edges(extents: Float[Tensor, "B 4 h4 w4"]) -> Float[Tensor, "B 4 h4 w4"]:
    """Return where each cell sees the edges of its object, in pixels, from the encoded extents."""
    distances = decode_extents(extents)
    height, width = extents.shape[-2:]
    x = (torch.arange(width, dtype=torch.float32) + 0.5) * COARSE_STRIDE
    y = (torch.arange(height, dtype=torch.float32)[:, None] + 0.5) * COARSE_STRIDE
    return torch.stack(
        [x - distances[:, 0], y - distances[:, 1], x + distances[:, 2], y + distances[:, 3]], dim=1
    )


def _with_ones(values: Tensor) -> Tensor:
    """Return maps with one more channel, of ones, channel after channel at every cell in memory."""
    # Windows are cut from them like this, and so nothing is copied for every few windows.
    table = values.new_ones(len(values), *values.shape[2:], values.shape[1] + 1)
    table[..., :-1] = values.permute(0, 2, 3, 1)
    return table.permute(0, 3, 1, 2)


def _projection(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, _FUSED, 1, bias=False), nn.GroupNorm(4, _FUSED))


def _seen_boxes(edges: Tensor, prompts: WindowPrompts, weights: Tensor, on_image: Tensor) -> Tensor:
    """Return the box seen at every cell, in sides of the window, and its IoU with the one at the prompt."""
    cells = on_image.shape[-1]
    cut = cut_windows([edges], [COARSE_STRIDE], prompts, cells)
    corner = (prompts.centers - prompts.sides[:, None] / 2.0).repeat(1, 2)[..., None, None]
    seen = ((cut - corner) / prompts.sides[:, None, None, None]).clamp(*_EDGE_LIMITS) * on_image
    at_prompt = torch.einsum("qehw,qhw->qe", seen, weights)[..., None, None]
    low, high = torch.maximum(seen[:, :2], at_prompt[:, :2]), torch.minimum(seen[:, 2:], at_prompt[:, 2:])
    common = (high - low).clamp(min=0.0).prod(1, keepdim=True)
    area = (seen[:, 2:] - seen[:, :2]).clamp(min=0.0).prod(1, keepdim=True)
    of_prompt = (at_prompt[:, 2:] - at_prompt[:, :2]).clamp(min=0.0).prod(1, keepdim=True)
    return torch.cat([seen, common / (area + of_prompt - common).clamp(min=1e-6)], dim=1)
