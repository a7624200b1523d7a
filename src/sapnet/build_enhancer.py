"""From settings to the point-to-box enhancer; the counterpart of ``build.py`` for box prompts."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from sapnet.config import Config, ModelConfig, OptimConfig, ProposalConfig, TrainingConfig
from sapnet.data.annotations import PointSet
from sapnet.data.dataset import TrainingDataset
from sapnet.enhancer.estimating import NoProposals
from sapnet.enhancer.network import EnhancerSettings, PointToBox
from sapnet.models.backbone import Backbone
from sapnet.models.layers import conv_norm
from sapnet.models.mil_head import MilHead
from sapnet.models.pyramid import FeaturePyramid
from sapnet.models.region_pooling import RegionPooler


def enhancer_settings(config: Config) -> Config:
    """Reduce all settings to those that decide what the enhancer learns, for its run folder.

    A change of any other setting leaves a trained enhancer usable.

    Args:
        config: All settings.

    Returns:
        Settings that the training loop runs with.
    """
    enhancer, training = config.proposals.enhancer, config.training
    backbone = config.model.backbone.model_copy(update={"frozen_stages": enhancer.frozen_stages})
    # Bags and their size play no part.
    data = config.data.model_copy(update={"max_proposals": 1})
    return Config(
        data=data,
        proposals=ProposalConfig(boxes="enhancer", enhancer=enhancer),
        model=ModelConfig(backbone=backbone),
        optim=OptimConfig(learning_rate=enhancer.learning_rate),
        training=TrainingConfig(
            mode="selection-only",
            epochs=enhancer.epochs,
            precision=training.precision,
            checkpoint_steps=training.checkpoint_steps,
            log_steps=training.log_steps,
        ),
        seed=config.seed,
        device=config.device,
    )


def build_enhancer(config: Config, *, num_classes: int) -> PointToBox:
    """Build the enhancer's network.

    Args:
        config: What ``enhancer_settings`` returned.
        num_classes: K.

    Returns:
        The network, on the CPU, in training mode.

    Raises:
        ConfigError: Settings that the backbone does not support.
        CheckpointError: Backbone weights that cannot be loaded.
    """
    section, backbone_settings = config.proposals.enhancer, config.model.backbone
    backbone = Backbone(
        backbone_settings.name,
        weights=backbone_settings.weights,
        frozen_stages=backbone_settings.frozen_stages,
        freeze_batch_norm=backbone_settings.freeze_batch_norm,
    )
    pyramid = None
    channels, strides = backbone.channels[1:], backbone.strides[1:]
    if section.features == "pyramid":
        pyramid = FeaturePyramid(
            backbone.channels, config.model.pyramid.channels, config.model.pyramid.num_levels
        )
        channels, strides = (pyramid.channels,) * len(pyramid.strides), pyramid.strides
    projections: list[nn.Module] = [nn.Identity() for _ in channels]
    if section.projection_channels:
        projections = [conv_norm(count, section.projection_channels, 1, activate=True) for count in channels]
        channels = (section.projection_channels,) * len(channels)
    pooler = RegionPooler(strides, roi_size=section.roi_size, mode=section.features, pooling="box")
    return PointToBox(
        backbone=backbone,
        pyramid=pyramid,
        projections=projections,
        pooler=pooler,
        head=MilHead(
            pooler.out_channels(channels),
            num_classes,
            roi_size=section.roi_size,
            hidden_channels=section.hidden_channels,
            background_output=True,
        ),
        settings=EnhancerSettings(
            num_classes=num_classes,
            base_sizes=section.base_sizes,
            aspect_factors=section.aspect_factors,
            cut=section.cut,
            best_count=section.best_count,
            refinement_scales=section.refinement_scales,
            refinement_shift=section.refinement_shift,
            min_shown_share=section.min_shown_share,
            background_iou=section.background_iou,
            guidance_exponent=section.guidance_exponent,
            instance_probability=section.instance_probability,
            size_exponent=section.size_exponent,
        ),
    )


def build_enhancer_dataset(
    config: Config, points: PointSet, images_dir: Path, *, training: bool
) -> TrainingDataset:
    """Build the data set of clicks and images, without proposals.

    Args:
        config: What ``enhancer_settings`` returned.
        points: The clicks.
        images_dir: Folder of the images.
        training: Draw sizes and flips; otherwise the fixed test size.

    Returns:
        The data set, indexed by image.
    """
    data, section = config.data, config.proposals.enhancer
    return TrainingDataset(
        points,
        images_dir,
        NoProposals(),
        short_sides=data.train_short_sides if training else (data.test_short_side,),
        max_long_side=data.max_long_side,
        flip_probability=data.flip_probability,
        mask_stride=data.mask_stride,
        max_proposals=data.max_proposals,
        num_background=section.background_per_image if training else 0,
        num_parts=section.parts_per_click if training else 0,
        mean=data.mean,
        std=data.std,
        seed=config.seed,
        training=training,
    )
