"""The sections of the settings that choose and shape the proposer.

``sapnet.config`` re-exports them; this module imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sapnet.config_model import Count, NonNegative, Section, Size

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

    working_long_side: Size = 512
    """Images are reduced to this long side before their boundaries are computed (never enlarged)."""
    masks_per_point: Size = 12
    """Proposals kept per click after near-duplicates are dropped."""
    duplicate_iou: OverlapShare = 0.8
    """Two proposals overlapping at least this much are one."""


class SamProposerConfig(Section):
    """The SAM family: which prompts fill the bag, and how they are decoded."""

    prompts: tuple[PromptKind, ...] = ("point", "point+negatives")
    """point: the click; point+negatives: with the nearest other clicks as negative points; box and
    box+point: the box of the best mask of the other prompts, without and with the click; jittered:
    clicks moved a little."""
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


class ProposalConfig(Section):
    """Which proposer fills the bags, and its settings."""

    name: ProposerName = "regions"
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
