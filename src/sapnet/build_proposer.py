"""From settings to the proposer; the counterpart of ``build.py`` for what fills the bags."""

from __future__ import annotations

from typing import Literal

from sapnet.config import ProposalConfig
from sapnet.proposals.builtin.proposer import BuiltinProposer
from sapnet.proposals.proposer import Proposer
from sapnet.proposals.regions import RegionProposer
from sapnet.proposals.sam.proposer import SamProposer


def build_proposer(config: ProposalConfig, *, device: str = "cpu") -> Proposer:
    """Build the proposer that fills the bags.

    Args:
        config: The proposals section.
        device: Where a proposer with weights computes.

    Returns:
        The weightless proposer, the built-in one or a member of the SAM family, whose files have been
        found.

    Raises:
        CheckpointError: A checkpoint is missing, gated, incomplete or of another member.
        InputError: The extra ``sam`` is not installed.
    """
    regions, sam = config.regions, config.sam
    if config.name == "regions":
        return RegionProposer(
            working_long_side=regions.working_long_side,
            masks_per_point=regions.masks_per_point,
            duplicate_iou=regions.duplicate_iou,
            grabcut=regions.grabcut,
        )
    if config.name == "builtin":
        builtin = config.builtin
        return BuiltinProposer(
            sources=builtin.sources,
            kinds=builtin.prompts,
            working_long_side=builtin.working_long_side,
            masks_per_point=builtin.masks_per_point,
            duplicate_iou=builtin.duplicate_iou,
            likeness_discount=builtin.likeness_discount,
            max_negatives=builtin.max_negatives,
            negatives=builtin.negatives,
            jitter_pixels=builtin.jitter_pixels,
            jitter_count=builtin.jitter_count,
            seed=builtin.seed,
            weights=config.checkpoint,
        )
    return SamProposer(
        config.name,
        checkpoint=config.checkpoint,
        device=device,
        precision=sam.precision,
        offline=sam.offline,
        kinds=sam.prompts,
        multimask=sam.multimask,
        max_negatives=sam.max_negatives,
        negatives=sam.negatives,
        jitter_pixels=sam.jitter_pixels,
        jitter_count=sam.jitter_count,
        duplicate_iou=sam.duplicate_iou,
        max_per_prompt=sam.masks_per_point,
        chunk_size=sam.chunk_size,
        seed=sam.seed,
    )


def second_proposer(config: ProposalConfig) -> Literal["builtin", "regions"] | None:
    """Return the name of the proposer whose opinion is asked; None: nobody's.

    Args:
        config: The proposals section.
    """
    if config.second_opinion == "none":
        return None
    if config.second_opinion != "auto":
        return config.second_opinion
    return "regions" if config.name == "builtin" else "builtin"


def build_second_opinion(config: ProposalConfig) -> Proposer | None:
    """Build the proposer whose opinion of the proposals is asked.

    Args:
        config: The proposals section.

    Returns:
        The built-in proposer with its bundled weights, or the weightless one; None where nobody is asked.

    Raises:
        CheckpointError, InputError: As :func:`build_proposer`.
    """
    name = second_proposer(config)
    if name is None:
        return None
    return build_proposer(config.model_copy(update={"name": name, "checkpoint": None}))
