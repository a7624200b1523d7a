"""The frozen dataclasses that the stages exchange.

Axes, used by every annotation in this package:

======  ==========================================================================
``B``   images of a batch
``G``   point prompts of a batch, all images concatenated (``image_index`` tells whose)
``M``   proposals per bag, padded to the longest bag (``valid`` tells which are real)
``P``   positive boxes per prompt: the bag and the boxes generated around the selection
``N``   negative boxes of the batch, all images concatenated
``K``   classes
``Q``   pseudo masks per prompt: the pick and its alternates
``H W`` network input pixels;  ``h w`` cells of a feature map or of a strided mask
======  ==========================================================================

Frames: boxes are ``xyxy``, float, absolute, half-open; points are ``(x, y)``; both in pixels of
the *network input frame*, origin at the top-left corner of the top-left pixel, unless a name
ends in ``_original`` (the EXIF-transposed image file). Sizes are ``(height, width)``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, device

_Structure = TypeVar("_Structure", bound="_Movable")


class _Movable:
    """Moves every tensor field of a dataclass to a device."""

    def to(self: _Structure, target: device | str, *, non_blocking: bool = False) -> _Structure:
        """Return a copy with every tensor (and nested structure) on ``target``."""
        moved: dict[str, Any] = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, Tensor | _Movable):
                moved[field.name] = value.to(target, non_blocking=non_blocking)
        return replace(self, **moved)  # type: ignore[type-var]


@dataclass(frozen=True)
class PointPrompts(_Movable):
    """The annotated clicks of a batch, one per object."""

    xy: Float[Tensor, "G 2"]
    labels: Int[Tensor, " G"]
    """Class labels 0..K-1 (not category ids)."""
    image_index: Int[Tensor, " G"]
    annotation_ids: Int[Tensor, " G"]


@dataclass(frozen=True)
class ProposalBags(_Movable):
    """The proposals of every prompt, one bag per prompt, best proposer score first."""

    boxes: Float[Tensor, "G M 4"]
    masks: Bool[Tensor, "G M h w"]
    """Masks on a grid of ``mask_stride`` input pixels (cell (i, j) covers that square)."""
    scores: Float[Tensor, "G M"]
    """The proposer's own scores, not negative. Ratios within a bag carry meaning: the prior of a pick
    (``mil/prior.py``) takes a score as a share of the highest of its bag."""
    valid: Bool[Tensor, "G M"]
    covered_points: Bool[Tensor, "G M"]
    """True where the full-resolution mask covers the click of *another* object of the image of
    the same class (the group problem). Computed from annotated points only."""
    covered_distance: Float[Tensor, "G M"]
    """Sum of the distances (input pixels) from the prompt to those clicks; 0 where none."""
    area: Float[Tensor, "G M"]
    """Mask area in input pixels, from the full-resolution mask."""
    opinions: Float[Tensor, "G M"]
    """How much a second proposer agrees with each proposal, in [0, 1]; 1 where none was asked."""


@dataclass(frozen=True)
class BagScores(_Movable):
    """Scores of every proposal for every class (eq. 1 to 3); 0 at invalid proposals."""

    class_probs: Float[Tensor, "G P K"]
    instance_probs: Float[Tensor, "G P K"]
    guidance: Float[Tensor, "G P"]
    """Point distance guidance S_dis (eq. 2); 1 where it does not apply."""

    @property
    def scores(self) -> Float[Tensor, "G P K"]:
        """Per-proposal scores: the Hadamard product of eq. 3."""
        return self.class_probs * self.instance_probs * self.guidance[..., None]

    @property
    def bag_scores(self) -> Float[Tensor, "G K"]:
        """Bag scores: the sum of the proposal scores over the bag (eq. 3)."""
        return self.scores.sum(dim=1)


@dataclass(frozen=True)
class Selection(_Movable):
    """What a pass selected for every prompt."""

    boxes: Float[Tensor, "G 4"]
    proposal_index: Int[Tensor, " G"]
    """Index into the prompt's *proposal bag* (not into the positives); -1 if the bag is empty."""
    scores: Float[Tensor, " G"]
    guidance: Float[Tensor, " G"]
    """Guidance factor of the selected proposal."""


@dataclass(frozen=True)
class Regions(_Movable):
    """Positive and negative boxes around a selection (algorithm 1)."""

    positive_boxes: Float[Tensor, "G P 4"]
    """First the M proposals of the bag in order, then the generated boxes."""
    positive_valid: Bool[Tensor, "G P"]
    negative_boxes: Float[Tensor, "N 4"]
    negative_image_index: Int[Tensor, " N"]


@dataclass(frozen=True)
class PseudoLabels(_Movable):
    """What supervises the segmentation branch: one object per prompt with a usable pick."""

    labels: Int[Tensor, " G"]
    boxes: Float[Tensor, "G 4"]
    """Input frame: of the pick, or the bounds of the cells that were voted for."""
    masks: Bool[Tensor, "G Q h w"]
    """First the pick, or what a vote made of it, then the alternates of multi-mask proposal supervision."""
    mask_valid: Bool[Tensor, "G Q"]
    """A prompt without a usable pick has no valid mask."""
    image_index: Int[Tensor, " G"]


@dataclass(frozen=True)
class Batch(_Movable):
    """One training or labelling batch."""

    images: Float[Tensor, "B 3 H W"]
    """Normalised, padded at the right and the bottom."""
    image_sizes: Int[Tensor, "B 2"]
    """(height, width) of the picture inside the padding."""
    prompts: PointPrompts
    bags: ProposalBags
    background_draws: Float[Tensor, "B R 4"]
    """Uniform numbers in [0, 1) that place the random background boxes. They are drawn per image
    from (seed, epoch, image id), so results depend neither on batch composition nor on device."""
    part_draws: Float[Tensor, "G S 4"]
    """Uniform numbers in [0, 1) that place part boxes inside a selected box."""
    image_ids: tuple[int, ...]
    file_names: tuple[str, ...]
    size_divisor: int = 32
    """An image alone would be padded to multiples of this many input pixels."""
    views: tuple[str | None, ...] = ()
    """Under which names the features of the images may be kept; empty where none are."""
    features: tuple[tuple[Float[Tensor, "_ _ _"], ...] | None, ...] = ()
    """Kept feature maps of every image on its own canvas, finest first, on the CPU; None where they have to
    be computed, empty where none are. An image whose features are kept is not decoded: its pixels are 0."""


@dataclass(frozen=True)
class SegmentationOutputs(_Movable):
    """Raw outputs of the SOLOv2 head, one entry per pyramid level."""

    category_logits: tuple[Float[Tensor, "B K _ _"], ...]
    kernels: tuple[Float[Tensor, "B D _ _"], ...]
    mask_features: Float[Tensor, "B D h w"]


@dataclass(frozen=True)
class Instances(_Movable):
    """Predicted instances of one image, by falling score, in the *original* frame."""

    masks: Bool[Tensor, "I H W"]
    boxes: Float[Tensor, "I 4"]
    scores: Float[Tensor, " I"]
    labels: Int[Tensor, " I"]
    image_size: tuple[int, int]


@dataclass(frozen=True)
class LossSums(_Movable):
    """Unnormalised loss sums and their counts, so that several processes can normalise as one.

    Every sum is differentiable; every count and ``selected_score_sum`` is detached.
    """

    selection: Float[Tensor, ""]
    """Sum over prompts of the PSM binary cross-entropy (eq. 3)."""
    refinement_positive: Float[Tensor, ""]
    """Sum over prompts of the weighted focal loss (eq. 5)."""
    refinement_negative: Float[Tensor, ""]
    """Sum over negatives of the unweighted focal loss (eq. 7 without beta)."""
    category: Float[Tensor, ""]
    """Sum of SOLOv2's focal loss over grid cells and classes."""
    mask: Float[Tensor, ""]
    """Sum of weighted Dice losses over positive cells (MPS weights included)."""
    num_prompts: Float[Tensor, ""]
    num_negatives: Float[Tensor, ""]
    num_positive_cells: Float[Tensor, ""]
    selected_score_sum: Float[Tensor, ""]
    """Sum over prompts of the PSM bag score at the annotated class (numerator of beta, eq. 6)."""
