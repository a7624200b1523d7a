"""The typed settings tree. This module imports no torch.

A YAML file holds only what differs from these defaults. ``load_config`` (in
``sapnet.config_loader``) reads it and reports every problem at once. The sections of the model are
in ``sapnet.config_model`` and ``sapnet.config_labelling``, those of the proposers in
``sapnet.config_proposals``, what they share in ``sapnet.config_section``; all are re-exported here.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from sapnet.config_labelling import LabellingConfig, LabelRuleConfig, SupervisionConfig
from sapnet.config_model import (
    AgreementConfig,
    BackboneConfig,
    BoxMiningConfig,
    GuidanceConfig,
    InferenceConfig,
    LossConfig,
    MilHeadConfig,
    ModelConfig,
    MultiMaskConfig,
    PyramidConfig,
    RefinementConfig,
    RegionsConfig,
    SolovConfig,
)
from sapnet.config_proposals import (
    ProposalConfig,
    RegionProposerConfig,
    SamProposerConfig,
)
from sapnet.config_section import Count, NonNegative, Positive, Probability, Section, Size

__all__ = [
    "AgreementConfig",
    "BackboneConfig",
    "BoxMiningConfig",
    "Config",
    "Count",
    "DataConfig",
    "GuidanceConfig",
    "InferenceConfig",
    "LabelRuleConfig",
    "LabellingConfig",
    "LossConfig",
    "MilHeadConfig",
    "ModelConfig",
    "MultiMaskConfig",
    "NonNegative",
    "OptimConfig",
    "Positive",
    "Probability",
    "ProposalConfig",
    "PyramidConfig",
    "RefinementConfig",
    "RegionProposerConfig",
    "RegionsConfig",
    "SamProposerConfig",
    "Section",
    "Size",
    "SolovConfig",
    "SupervisionConfig",
    "TrainingConfig",
]


class DataConfig(Section):
    """How images reach the network."""

    train_short_sides: tuple[Size, ...] = (224, 256, 288, 320)
    """Short sides in pixels, one drawn per training image (multi-scale training)."""
    test_short_side: Size = 320
    """Short side in pixels when labelling and predicting."""
    max_long_side: Size = 512
    """The long side never exceeds this many pixels."""
    flip_probability: Probability = 0.5
    """Probability of a horizontal flip (reference configuration)."""
    size_divisor: Size = 32
    """Batches are padded to a multiple of this (reference configuration); a multiple of mask_stride."""
    mask_stride: Literal[4] = 4
    """Masks are kept at one cell per this many input pixels: the stride of SOLOv2's mask features,
    which is that of the finest pyramid level. No other value fits the network."""
    mean: tuple[float, float, float] = (127 / 255, 127 / 255, 127 / 255)
    """Channel means of images scaled to [0, 1] (EfficientNet-Lite; ResNet: 0.485, 0.456, 0.406)."""
    std: tuple[float, float, float] = (128 / 255, 128 / 255, 128 / 255)
    """Channel deviations of such images (EfficientNet-Lite; ResNet: 0.229, 0.224, 0.225)."""
    batch_size: Size = 2
    """Images per process and step."""
    num_workers: Count = 1
    """Loader processes; 0 loads in the main process."""
    max_proposals: Size = 12
    """Proposals used per prompt, best proposer score first (the authors use 6)."""

    @model_validator(mode="after")
    def _padding_fits_the_masks(self) -> Self:
        if self.size_divisor % self.mask_stride:
            msg = f"size_divisor ({self.size_divisor}) must be a multiple of mask_stride ({self.mask_stride})"
            raise ValueError(msg)
        return self


class OptimConfig(Section):
    """The optimiser, with a linear warm-up and a step schedule as in the paper."""

    name: Literal["sgd", "adamw"] = "adamw"
    """sgd with momentum (paper) or AdamW, which needs fewer steps on a few hundred photographs."""
    learning_rate: Positive = 1e-3
    """At reference_batch images per step; scaled linearly with the real total batch."""
    backbone_rate_multiplier: Positive = 0.1
    """Factor on the learning rate of the pretrained backbone (paper: 1)."""
    reference_batch: Size = 2
    momentum: Probability = 0.9
    weight_decay: NonNegative = 1e-4
    warmup_steps: Count = 100
    warmup_ratio: Probability = 0.001
    """Share of the learning rate at the first step (reference configuration: 1e-3)."""
    milestones: tuple[Positive, ...] = (8 / 12, 11 / 12)
    """Shares of training after which the rate falls (paper: epochs 8 and 11 of 12)."""
    decay: Probability = 0.1
    gradient_clip: Positive = 35.0
    """Largest L2 norm of the gradient (reference configuration: 35)."""
    accumulation_steps: Size = 1


class TrainingConfig(Section):
    """The loop."""

    epochs: Size = 12
    mode: Literal["end-to-end", "two-stage", "selection-only", "top-score"] = "end-to-end"
    """end-to-end: selection and segmentation together (paper); two-stage: first the selection,
    then a segmenter on its fixed picks, each for all epochs (table 3); selection-only: labels but
    no segmenter; top-score: no selection, each prompt is supervised by its best proposer score
    (the SAM-top1 baseline)."""
    selection_warmup_epochs: Count = 0
    """end-to-end only: epochs at the start that train the selection alone. They are taken from those
    of the segmenter, and labels gain nothing by them (docs/measurements.md)."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    checkpoint_steps: Size = 100
    """A resumable checkpoint every this many steps."""
    log_steps: Size = 10
    evaluate_epochs: Count = 4
    """Evaluate on --val-instances every this many epochs and at the end; 0: at the end only."""

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.mode == "end-to-end" and self.selection_warmup_epochs >= self.epochs:
            msg = (
                f"selection_warmup_epochs ({self.selection_warmup_epochs}) must be smaller than "
                f"epochs ({self.epochs})"
            )
            raise ValueError(msg)
        return self


class Config(Section):
    """All settings of a run."""

    data: DataConfig = DataConfig()
    proposals: ProposalConfig = ProposalConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    training: TrainingConfig = TrainingConfig()
    labelling: LabellingConfig = LabellingConfig()
    seed: Count = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
