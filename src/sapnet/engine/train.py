"""Training: a plan for every epoch, and the loop that follows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from sapnet.config import Config
from sapnet.data.dataset import TrainingDataset
from sapnet.engine.interrupts import interrupt_flag
from sapnet.engine.loop import EpochPlan, TrainingLoop
from sapnet.models.sapnet import SapNet
from sapnet.progress import Progress


@dataclass(frozen=True)
class FitResult:
    """What is worth telling about a finished training."""

    left_out: tuple[str, ...]
    """Problems of the images that were left out."""
    validation: dict[str, Any] | None
    """Figures at the end; None without evaluation and in all processes but the first."""


def plan_epochs(config: Config) -> list[EpochPlan]:
    """Return what every epoch trains, for the mode of the settings.

    Args:
        config: All settings; ``two-stage`` is planned as two trainings by the session.

    Returns:
        One plan per epoch.
    """
    training, agreement = config.training, config.model.agreement
    if training.mode == "selection-only":
        return [EpochPlan("selection")] * training.epochs
    if training.mode == "top-score":
        return [EpochPlan("segmentation")] * training.epochs
    warmup = training.selection_warmup_epochs
    starts = agreement.start * training.epochs
    return [
        EpochPlan("selection")
        if epoch < warmup
        else EpochPlan("joint", use_agreement=agreement.exponent > 0 and epoch >= starts)
        for epoch in range(training.epochs)
    ]


def fit(
    model: SapNet,
    dataset: TrainingDataset,
    folder: Path,
    config: Config,
    *,
    accelerator: Accelerator,
    plan: Sequence[EpochPlan],
    evaluate: Callable[[SapNet], dict[str, Any]] | None = None,
    skip_bad: bool = False,
    quiet: bool = False,
    title: str = "train",
) -> FitResult:
    """Train a model, from its newest checkpoint if there is one, to the end of the plan.

    Args:
        model: The network; trained in place.
        dataset: Training samples by image row.
        folder: The run; receives checkpoints and metrics.
        config: All settings.
        accelerator: Device, precision and processes.
        plan: What every epoch trains.
        evaluate: Called every ``training.evaluate_epochs`` epochs and at the end, with the network
            on the accelerator's device; its figures go into the metrics.
        skip_bad: Leave out images that cannot be read.
        quiet: Show no progress.
        title: What the progress says.

    Returns:
        What was left out and the last figures.

    Raises:
        DataError: An image cannot be read and ``skip_bad`` is off.
        CheckpointError: The folder's checkpoints are damaged or of another training.
        JobError: A loss is not finite.
        KeyboardInterrupt: Interrupted; the state is in the newest checkpoint.
    """
    loop = TrainingLoop(
        model, dataset, folder, config, accelerator, plan, evaluate=evaluate, skip_bad=skip_bad
    )
    if not loop.is_complete:
        progress = Progress(loop.num_steps, title, done=loop.state.step, quiet=quiet)
        with closing(loop.metrics), progress, interrupt_flag() as interrupted:
            loop.run(progress, interrupted)
    return FitResult(left_out=tuple(loop.state.bad_images), validation=loop.last_evaluation)
