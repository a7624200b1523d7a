"""The sections of the settings that say how final scores become masks.

``sapnet.config`` re-exports them; this module imports no torch.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sapnet.config_section import NonNegative, Positive, Section


class LabelRuleConfig(Section):
    """How final scores choose a mask for every click (not in the paper; ADR 0008, 0012)."""

    exclusion: NonNegative = 0.25
    """A proposal's score is multiplied with exp(-exclusion) per other clicked object of the image that it
    is expected to cover; 0: not (paper)."""
    overlap_temperature: NonNegative = 0.5
    """0: the best score (paper). Above: the proposal that promises the highest overlap with the bag, whose
    proposals count as score ** (1 / temperature)."""
    vote: bool = True
    """The pixels that proposals with more than the needed share of the weight cover, each weighing
    score ** (1 / temperature), instead of the pixels of one proposal (ADR 0012). Without effect at
    temperature 0."""
    vote_share_large: Annotated[float, Field(gt=0, le=0.5)] = 0.3
    """Share of the weight above which a vote keeps a pixel of an object that takes up 30 % of its image in
    each direction, or more, where the weight is divided among four proposals or more (ADR 0015); small
    objects and those that few proposals speak for need 0.5, as all do where this is 0.5. Less because
    proposals show many parts of large objects, so that half of the weight covers a core."""


class SupervisionConfig(LabelRuleConfig):
    """What supervises the SOLOv2 branch end to end, chosen from the one view at hand (ADR 0013).

    With exclusion and overlap_temperature 0 the branch's own pick (paper), mined where box mining is on.
    """


class LabellingConfig(LabelRuleConfig):
    """How a trained network labels; the second stage of two-stage training learns from these labels."""

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0, 1.3)
    """One view of every image per entry, at data.test_short_side and data.max_long_side times this;
    the scores of all views are averaged. (1.0,): one look (paper)."""
    mirror_every_second: bool = True
    """Mirror the second view, the fourth, and so on."""
