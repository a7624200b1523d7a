"""The built-in proposer: boundaries to nested regions, ranked for every click.

The boundary network runs once per image. Its maps become two trees of nested regions, one of the
boundaries that people draw around regions, one of those with the borders of whole objects. The regions
that contain a click are its candidates; a small scorer predicts their IoU with the clicked object.
Nothing here imports torch until the first image is proposed for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from sapnet.data.rle import encode_mask
from sapnet.errors import CheckpointError
from sapnet.proposals.builtin.candidate_features import Candidates, Click, click_candidates, covered_points
from sapnet.proposals.builtin.hierarchy import contour_tree
from sapnet.proposals.builtin.ranking import Ranking, choose_distinct
from sapnet.proposals.builtin.region_table import RegionTable, describe_regions
from sapnet.proposals.proposer import ImagePrompts, ImageProposals, collect_proposals
from sapnet.proposals.regions import enlarged_mask, square_around

if TYPE_CHECKING:
    from sapnet.proposals.builtin.boundary_maps import BoundaryMaps
    from sapnet.proposals.builtin.boundary_network import BoundaryNetwork

BUNDLED_WEIGHTS = Path(__file__).parent / "boundaries.safetensors"
"""The weights that come with the package."""
TREES = ((0.0, 2.0), (0.6, 1.5))
"""Of each tree: the share of the object borders in its boundary strength, and its sharpness."""
COLOR_WEIGHT = 0.001
"""Cost of merging regions per unit of colour difference."""
_REGION_KIND, _FALLBACK_KIND = "contour", "square"
_UNCOVERED = 0.1
"""What is left of the score of a region that covers none of the object's further points."""


@dataclass(frozen=True)
class WorkingImage:
    """The reduced image and what is computed once per image."""

    scale: Float[ndarray, " 2"]
    """Working pixels per original pixel, along x and y."""
    maps: BoundaryMaps
    tables: tuple[RegionTable, ...]


def reduce_image(image: UInt8[ndarray, "H W 3"], network: BoundaryNetwork, *, long_side: int) -> WorkingImage:
    """Reduce an image to a long side (never enlarging it) and build its trees.

    Args:
        image: RGB, original frame.
        network: The boundary network, in evaluation mode.
        long_side: Pixels.
    """
    from sapnet.proposals.builtin.boundary_maps import boundary_maps

    height, width = image.shape[:2]
    factor = min(long_side / max(height, width), 1.0)
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    reduced = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor < 1.0 else image
    reduced = np.ascontiguousarray(reduced)
    maps = boundary_maps(network, reduced)
    lab = cv2.cvtColor(reduced, cv2.COLOR_RGB2LAB).astype(np.float32)
    tables = []
    for share, sharpness in TREES:
        strength = (1.0 - share) * maps.region + share * maps.border
        tree = contour_tree(strength, lab, color_weight=COLOR_WEIGHT, sharpness=sharpness)
        tables.append(describe_regions(tree, maps, lab))
    return WorkingImage(np.array([size[0] / width, size[1] / height]), maps, tuple(tables))


class BuiltinProposer:
    """Proposes ranked regions of two boundary trees; implements ``Proposer``.

    Args:
        working_long_side: Images are reduced to this long side first (never enlarged).
        masks_per_point: Proposals kept per click.
        duplicate_iou: Two proposals of a click that overlap at least this much are one.
        weights: Another weights file than the one that comes with the package.

    Raises:
        CheckpointError: The weights file cannot be read (its content is looked at with the first image).
    """

    name = "builtin"

    def __init__(
        self,
        *,
        working_long_side: int = 512,
        masks_per_point: int = 12,
        duplicate_iou: float = 0.8,
        weights: Path | str | None = None,
    ) -> None:
        self.settings: Mapping[str, Any] = {
            "working_long_side": working_long_side,
            "masks_per_point": masks_per_point,
            "duplicate_iou": duplicate_iou,
            "version": 1,
        }
        self._working_long_side = working_long_side
        self._masks_per_point = masks_per_point
        self._duplicate_iou = duplicate_iou
        self._weights = Path(weights) if weights is not None else BUNDLED_WEIGHTS
        self.checkpoint_digest = file_digest(self._weights)
        self._loaded: tuple[BoundaryNetwork, Ranking] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the network behind; every process loads it for itself."""
        return {**self.__dict__, "_loaded": None}

    def propose(self, image: UInt8[ndarray, "H W 3"], prompts: ImagePrompts) -> ImageProposals:
        """Propose 1 to ``masks_per_point`` masks per click.

        No region that covers a negative point is kept while there is another; a region that misses
        further points on the object is scored lower.

        Args:
            image: uint8 RGB, original frame.
            prompts: The clicks, original frame; clicks outside the image are moved to its rim.

        Returns:
            The proposals with predicted IoUs as scores, of kind ``contour`` or, where there is no usable
            region, ``square``.

        Raises:
            CheckpointError: The weights are damaged.
        """
        height, width = image.shape[:2]
        index: list[int] = []
        counts: list[bytes] = []
        scores: list[float] = []
        kinds: list[str] = []
        if prompts.num_prompts:
            network, ranking = self._load()
            working = reduce_image(image, network, long_side=self._working_long_side)
            for i in range(prompts.num_prompts):
                masks, mask_scores, kind = self._propose_one(working, ranking, prompts, i)
                counts.extend(encode_mask(enlarged_mask(mask, (height, width))) for mask in masks)
                scores.extend(mask_scores.tolist())
                kinds.extend([kind] * len(masks))
                index.extend([i] * len(masks))
        return collect_proposals(
            prompts, (height, width), prompt_index=index, counts=counts, scores=scores, kinds=kinds
        )

    def _load(self) -> tuple[BoundaryNetwork, Ranking]:
        if self._loaded is None:
            from sapnet.proposals.builtin.weights import load_weights

            self._loaded = load_weights(self._weights)
        return self._loaded

    def _propose_one(
        self, working: WorkingImage, ranking: Ranking, prompts: ImagePrompts, index: int
    ) -> tuple[ndarray, ndarray, str]:
        """Return masks (n, h, w) in the working frame, their scores (n,) and their kind."""
        click = click_of(prompts, index, working)
        candidates = click_candidates(working.tables, working.maps, click)
        if not len(candidates.node):
            return square_around(working.maps.inside.shape, click.xy), np.full(1, 0.1), _FALLBACK_KIND
        inside = prompts.extra_xy[prompts.extra_owner == index] * working.scale
        outside = prompts.negative_xy[prompts.negative_owner == index] * working.scale
        allowed = ~covered_points(working.tables, candidates, outside).any(1)
        if allowed.any() and not allowed.all():
            candidates = candidates.take(np.flatnonzero(allowed))
        scores = ranking.predict(candidates.features).astype(np.float64)
        if len(inside):
            share = covered_points(working.tables, candidates, inside).mean(1)
            scores = scores * (_UNCOVERED + (1.0 - _UNCOVERED) * share)
        chosen = choose_distinct(
            candidates, scores, working.tables, duplicate_iou=self._duplicate_iou, most=self._masks_per_point
        )
        return region_masks(working.tables, candidates.take(chosen)), scores[chosen], _REGION_KIND


def region_masks(tables: Sequence[RegionTable], candidates: Candidates) -> Bool[ndarray, "n h w"]:
    """Return the masks of candidates."""
    masks = np.zeros((len(candidates.node), *tables[0].tree.leaves.shape), dtype=bool)
    for number, table in enumerate(tables):
        rows = candidates.tree == number
        masks[rows] = table.tree.masks(candidates.node[rows])
    return masks


def click_of(prompts: ImagePrompts, index: int, working: WorkingImage) -> Click:
    """Return one prompt and its neighbours in the working frame; the click is moved into the image."""
    height, width = working.maps.inside.shape
    others = np.delete(np.arange(prompts.num_prompts), index)
    return Click(
        xy=np.clip(prompts.xy[index] * working.scale, 0.0, np.array([width, height]) - 1e-3),
        neighbours=prompts.xy[others] * working.scale,
        same_class=prompts.labels[others] == prompts.labels[index],
    )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        CheckpointError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(str(path), [f"cannot be read: {error.strerror or error}"]) from error
