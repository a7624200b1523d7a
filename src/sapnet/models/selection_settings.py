"""What the pseudo-label branch is put together from: its stages and its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sapnet.mil.scoring import ClassActivation
from sapnet.structures import PointPrompts, ProposalBags, Regions, Selection


@dataclass(frozen=True)
class StageFunctions:
    """The paper's stages with their settings bound (``build.py`` binds them).

    A stage that is switched off is None.
    """

    guide: Callable[[PointPrompts, ProposalBags], Tensor] | None
    """Point distance guidance (eq. 2)."""
    generate: Callable[..., Regions]
    """Positive and negative proposal generation (algorithm 1)."""
    mine: Callable[..., Selection] | None
    """Box mining strategy (section 3.4)."""
    prior: Callable[[ProposalBags], Tensor]
    """Size, proposer score and second opinion (not in the paper)."""


@dataclass(frozen=True)
class PickingSettings:
    """By which scores both passes pick; the defaults are the paper's."""

    class_activation: ClassActivation = "softmax"
    use_instances: bool = True
    from_positives: bool = True


@dataclass(frozen=True)
class SelectionSettings:
    """Settings of the branch that belong to no single stage."""

    num_classes: int
    guide_logits: bool = False
    """Guidance multiplies the class logits of the loss only (released code)."""
    refine: bool = True
    refine_activation: ClassActivation = "sigmoid"
    picking: PickingSettings = PickingSettings()
    guide_refinement: bool = True
    focal_gamma: float = 2.0
    mine_after_select: bool = False
