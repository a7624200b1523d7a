"""Which trainings keep the features of their backbone on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sapnet.config import Config
from sapnet.data.dataset import TrainingDataset
from sapnet.data.feature_files import FeatureFiles
from sapnet.models.frozen_features import features_digest
from sapnet.models.sapnet import FIRST_POOLED, SapNet


def keep_features(
    model: SapNet, datasets: Sequence[TrainingDataset], config: Config, folder: Path | None
) -> None:
    """Let a network and its data sets share features on disk, where its backbone is wholly frozen.

    The data sets look there before they read an image; the network writes what was not there.

    Args:
        model: The network with its final backbone, on the device where it will compute.
        datasets: What it will see.
        config: Settings of the training or of the labelling.
        folder: Of the features of all networks; None: keep nothing.
    """
    files = None
    if folder is not None and model.backbone.is_frozen:
        # A selection trained alone has no segmentation branch to agree with.
        needs_pyramid = config.training.mode != "selection-only" or not model.pool_backbone
        files = FeatureFiles(
            folder,
            features_digest(
                model.backbone,
                mean=config.data.mean,
                std=config.data.std,
                size_divisor=config.data.size_divisor,
            ),
            first_map=0 if needs_pyramid else FIRST_POOLED,
            num_maps=len(model.backbone.strides),
        )
    model.feature_keeper = files
    for dataset in datasets:
        dataset.feature_files = files
