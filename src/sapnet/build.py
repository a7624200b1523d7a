"""From settings to objects: the only place that knows both.

Modules take plain keyword arguments; stages get their settings bound here.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import nn

from sapnet.config import Config, DataConfig, LabelRuleConfig, ModelConfig
from sapnet.data.annotations import PointSet
from sapnet.data.dataset import BagSource, TrainingDataset
from sapnet.inference.postprocess import postprocess
from sapnet.losses.segmentation import segmentation_sums
from sapnet.losses.total import total_loss
from sapnet.mil.box_mining import mine_boxes
from sapnet.mil.label_rule import LabelRule
from sapnet.mil.point_guidance import point_guidance
from sapnet.mil.positives_negatives import generate_regions
from sapnet.mil.prior import proposal_prior
from sapnet.mil.pseudo_masks import map_to_masks
from sapnet.models.backbone import Backbone
from sapnet.models.layers import conv_norm
from sapnet.models.mil_head import MilHead
from sapnet.models.pyramid import FeaturePyramid
from sapnet.models.region_features import RegionFeatures
from sapnet.models.region_pooling import RegionPooler
from sapnet.models.sapnet import SapNet
from sapnet.models.segmenter_start import start_segmentation
from sapnet.models.selection_branch import SelectionBranch
from sapnet.models.selection_settings import PickingSettings, SelectionSettings, StageFunctions
from sapnet.models.solov2_head import Solov2Head


def build_model(
    config: ModelConfig, *, num_classes: int, mask_stride: int, pretrained: bool = True
) -> SapNet:
    """Build the whole network.

    Args:
        config: The model section.
        num_classes: K.
        mask_stride: Input pixels per mask cell (``data.mask_stride``).
        pretrained: False leaves everything random, for weights that are loaded afterwards.

    Returns:
        The network, on the CPU, in training mode.

    Raises:
        ConfigError: Settings that the backbone does not support.
        CheckpointError: Weights of the backbone or of the segmentation branch that cannot be loaded.
    """
    backbone = Backbone(
        config.backbone.name,
        weights=config.backbone.weights if pretrained else "none",
        frozen_stages=config.backbone.frozen_stages,
        freeze_batch_norm=config.backbone.freeze_batch_norm,
    )
    pyramid = FeaturePyramid(backbone.channels, config.pyramid.channels, config.pyramid.num_levels)
    segmentation = _build_segmentation(config, pyramid, num_classes)
    if pretrained:
        known = config.backbone.weights == "bundled"
        start_segmentation(pyramid, segmentation, config.solov2.weights, known_backbone=known)
    ranks = config.multi_mask.ranks if config.multi_mask.enabled else ()
    return SapNet(
        backbone=backbone,
        pyramid=pyramid,
        selection=_build_selection(config, backbone, pyramid, num_classes, mask_stride),
        segmentation=segmentation,
        pool_backbone=config.mil_head.features == "backbone",
        map_to_masks=partial(
            map_to_masks, ranks=ranks, respect_neighbours=config.multi_mask.respect_neighbours
        ),
        segmentation_sums=partial(
            segmentation_sums,
            scale_ranges=config.solov2.scale_ranges,
            center_sigma=config.solov2.center_sigma,
            mask_stride=mask_stride,
            alternate_weight=config.multi_mask.weight,
            focal_alpha=config.loss.category_focal_alpha,
            focal_gamma=config.loss.category_focal_gamma,
            max_positives=config.solov2.max_positives,
        ),
        agreement_exponent=config.agreement.exponent,
        supervision_rule=label_rule_of(config.supervision),
    )


def label_rule_of(config: LabelRuleConfig) -> LabelRule:
    """Return the rule that a section describes.

    Args:
        config: ``labelling`` or ``model.supervision``.
    """
    return LabelRule(config.exclusion, config.overlap_temperature, config.vote, config.vote_share_large)


def _build_segmentation(config: ModelConfig, pyramid: FeaturePyramid, num_classes: int) -> Solov2Head:
    return Solov2Head(
        config.pyramid.channels,
        num_classes,
        level_strides=pyramid.strides,
        num_grids=config.solov2.num_grids,
        head_strides=config.solov2.head_strides,
        head_channels=config.solov2.head_channels,
        head_convs=config.solov2.head_convs,
        mask_channels=config.solov2.mask_channels,
        kernel_channels=config.solov2.kernel_channels,
    )


def _build_selection(
    config: ModelConfig, backbone: Backbone, pyramid: FeaturePyramid, num_classes: int, mask_stride: int
) -> SelectionBranch:
    head = config.mil_head
    from_backbone = head.features == "backbone"
    channels = backbone.channels[1:] if from_backbone else (pyramid.channels,) * len(pyramid.strides)
    strides = backbone.strides[1:] if from_backbone else pyramid.strides
    projections: list[nn.Module] = [nn.Identity() for _ in channels]
    if head.projection_channels:
        projections = [conv_norm(count, head.projection_channels, 1, activate=True) for count in channels]
        channels = (head.projection_channels,) * len(channels)
    pooler = RegionPooler(strides, roi_size=head.roi_size, mode=head.features, pooling=head.pooling)
    return SelectionBranch(
        regions=RegionFeatures(pooler=pooler, projections=projections, mask_stride=mask_stride),
        head=MilHead(
            pooler.out_channels(channels),
            num_classes,
            roi_size=head.roi_size,
            hidden_channels=head.hidden_channels,
            background_output=head.background_output,
            dropout=head.dropout,
        ),
        stages=_build_stages(config, mask_stride),
        settings=SelectionSettings(
            num_classes=num_classes,
            guide_logits=config.guidance.apply_to == "logits",
            refine=config.refinement.enabled,
            refine_activation=config.refinement.class_activation,
            picking=PickingSettings(
                class_activation=config.picking.class_activation,
                use_instances=config.picking.instance_probability,
                from_positives=config.picking.candidates == "positives",
            ),
            guide_refinement=config.refinement.guide,
            focal_gamma=config.refinement.focal_gamma,
            mine_after_select=config.box_mining.also_after_select,
        ),
    )


def _build_stages(config: ModelConfig, mask_stride: int) -> StageFunctions:
    guidance, regions, mining = config.guidance, config.regions, config.box_mining
    guide = partial(
        point_guidance,
        overlap=guidance.overlap,
        distance=guidance.distance,
        exponent=guidance.exponent,
        mask_stride=mask_stride,
    )
    generate = partial(
        generate_regions,
        positives=regions.positives,
        negatives=regions.negatives,
        scale_factors=regions.scale_factors,
        shift=regions.shift,
        background_iou=regions.background_iou,
        part_iou=regions.part_iou,
        part_min_area=regions.part_min_area,
    )
    prior = partial(
        proposal_prior,
        size_exponent=config.picking.size_exponent,
        proposer_exponent=config.picking.proposer_exponent,
        opinion_exponent=config.picking.opinion_exponent,
    )
    mine = partial(
        mine_boxes,
        candidates=mining.candidates,
        candidate_order=mining.candidate_order,
        overlap_threshold=mining.overlap_threshold,
        containing_threshold=mining.containing_threshold,
        containing_tolerance=mining.containing_tolerance,
        respect_neighbours=mining.respect_neighbours,
    )
    return StageFunctions(
        guide=guide if guidance.enabled else None,
        generate=generate,
        mine=mine if mining.enabled else None,
        prior=prior,
    )


def build_total_loss(config: ModelConfig) -> partial:
    """Bind the weights of eq. 8 and 9.

    Args:
        config: The model section.

    Returns:
        ``losses.total.total_loss``, to be called with sums and counts.
    """
    return partial(
        total_loss,
        refinement_positive_weight=config.refinement.positive_weight,
        selection_weight=config.loss.selection_weight,
        refinement_weight=config.loss.refinement_weight,
        mask_weight=config.loss.mask_weight,
        category_weight=config.loss.category_weight,
    )


def build_postprocess(config: Config) -> partial:
    """Bind the inference settings.

    Args:
        config: All settings.

    Returns:
        ``inference.postprocess.postprocess``, to be called with outputs and sizes.
    """
    settings = config.model.inference
    return partial(
        postprocess,
        mask_stride=config.data.mask_stride,
        score_threshold=settings.score_threshold,
        mask_threshold=settings.mask_threshold,
        max_candidates=settings.max_candidates,
        nms_kernel=settings.nms_kernel,
        nms_sigma=settings.nms_sigma,
        keep_threshold=settings.keep_threshold,
        max_instances=settings.max_instances,
    )


def build_views(
    config: Config, points: PointSet, images_dir: Path, store: BagSource
) -> tuple[TrainingDataset, ...]:
    """Build the views of every image that labelling looks at.

    Args:
        config: All settings.
        points: The clicks.
        images_dir: Folder of the images.
        store: The proposals.

    Returns:
        One data set per entry of ``labelling.scales``; the first is not mirrored.
    """
    data, labelling = config.data, config.labelling
    views = []
    for number, scale in enumerate(labelling.scales):
        sizes = {
            "test_short_side": max(1, round(data.test_short_side * scale)),
            "max_long_side": max(1, round(data.max_long_side * scale)),
        }
        scaled = config.model_copy(update={"data": data.model_copy(update=sizes)})
        view = build_dataset(scaled, points, images_dir, store, training=False)
        view.mirrored = labelling.mirror_every_second and number % 2 == 1
        views.append(view)
    return tuple(views)


def build_dataset(
    config: Config, points: PointSet, images_dir: Path, store: BagSource, *, training: bool
) -> TrainingDataset:
    """Build the data set of clicks, images and bags.

    Args:
        config: All settings.
        points: The clicks.
        images_dir: Folder of the images.
        store: The proposals.
        training: Draw sizes and flips; otherwise the fixed test size.

    Returns:
        The data set, indexed by image.
    """
    data: DataConfig = config.data
    return TrainingDataset(
        points,
        images_dir,
        store,
        short_sides=data.train_short_sides if training else (data.test_short_side,),
        max_long_side=data.max_long_side,
        flip_probability=data.flip_probability,
        mask_stride=data.mask_stride,
        max_proposals=data.max_proposals,
        num_background=config.model.regions.background_per_image,
        num_parts=config.model.regions.parts_per_prompt,
        mean=data.mean,
        std=data.std,
        seed=config.seed,
        training=training,
    )
