"""A whole training session: folder, model, loop, model file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from sapnet.build import build_dataset, build_model, build_views, label_rule_of
from sapnet.config import Config
from sapnet.data.annotations import PointSet
from sapnet.data.journal import Journal
from sapnet.engine.checkpoint import ModelCard, save_model
from sapnet.engine.devices import device_of, join_processes, make_accelerator
from sapnet.engine.job_identity import job_identity
from sapnet.engine.kept_features import keep_features
from sapnet.engine.run_folder import check_run_folder, describe_environment, prepare_run_folder
from sapnet.engine.train import fit, plan_epochs
from sapnet.evaluation.bag_picks import BagSource
from sapnet.labels.label import pick_proposals
from sapnet.labels.picks import Pick, PickedProposals
from sapnet.models.sapnet import SapNet
from sapnet.proposals.store import ProposalStore

SELECTION_NAME = "selection"
"""Sub-folder of a two-stage run that holds its first stage."""
_PICKS_NAME = "picks.kept"
"""The picks of a run, beside the network that found them."""


@dataclass(frozen=True)
class TrainingData:
    """What a session learns from: clicks, images and proposals, and nothing else."""

    points: PointSet
    images_dir: Path
    store: BagSource
    digests: dict[str, str]
    """Digests of points and proposals, for ``environment.json``."""

    @classmethod
    def of(cls, points: PointSet, images_dir: Path, store: ProposalStore) -> TrainingData:
        """Bring together clicks, images and the store of these clicks."""
        digests = {"points": points.digest, "proposals": store.manifest["data_sha256"]}
        return cls(points=points, images_dir=images_dir, store=store, digests=digests)


@dataclass(frozen=True)
class SessionOptions:
    """How a session is run; changes no result."""

    resume: bool = False
    skip_bad: bool = False
    quiet: bool = False
    features: Path | None = None
    """Folder in which the features of wholly frozen backbones are kept; None: they are not."""
    picks: Path | None = None
    """File in which labelling keeps the picks of every image as they are found; None: it does not."""


@dataclass(frozen=True)
class SessionResult:
    """What a session ends with."""

    model: SapNet
    """The trained network, on the CPU."""
    left_out: tuple[str, ...]
    """Problems of the images that were left out."""
    validation: dict[str, Any] | None
    """Figures at the end; None where nothing was measured and in all processes but the first."""


def run_session(
    data: TrainingData,
    folder: Path,
    config: Config,
    *,
    inputs: Mapping[str, Path | None],
    options: SessionOptions,
    evaluate: Callable[[SapNet], dict[str, Any]] | None = None,
) -> SessionResult:
    """Train a model and write a run folder.

    Args:
        data: What to learn from.
        folder: The run folder.
        config: All settings.
        inputs: Paths for ``environment.json``.
        options: Resume, skip, quiet, and where features are kept.
        evaluate: Called now and then with the network; its figures go into the metrics. Not called
            in selection-only mode, which trains no segmenter.

    Returns:
        The network and what is worth telling.

    Raises:
        InputError: Bad settings, data or folder.
        JobError: Training failed.
        KeyboardInterrupt: Interrupted; ``options.resume`` continues.
    """
    accelerator = make_accelerator(config)
    environment = describe_environment(config, inputs=inputs, digests=data.digests)
    _open_folder(accelerator, folder, config, environment, resume=options.resume)
    stage = config
    if config.training.mode == "two-stage":
        data = _first_stage(data, folder / SELECTION_NAME, config, inputs=inputs, options=options)
        stage = _with_mode(config, "top-score")
        accelerator = make_accelerator(config)
    torch.manual_seed(config.seed)
    model = build_model(
        config.model, num_classes=len(data.points.categories), mask_stride=config.data.mask_stride
    )
    dataset = build_dataset(stage, data.points, data.images_dir, data.store, training=True)
    keep_features(model.to(accelerator.device), [dataset], stage, options.features)
    done = fit(
        model,
        dataset,
        folder,
        stage,
        accelerator=accelerator,
        plan=plan_epochs(stage),
        evaluate=evaluate if has_segmenter(config) else None,
        skip_bad=options.skip_bad,
        quiet=options.quiet,
    )
    model.to("cpu")
    if accelerator.is_main_process:
        categories = tuple((item.id, item.name) for item in data.points.categories)
        save_model(model, ModelCard(config=config, categories=categories), folder)
    accelerator.wait_for_everyone()
    return SessionResult(model=model, left_out=done.left_out, validation=done.validation)


def _open_folder(
    accelerator: Accelerator, folder: Path, config: Config, environment: dict[str, Any], *, resume: bool
) -> None:
    """All processes look before the first one writes."""
    check_run_folder(folder, config, environment, resume=resume)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        prepare_run_folder(folder, config, environment, resume=resume)
    accelerator.wait_for_everyone()


def has_segmenter(config: Config) -> bool:
    """Return whether a training with these settings trains the SOLOv2 branch."""
    return config.training.mode != "selection-only"


def _first_stage(
    data: TrainingData,
    folder: Path,
    config: Config,
    *,
    inputs: Mapping[str, Path | None],
    options: SessionOptions,
) -> TrainingData:
    """Train the selection alone and fix its picks; return what the second stage learns from."""
    first = _with_mode(config, "selection-only")
    going = replace(options, resume=True)
    done = run_session(data, folder, first, inputs=inputs, options=going)
    # Every process picks; the first one keeps what it finds.
    picks = folder / _PICKS_NAME if join_processes(config).is_main_process else None
    picking = replace(going, picks=picks)
    return fix_picks(data, choose(done.model, data, first, options=picking))


def picks_path(folder: Path, config: Config) -> Path:
    """Return where a run keeps its picks: what the second of two stages learned from are its labels too.

    Args:
        folder: The run.
        config: All settings.
    """
    return (folder / SELECTION_NAME if config.training.mode == "two-stage" else folder) / _PICKS_NAME


def fix_picks(data: TrainingData, picks: Mapping[int, Pick]) -> TrainingData:
    """Reduce every bag to its label, for training a segmenter on fixed labels.

    Args:
        data: What the picks were chosen from.
        picks: As ``choose`` gives them.

    Returns:
        The same clicks and images with at most one proposal per click.
    """
    return replace(data, store=PickedProposals(data.store, picks))


def _with_mode(config: Config, mode: str) -> Config:
    training = config.training.model_copy(update={"mode": mode})
    return config.model_copy(update={"training": training})


def choose(model: SapNet, data: TrainingData, config: Config, *, options: SessionOptions) -> dict[int, Pick]:
    """Pick a proposal for every click with a trained network.

    Args:
        model: The network.
        data: Clicks, images and proposals.
        config: Its settings.
        options: Skip, quiet, where features are kept, and where picks are.

    Returns:
        The pick of every click by annotation id.
    """
    views = build_views(config, data.points, data.images_dir, data.store)
    device, labelling = device_of(config), config.labelling
    with _kept_picks(model, data, config, options.picks) as journal:
        keep_features(model.to(device), views, config, options.features)
        return pick_proposals(
            model,
            views,
            rule=label_rule_of(labelling),
            size_divisor=config.data.size_divisor,
            mask_stride=config.data.mask_stride,
            use_segmenter=config.training.mode == "end-to-end",
            device=device,
            num_workers=config.data.num_workers,
            skip_bad=options.skip_bad,
            quiet=options.quiet,
            journal=journal,
        )


def _kept_picks(
    model: SapNet, data: TrainingData, config: Config, path: Path | None
) -> AbstractContextManager[Journal | None]:
    if path is None:
        return nullcontext()
    names, folder = data.points.images.file_names, data.images_dir
    identity = job_identity(
        model, config, device_of(config), names=names, folder=folder, digests=data.digests
    )
    return Journal(path, identity)
