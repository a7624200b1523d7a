"""A whole session of the point-to-box enhancer: folder, training, boxes of every click."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator

from sapnet.build_enhancer import build_enhancer, build_enhancer_dataset, enhancer_settings
from sapnet.config import Config
from sapnet.data.annotations import PointSet
from sapnet.engine.devices import device_of, make_accelerator
from sapnet.engine.loop import EpochPlan
from sapnet.engine.run_folder import check_run_folder, describe_environment, prepare_run_folder
from sapnet.engine.session import SessionOptions
from sapnet.engine.train import fit
from sapnet.enhancer.box_file import BoxFile, load_boxes, save_boxes
from sapnet.enhancer.estimating import estimate_boxes
from sapnet.enhancer.network import PointToBox
from sapnet.models.sapnet import SapNet

BOXES_NAME = "boxes.json"


def origin_of_boxes(config: Config) -> dict[str, Any]:
    """Say what makes the boxes, for the manifest of a store: the settings that decide them.

    Args:
        config: All settings.

    Returns:
        JSON-compatible; the digest of the boxes is added once there are any.
    """
    settings = enhancer_settings(config)
    data, backbone = settings.data, settings.model.backbone
    return {
        "made_by": "enhancer",
        "settings": json.loads(settings.proposals.enhancer.model_dump_json()),
        "short_sides": [*data.train_short_sides, data.test_short_side],
        "backbone": f"{backbone.name} ({backbone.weights})",
        "seed": settings.seed,
    }


def enhance(
    points: PointSet,
    images_dir: Path,
    folder: Path,
    config: Config,
    *,
    inputs: Mapping[str, Path | None],
    options: SessionOptions,
) -> BoxFile:
    """Train the enhancer on the clicks alone and estimate a box for each.

    Continues what an interrupted call left in the folder and ends at the same boxes; a finished folder of
    the same clicks and settings is used as it is.

    Args:
        points: The clicks.
        images_dir: Folder of the images.
        folder: Run folder of the enhancer; receives ``boxes.json``.
        config: All settings.
        inputs: Paths for ``environment.json``.
        options: Skip and quiet.

    Returns:
        The boxes, original frame.

    Raises:
        CheckpointError: The folder holds a training with other settings or clicks, or is damaged.
        DataError: An image cannot be read and ``options.skip_bad`` is off.
        JobError: Training failed or the folder cannot be written.
        KeyboardInterrupt: Interrupted; the same call continues.
    """
    settings = enhancer_settings(config)
    accelerator = make_accelerator(settings)
    environment = describe_environment(settings, inputs=inputs, digests={"points": points.digest})
    check_run_folder(folder, settings, environment, resume=True)
    accelerator.wait_for_everyone()
    target = folder / BOXES_NAME
    if target.exists():
        return load_boxes(target)
    if accelerator.is_main_process:
        prepare_run_folder(folder, settings, environment, resume=True)
    accelerator.wait_for_everyone()
    model = _learn(points, images_dir, folder, settings, accelerator, options)
    if accelerator.is_main_process:
        found = estimate_boxes(
            model,
            build_enhancer_dataset(settings, points, images_dir, training=False),
            size_divisor=settings.data.size_divisor,
            mask_stride=settings.data.mask_stride,
            device=device_of(settings),
            num_workers=settings.data.num_workers,
            skip_bad=options.skip_bad,
            quiet=options.quiet,
        )
        save_boxes(target, points, found, settings=origin_of_boxes(config))
    accelerator.wait_for_everyone()
    return load_boxes(target)


def _learn(
    points: PointSet,
    images_dir: Path,
    folder: Path,
    settings: Config,
    accelerator: Accelerator,
    options: SessionOptions,
) -> PointToBox:
    """Train the network, from its newest checkpoint if there is one."""
    torch.manual_seed(settings.seed)
    model = build_enhancer(settings, num_classes=len(points.categories))
    if len(points) == 0:
        return model
    fit(
        # The loop asks for no more than a backbone and loss sums.
        cast(SapNet, model),
        build_enhancer_dataset(settings, points, images_dir, training=True),
        folder,
        settings,
        accelerator=accelerator,
        plan=[EpochPlan("selection")] * settings.training.epochs,
        skip_bad=options.skip_bad,
        quiet=options.quiet,
        title="learn boxes",
    )
    return model
