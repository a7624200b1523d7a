"""The training loop.

A step is a function of (weights, optimiser state, seed, step): the batches, the augmentation and
every draw follow from them. That makes a resumed run equal to an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from sapnet.build import build_optimizer, build_total_loss, learning_rate_factor
from sapnet.config import Config
from sapnet.data.dataset import TrainingDataset
from sapnet.engine.batches import epoch_batches, num_batches
from sapnet.engine.checkpoint import load_latest_checkpoint, save_checkpoint
from sapnet.engine.interrupts import interrupt_flag
from sapnet.engine.loading import batch_loader
from sapnet.engine.run_folder import CHECKPOINTS_NAME, MetricsLog
from sapnet.errors import DataError, JobError
from sapnet.losses.total import LossCounts, LossMeans
from sapnet.models.sapnet import Phase, SapNet
from sapnet.progress import Progress
from sapnet.structures import Batch

_REPORTED = ("total", "selection", "refinement", "category", "mask")


@dataclass(frozen=True)
class EpochPlan:
    """What one epoch trains."""

    phase: Phase
    use_agreement: bool = False


@dataclass
class _State:
    """Everything that a step changes, beside the weights."""

    step: int = 0
    bad_images: dict[str, None] = field(default_factory=dict)


def plan_epochs(config: Config) -> list[EpochPlan]:
    """Return what every epoch trains, for the mode of the settings.

    Args:
        config: All settings; ``two-stage`` is planned as two runs by the pipeline.

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
) -> list[str]:
    """Train a model, from its newest checkpoint if there is one, to the end of the plan.

    Args:
        model: The network; trained in place.
        dataset: Training samples by image row.
        folder: The run; receives checkpoints and metrics.
        config: All settings.
        accelerator: Device, precision and processes.
        plan: What every epoch trains.
        evaluate: Called every ``training.evaluate_epochs`` epochs and at the end.
        skip_bad: Leave out images that cannot be read.
        quiet: Show no progress.

    Returns:
        The problems of images that were left out.

    Raises:
        DataError: An image cannot be read and ``skip_bad`` is off.
        JobError: A loss is not finite.
        KeyboardInterrupt: Interrupted; the state is in the newest checkpoint.
    """
    loop = _Loop(model, dataset, folder, config, accelerator, plan, skip_bad=skip_bad)
    resumed = loop.resume()
    loop.metrics = MetricsLog(folder, first_step=resumed, active=accelerator.is_main_process)
    progress = Progress(loop.num_steps, "train", done=resumed, quiet=quiet)
    try:
        with progress, interrupt_flag() as interrupted:
            for epoch in range(resumed // loop.steps_per_epoch, len(plan)):
                loop.epoch(epoch, progress, interrupted)
                if evaluate is not None and loop.is_evaluated(epoch):
                    loop.evaluate(epoch, evaluate)
    finally:
        loop.metrics.close()
    return list(loop.state.bad_images)


class _Loop:
    """The loop's objects, so that its parts fit on a screen each."""

    metrics: MetricsLog

    def __init__(
        self,
        model: SapNet,
        dataset: TrainingDataset,
        folder: Path,
        config: Config,
        accelerator: Accelerator,
        plan: Sequence[EpochPlan],
        *,
        skip_bad: bool,
    ) -> None:
        processes = accelerator.num_processes
        self.config, self.folder, self.dataset, self.plan = config, folder, dataset, plan
        self.accelerator, self.skip_bad, self.plain_model = accelerator, skip_bad, model
        batch_size = config.data.batch_size * processes * config.optim.accumulation_steps
        optimizer = build_optimizer(config.optim, model, batch_size=batch_size)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.full_rates = [group["lr"] for group in optimizer.param_groups]
        self.total_loss = build_total_loss(config.model)
        self.steps_per_epoch = max(
            1, num_batches(len(dataset), config.data.batch_size, num_processes=processes)
        )
        self.num_steps = self.steps_per_epoch * len(plan)
        self.state = _State()

    def resume(self) -> int:
        """Load the newest checkpoint if there is one; return the steps done."""
        found = load_latest_checkpoint(self.folder / CHECKPOINTS_NAME)
        if found is not None:
            self.plain_model.load_state_dict(found["model"])
            self.optimizer.load_state_dict(found["optimizer"])
            self.state = _State(step=found["step"], bad_images=dict.fromkeys(found["bad_images"]))
        return self.state.step

    @property
    def between_updates(self) -> bool:
        """Whether no gradients wait to be applied; a checkpoint does not hold those."""
        return (
            self.state.step % self.config.optim.accumulation_steps == 0 or self.state.step == self.num_steps
        )

    def save(self) -> None:
        """Write a checkpoint of the present step."""
        if self.accelerator.is_main_process:
            state = {
                "step": self.state.step,
                "model": self.plain_model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "bad_images": list(self.state.bad_images),
            }
            save_checkpoint(self.folder / CHECKPOINTS_NAME, self.state.step, state)

    def is_evaluated(self, epoch: int) -> bool:
        """Whether the epoch ends with an evaluation."""
        every = self.config.training.evaluate_epochs
        is_last = epoch + 1 == len(self.plan)
        return is_last or (every > 0 and (epoch + 1) % every == 0 and self.plan[epoch].phase != "selection")

    def evaluate(self, epoch: int, function: Callable[[SapNet], dict[str, Any]]) -> None:
        """Evaluate in the first process and log the figures."""
        if self.accelerator.is_main_process:
            figures = function(self.plain_model)
            self.metrics.write("evaluation", self.state.step, {"epoch": epoch + 1, **figures})
        self.accelerator.wait_for_everyone()

    def epoch(self, epoch: int, progress: Progress, interrupted: Sequence[None]) -> None:
        """Run the steps of an epoch that are not done yet; save and stop once interrupted."""
        config, accelerator = self.config, self.accelerator
        self.dataset.set_epoch(epoch)
        self.model.train()
        batches = epoch_batches(
            len(self.dataset),
            config.data.batch_size,
            seed=config.seed,
            epoch=epoch,
            rank=accelerator.process_index,
            num_processes=accelerator.num_processes,
        )
        loader = batch_loader(
            self.dataset,
            batches[self.state.step - epoch * self.steps_per_epoch :],
            size_divisor=config.data.size_divisor,
            mask_stride=config.data.mask_stride,
            num_workers=config.data.num_workers,
            pin_memory=accelerator.device.type == "cuda",
        )
        since_last = self.state.step % config.training.checkpoint_steps
        for loaded in loader:
            self._report_bad(loaded.problems, progress)
            means = self._step(loaded.batch, self.plan[epoch])
            self.state.step += 1
            self._log(means, epoch, progress)
            since_last += 1
            due = since_last >= config.training.checkpoint_steps and self.between_updates
            if due or self.state.step == self.num_steps:
                self.save()
                since_last = 0
            if interrupted and self.between_updates:
                self.save()
                raise KeyboardInterrupt

    def _report_bad(self, problems: Sequence[str], progress: Progress) -> None:
        if problems and not self.skip_bad:
            raise DataError(str(self.dataset.images_dir), [*problems, "--skip-bad leaves such images out"])
        for problem in problems:
            if problem not in self.state.bad_images:
                self.state.bad_images[problem] = None
                progress.message(f"left out: {problem}")

    def _step(self, batch: Batch | None, plan: EpochPlan) -> LossMeans | None:
        """One forward and backward pass, and an optimiser step where accumulation allows it."""
        if batch is None:
            return None
        config, accelerator, step = self.config, self.accelerator, self.state.step
        # Dropout is the only draw on the device; seeding every step makes it resumable.
        torch.manual_seed(config.seed * 1_000_003 + step * 1009 + accelerator.process_index)
        sums = self.model(batch.to(accelerator.device), plan.phase, use_agreement=plan.use_agreement)
        counts = LossCounts.of(sums)
        if accelerator.num_processes > 1:
            reduced = accelerator.reduce(torch.stack(list(vars(counts).values())), reduction="sum")
            counts = LossCounts(*reduced)
        means = self.total_loss(sums, counts)
        self._check_finite(means, batch)
        accumulation = config.optim.accumulation_steps
        # Gradients are averaged over processes, but every process holds a share of one sum.
        accelerator.backward(means.total * accelerator.num_processes / accumulation)
        if (step + 1) % accumulation == 0 or step + 1 == self.num_steps:
            factor = learning_rate_factor(config.optim, step, self.num_steps)
            for group, rate in zip(self.optimizer.param_groups, self.full_rates, strict=True):
                group["lr"] = rate * factor
            accelerator.clip_grad_norm_(self.model.parameters(), config.optim.gradient_clip)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return means

    def _check_finite(self, means: LossMeans, batch: Batch) -> None:
        if torch.isfinite(means.total):
            return
        bad = [name for name, value in vars(means).items() if name != "total" and not torch.isfinite(value)]
        images = ", ".join(
            f"{name} (id {number})" for name, number in zip(batch.file_names, batch.image_ids, strict=True)
        )
        raise JobError(
            f"step {self.state.step}: the losses {bad or ['total']} are not finite, on the images {images}. "
            "The last checkpoint is kept; a lower optim.learning_rate or training.precision=no may help."
        )

    def _log(self, means: LossMeans | None, epoch: int, progress: Progress) -> None:
        note = ""
        if means is not None:
            note = f"loss {float(means.total.detach()):.3f}"
            if self.state.step % self.config.training.log_steps == 0:
                values = {f"loss/{name}": float(getattr(means, name).detach()) for name in _REPORTED}
                rate = progress.rate * self.config.data.batch_size * self.accelerator.num_processes
                values |= {"learning_rate": self.optimizer.param_groups[-1]["lr"], "images_per_second": rate}
                self.metrics.write("step", self.state.step, {"epoch": epoch + 1, **values})
        progress.advance(1, note=note)
