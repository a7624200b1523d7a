"""The sections of the settings that choose and shape the proposer.

``sapnet.config`` re-exports them; this module imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sapnet.config_section import Count, NonNegative, Positive, Probability, Section, Size

ProposerName = Literal["regions", "builtin", "sam", "sam-hq", "sam2", "sam3", "edgetam"]
PromptKind = Literal["point", "point+negatives", "box", "box+point", "jittered"]
OverlapShare = Annotated[float, Field(gt=0.0, le=1.0)]


class RegionProposerConfig(Section):
    """The weightless proposer: nested regions around the click."""

    working_long_side: Size = 384
    """Images are reduced to this long side before segmentation."""
    masks_per_point: Size = 12
    """Proposals kept per click after near-duplicates are dropped."""
    duplicate_iou: OverlapShare = 0.9
    """Two proposals overlapping at least this much are one."""
    grabcut: bool = True
    """Add masks grown by GrabCut from squares around the click."""


class BuiltinProposerConfig(Section):
    """The learned proposer that comes with the package."""

    sources: tuple[Literal["hierarchy", "head"], ...] = ("hierarchy", "head")
    """hierarchy: nested regions of learned boundaries; head: masks of the promptable head."""
    prompts: tuple[PromptKind, ...] = ("point+negatives", "box+point")
    """As for the SAM family; a click without negatives is asked alone. Without point+negatives the other
    clicks of the image are not looked at."""
    working_long_side: Size = 768
    """Images are brought to this long side before their boundaries are computed (enlarged at most twice)."""
    masks_per_point: Size = 12
    """Proposals kept per click after near-duplicates are dropped."""
    duplicate_iou: OverlapShare = 0.8
    """Two proposals overlapping at least this much are one."""
    likeness_discount: Probability = 0.7
    """Share of its score that a proposal loses per IoU with a better one of its click."""
    max_negatives: Size = 3
    """Most other clicks of the image that are negative points."""
    negatives: Literal["same-class", "all"] = "same-class"
    """Which other clicks those are."""
    jitter_pixels: NonNegative = 4.0
    """How far jittered clicks are moved, pixels of the original image."""
    jitter_count: Size = 2
    """Jittered prompts per click."""
    seed: Count = 0
    """Seed of the jitter."""


class SamProposerConfig(Section):
    """The SAM family: which prompts fill the bag, and how they are decoded."""

    prompts: tuple[PromptKind, ...] = ("point", "point+negatives")
    """point: the click; point+negatives: with the nearest other clicks as negative points; box and
    box+point: the box that proposals.boxes says, without and with the click; jittered: clicks moved a
    little."""
    multimask: bool = True
    """Three masks per prompt (part, whole, group) instead of one."""
    max_negatives: Size = 3
    """Most other clicks of the image that are negative points."""
    negatives: Literal["same-class", "all"] = "same-class"
    """Which other clicks those are."""
    jitter_pixels: NonNegative = 4.0
    """How far jittered clicks are moved, pixels of the original image."""
    jitter_count: Size = 2
    """Jittered prompts per click."""
    masks_per_point: Size = 12
    """Proposals kept per click after near-duplicates are dropped."""
    duplicate_iou: OverlapShare = 0.95
    """Two proposals overlapping at least this much are one."""
    chunk_size: Size = 32
    """Prompts per call of the mask decoder; lower it where memory is short."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision of encoder and decoder."""
    offline: bool = True
    """Never ask the hub; what lies in its local cache is used."""
    seed: Count = 0
    """Seed of the jitter."""


class EnhancerConfig(Section):
    """The point-to-box enhancer (P2BNet): boxes learned from the clicks, as prompts for the proposer.

    It shares data, model.backbone (but for frozen_stages), device and seed with the rest. "paper" below
    is P2BNet's.
    """

    epochs: Size = 8
    """Epochs over the images (paper: 12)."""
    learning_rate: Positive = 1e-3
    """Of AdamW, at optim.reference_batch images per step (paper: SGD)."""
    frozen_stages: Count = 4
    """Leading stages of the backbone without gradient; 4: all of it (paper: 1)."""
    features: Literal["pyramid", "backbone"] = "backbone"
    """pyramid: RoIAlign on the FPN level of each box (paper); backbone: on the backbone's own stages."""
    projection_channels: Count = 32
    """Channels of each feature map before RoIAlign; 0: as they are (paper)."""
    roi_size: Size = 4
    """RoIAlign output cells per side (paper: 7)."""
    hidden_channels: Size = 256
    """Width of the two fully connected layers (paper: 1024)."""
    base_sizes: tuple[Positive, ...] = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
    """Sizes of the coarse boxes in hundredths of the image's short side (paper)."""
    aspect_factors: tuple[Positive, ...] = (1 / 3, 1 / 2, 2 / 3, 1.0, 1.5, 2.0, 3.0)
    """f of the coarse boxes: f times as wide, 1/f times as high (paper)."""
    cut: Literal["symmetric", "clip"] = "symmetric"
    """Coarse boxes that leave the image: symmetric keeps the click their centre (paper)."""
    best_count: Size = 7
    """A box is the weighted mean of this many of the best (paper: 7)."""
    refinement_scales: tuple[Positive, ...] = (1.0, 1.25, 0.8)
    """Factors on either side of an estimated box in the second pass (paper: 1, 1.2, 1.3, 0.8, 0.7)."""
    refinement_shift: NonNegative = 0.1
    """By how much of a side its boxes are moved (paper: 0.1)."""
    min_shown_share: Probability = 0.7
    """Boxes of the second pass show more than this share of them in the image (paper: 0.7)."""
    background_per_image: Count = 200
    """Random background boxes per image (paper: 500)."""
    background_iou: Probability = 0.3
    """They overlap every box of the second pass less than this (paper: 0.3)."""
    parts_per_click: Count = 0
    """Boxes inside the first estimate that count as background, as in SAPNet's algorithm 1 (paper: none)."""
    instance_probability: bool = False
    """Weigh the best boxes also by the instance probability (paper: true), which prefers telling parts."""
    size_exponent: NonNegative = 0.1
    """Weigh the best boxes also by (area / largest area of the bag) to this power (paper: 0)."""
    guidance_exponent: NonNegative = 3.0
    """Boxes that cover other clicks of the class score less, by SAPNet's eq. 2 to this power (paper: 0)."""


class ProposalConfig(Section):
    """Which proposer fills the bags, and its settings."""

    name: ProposerName = "builtin"
    """regions: nested regions, no weights; builtin: learned, comes with the package; sam, sam-hq, sam2,
    sam3, edgetam: needs the extra sam."""
    checkpoint: str | None = None
    """Of the SAM family: a folder in the format of transformers, an original .pth file, or an id on the
    hub; none: the member's default on the hub, from its local cache. Of builtin: a weights file; none:
    the one that comes with the package. regions has none."""
    regions: RegionProposerConfig = RegionProposerConfig()
    builtin: BuiltinProposerConfig = BuiltinProposerConfig()
    sam: SamProposerConfig = SamProposerConfig()
    """Of every member of the SAM family."""
    boxes: Literal["best-mask", "enhancer"] = "best-mask"
    """Where the boxes of box prompts come from: the best mask of the other prompts, or a network that
    learns them from the clicks first (the paper's annotation enhancer)."""
    enhancer: EnhancerConfig = EnhancerConfig()
    second_opinion: Literal["auto", "builtin", "regions", "none"] = "auto"
    """Whose agreement with every proposal is kept beside it, for model.picking.opinion_exponent (not in the
    paper; ADR 0011). auto: the built-in proposer's, and of its own proposals that of regions; none: nobody's.
    Asked only where that exponent is more than 0, with the settings of proposals.builtin or .regions."""
