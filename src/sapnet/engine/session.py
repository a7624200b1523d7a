"""A whole training session: folder, model, loop, model file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sapnet.build import build_dataset, build_model
from sapnet.config import Config
from sapnet.data.annotations import PointSet
from sapnet.data.dataset import BagSource
from sapnet.engine.checkpoint import ModelCard, load_weights, read_card, save_model
from sapnet.engine.devices import device_of, make_accelerator
from sapnet.engine.run_folder import describe_environment, prepare_run_folder
from sapnet.engine.train import fit, plan_epochs
from sapnet.labels.label import pick_proposals
from sapnet.labels.picks import PickedProposals
from sapnet.models.sapnet import SapNet

SELECTION_NAME = "selection"
"""Sub-folder of a two-stage run that holds its first stage."""


@dataclass(frozen=True)
class TrainingData:
    """What a session learns from: clicks, images and proposals, and nothing else."""

    points: PointSet
    images_dir: Path
    store: BagSource
    digests: dict[str, str]
    """Digests of points and proposals, for ``environment.json``."""


@dataclass(frozen=True)
class SessionOptions:
    """How a session is run; changes no result."""

    resume: bool = False
    skip_bad: bool = False
    quiet: bool = False


def run_training(
    data: TrainingData,
    folder: Path,
    config: Config,
    *,
    inputs: dict[str, Path | None],
    options: SessionOptions,
    evaluate: Callable[[SapNet], dict[str, Any]] | None = None,
) -> SapNet:
    """Train a model and write a run folder.

    Args:
        data: What to learn from.
        folder: The run folder.
        config: All settings.
        inputs: Paths for ``environment.json``.
        options: Resume, skip, quiet.
        evaluate: Called now and then with the network; its figures go into the metrics.

    Returns:
        The trained network, on the CPU.

    Raises:
        InputError: Bad settings, data or folder.
        JobError: Training failed.
    """
    environment = describe_environment(config, inputs=inputs, digests=data.digests)
    prepare_run_folder(folder, config, environment, resume=options.resume)
    if config.training.mode == "two-stage":
        data, config = _first_stage(data, folder / SELECTION_NAME, config, inputs=inputs, options=options)
    torch.manual_seed(config.seed)
    model = build_model(
        config.model, num_classes=len(data.points.categories), mask_stride=config.data.mask_stride
    )
    accelerator = make_accelerator(config)
    fit(
        model,
        build_dataset(config, data.points, data.images_dir, data.store, training=True),
        folder,
        config,
        accelerator=accelerator,
        plan=plan_epochs(config),
        evaluate=evaluate if config.training.mode != "selection-only" else None,
        skip_bad=options.skip_bad,
        quiet=options.quiet,
    )
    model.to("cpu")
    if accelerator.is_main_process:
        categories = tuple((item.id, item.name) for item in data.points.categories)
        save_model(model, ModelCard(config=config, categories=categories), folder)
    accelerator.wait_for_everyone()
    return model


def _first_stage(
    data: TrainingData,
    folder: Path,
    config: Config,
    *,
    inputs: dict[str, Path | None],
    options: SessionOptions,
) -> tuple[TrainingData, Config]:
    """Train the selection alone and fix its picks; return what the second stage learns from."""
    first = _with_mode(config, "selection-only")
    going = SessionOptions(resume=True, skip_bad=options.skip_bad, quiet=options.quiet)
    model = run_training(data, folder, first, inputs=inputs, options=going)
    picks = choose(model, data, first, options=going)
    fixed = PickedProposals(data.store, {key: index for key, (index, _) in picks.items()})
    second = TrainingData(data.points, data.images_dir, fixed, data.digests)
    return second, _with_mode(config, "top-score")


def _with_mode(config: Config, mode: str) -> Config:
    training = config.training.model_copy(update={"mode": mode})
    return config.model_copy(update={"training": training})


def choose(
    model: SapNet, data: TrainingData, config: Config, *, options: SessionOptions
) -> dict[int, tuple[int, float]]:
    """Pick a proposal for every click with a trained network.

    Args:
        model: The network.
        data: Clicks, images and proposals.
        config: Its settings.
        options: Skip and quiet.

    Returns:
        Annotation id to (index in the bag or -1, score).
    """
    return pick_proposals(
        model,
        build_dataset(config, data.points, data.images_dir, data.store, training=False),
        size_divisor=config.data.size_divisor,
        mask_stride=config.data.mask_stride,
        use_segmenter=config.training.mode == "end-to-end",
        device=device_of(config),
        num_workers=config.data.num_workers,
        skip_bad=options.skip_bad,
        quiet=options.quiet,
    )


def load_model(path: Path) -> tuple[SapNet, ModelCard]:
    """Load a trained network.

    Args:
        path: A run folder or model file.

    Returns:
        The network in evaluation mode and its card.

    Raises:
        CheckpointError: It cannot be loaded.
    """
    card, weights = read_card(path)
    model = build_model(
        card.config.model,
        num_classes=len(card.categories),
        mask_stride=card.config.data.mask_stride,
        pretrained=False,
    )
    load_weights(model, weights)
    return model.eval(), card
