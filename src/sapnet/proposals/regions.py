"""The proposer that needs no weights: nested image regions and GrabCut masks around each click.

Candidates of a click are the nodes of a region tree (:mod:`sapnet.proposals.region_tree`) that
contain it, which nest as part, whole and group do with SAM, and masks that GrabCut grows from
squares of several sizes (:mod:`sapnet.proposals.grabcut`), for which clicks on other objects are
ground. They are ranked together (:mod:`sapnet.proposals.candidates`) and thinned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from sapnet.data.rle import encode_mask
from sapnet.proposals.candidates import (
    Evidence,
    covers,
    distinct_best,
    pairwise_overlap,
    score_candidates,
)
from sapnet.proposals.grabcut import grabcut_masks
from sapnet.proposals.proposer import ImagePrompts, ImageProposals, collect_proposals
from sapnet.proposals.region_tree import RegionTree, build_region_tree

_TREE_KIND, _GRABCUT_KIND, _FALLBACK_KIND = "region-tree", "grabcut", "square"
_TREE_CANDIDATES = 16
_LARGEST_SHARE = 0.6
"""Regions that cover more of the image are background."""
_SMALLEST_AREA = 6
"""Pixels of the working frame below which a candidate is a speck."""
_NESTED_AREA_RATIO = 0.9
"""Of nested regions with areas closer than this, the more persistent one stands for both."""
_FALLBACK_SHARE = 0.1
"""Side of the square proposed where there is nothing else, over the image's long side."""
_LEAST_SCORE = 1e-3
"""Whoever picks takes a score as a share of the highest of its bag, so one below 0 would mean nothing; small
ones above 0 still say which proposal is the better one."""


@dataclass(frozen=True)
class _WorkingImage:
    """The reduced image and what is computed once per image."""

    image: UInt8[ndarray, "h w 3"]
    scale: Float[ndarray, " 2"]
    """Working pixels per original pixel, along x and y."""
    tree: RegionTree


class RegionProposer:
    """Proposes nested regions and GrabCut masks; implements ``Proposer``.

    Args:
        working_long_side: Images are reduced to this long side first (never enlarged).
        masks_per_point: Proposals kept per click.
        duplicate_iou: Two proposals of a click that overlap at least this much are one.
        grabcut: Whether to add GrabCut masks.
    """

    name = "regions"

    def __init__(
        self,
        *,
        working_long_side: int = 384,
        masks_per_point: int = 12,
        duplicate_iou: float = 0.9,
        grabcut: bool = True,
    ) -> None:
        self.settings: Mapping[str, Any] = {
            "working_long_side": working_long_side,
            "masks_per_point": masks_per_point,
            "duplicate_iou": duplicate_iou,
            "grabcut": grabcut,
            "version": 2,
        }
        self._working_long_side = working_long_side
        self._masks_per_point = masks_per_point
        self._duplicate_iou = duplicate_iou
        self._grabcut = grabcut

    def propose(self, image: UInt8[ndarray, "H W 3"], prompts: ImagePrompts) -> ImageProposals:
        """Propose 1 to ``masks_per_point`` masks per click.

        No candidate that covers a negative point is kept while there is another; further points on
        the object only raise the score of the candidates that cover them.

        Args:
            image: uint8 RGB, original frame.
            prompts: The clicks, original frame; clicks outside the image are moved to its rim.

        Returns:
            The proposals, kinds ``region-tree``, ``grabcut`` and, where neither finds anything,
            ``square``. Memory beyond the image is that of one click's candidates.
        """
        height, width = image.shape[:2]
        index: list[int] = []
        counts: list[bytes] = []
        scores: list[float] = []
        kinds: list[str] = []
        if prompts.num_prompts:
            working = self._reduce(image)
            for i in range(prompts.num_prompts):
                masks, mask_scores, mask_kinds = self._propose_one(working, _evidence(prompts, i, working))
                counts.extend(encode_mask(enlarged_mask(mask, (height, width))) for mask in masks)
                scores.extend(mask_scores.tolist())
                kinds.extend(mask_kinds)
                index.extend([i] * len(masks))
        return collect_proposals(
            prompts, (height, width), prompt_index=index, counts=counts, scores=scores, kinds=kinds
        )

    def _reduce(self, image: ndarray) -> _WorkingImage:
        height, width = image.shape[:2]
        factor = min(self._working_long_side / max(height, width), 1.0)
        size = (max(round(width * factor), 1), max(round(height * factor), 1))
        reduced = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor < 1.0 else image
        reduced = np.ascontiguousarray(reduced)
        return _WorkingImage(
            reduced, np.array([size[0] / width, size[1] / height]), build_region_tree(reduced)
        )

    def _propose_one(
        self, working: _WorkingImage, evidence: Evidence
    ) -> tuple[ndarray, ndarray, tuple[str, ...]]:
        """Return masks (n, h, w) in the working frame, their scores (n,) and kinds."""
        masks, kinds = _tree_candidates(working.tree, evidence.xy)
        if self._grabcut:
            ground = np.concatenate([evidence.outside, evidence.neighbours])
            cut = grabcut_masks(working.image, evidence.xy, evidence.inside, ground)
            cut = cut[cut.sum((1, 2)) >= _SMALLEST_AREA]
            masks = np.concatenate([masks, cut])
            kinds += (_GRABCUT_KIND,) * len(cut)
        if not len(masks):
            masks, kinds = square_around(working.image.shape[:2], evidence.xy), (_FALLBACK_KIND,)
        allowed = ~covers(masks, evidence.outside).any(1)
        if allowed.any() and not allowed.all():
            masks, kinds = masks[allowed], tuple(kinds[i] for i in np.flatnonzero(allowed))
        overlap = pairwise_overlap(masks)
        scores = score_candidates(
            masks,
            evidence,
            gradient=working.tree.gradient,
            from_grabcut=np.array([kind == _GRABCUT_KIND for kind in kinds]),
            overlap=overlap,
        )
        best = distinct_best(scores, overlap, self._duplicate_iou, self._masks_per_point)
        return masks[best], _positive(scores[best]), tuple(kinds[i] for i in best)


def _positive(scores: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """Bring scores of at most ``_LEAST_SCORE`` above 0, in the same order; the others stay."""
    return np.where(scores > _LEAST_SCORE, scores, _LEAST_SCORE * np.exp(scores - _LEAST_SCORE))


def _tree_candidates(tree: RegionTree, xy: ndarray) -> tuple[ndarray, tuple[str, ...]]:
    """Return the most persistent nested regions (n, h, w) at a click, and their kinds."""
    nodes = tree.path(int(xy[1]), int(xy[0]))
    persistence = tree.height[tree.parent[nodes]] - tree.height[nodes]
    usable = (tree.area[nodes] >= _SMALLEST_AREA) & (tree.area[nodes] <= _LARGEST_SHARE * tree.leaves.size)
    nodes, persistence = nodes[usable], persistence[usable]
    ratio = tree.area[nodes][:, None] / tree.area[nodes][None]
    similar = np.minimum(ratio, 1.0 / ratio)
    chosen = distinct_best(persistence, similar, _NESTED_AREA_RATIO, _TREE_CANDIDATES)
    return tree.masks(nodes[chosen]), (_TREE_KIND,) * len(chosen)


def square_around(size: tuple[int, int], xy: ndarray) -> ndarray:
    """Return one square mask at a click, for where no region is found.

    Args:
        size: ``(h, w)`` of the working frame.
        xy: The click, working frame.

    Returns:
        bool (1, h, w).
    """
    half = max(_FALLBACK_SHARE * max(size) / 2.0, 1.0)
    rows, columns = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    near = (np.abs(rows - xy[1]) <= half)[:, None] & (np.abs(columns - xy[0]) <= half)[None]
    return near[None]


def _evidence(prompts: ImagePrompts, index: int, working: _WorkingImage) -> Evidence:
    """Return what is known about one prompt, in the working frame."""
    size = np.array(working.image.shape[1::-1])
    return Evidence(
        xy=np.clip(prompts.xy[index] * working.scale, 0.0, size - 1e-3),
        inside=prompts.extra_xy[prompts.extra_owner == index] * working.scale,
        outside=prompts.negative_xy[prompts.negative_owner == index] * working.scale,
        neighbours=np.delete(prompts.xy, index, axis=0) * working.scale,
    )


def enlarged_mask(mask: ndarray, size: tuple[int, int]) -> ndarray:
    """Return a working-frame mask at the original size.

    Args:
        mask: bool (h, w).
        size: ``(H, W)`` of the original image.

    Returns:
        bool (H, W).
    """
    if mask.shape == size:
        return mask
    return cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) > 0.5
