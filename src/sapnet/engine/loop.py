"""The loop over epochs and steps, with everything that it carries along.

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
from accelerate.utils import gather_object

from sapnet.config import Config
from sapnet.data.dataset import TrainingDataset
from sapnet.data.loading import batch_loader
from sapnet.engine.batches import epoch_batches, num_batches
from sapnet.engine.checkpoint import load_latest_checkpoint, save_checkpoint
from sapnet.engine.optimizer import build_optimizer
from sapnet.engine.run_folder import CHECKPOINTS_NAME, MetricsLog
from sapnet.engine.step import StepRunner
from sapnet.errors import CheckpointError, DataError
from sapnet.losses.total import LossMeans
from sapnet.models.sapnet import Phase, SapNet
from sapnet.progress import Progress

_REPORTED = ("total", "selection", "refinement", "category", "mask")


@dataclass(frozen=True)
class EpochPlan:
    """What one epoch trains."""

    phase: Phase
    use_agreement: bool = False


@dataclass
class LoopState:
    """Everything that a step changes, beside the weights and the optimiser."""

    step: int = 0
    """Batches done; a checkpoint is only taken where no gradient waits."""
    bad_images: dict[str, None] = field(default_factory=dict)
    """Problems of the images that were left out, in the order in which they were met."""


class TrainingLoop:
    """Runs the epochs of a plan from the newest checkpoint on.

    Args:
        model: The network; trained in place.
        dataset: Training samples by image row.
        folder: The run; receives checkpoints and metrics.
        config: All settings.
        accelerator: Device, precision and processes.
        plan: What every epoch trains.
        evaluate: Measures the network every ``training.evaluate_epochs`` epochs and at the end.
        skip_bad: Leave out images that cannot be read.
    """

    def __init__(
        self,
        model: SapNet,
        dataset: TrainingDataset,
        folder: Path,
        config: Config,
        accelerator: Accelerator,
        plan: Sequence[EpochPlan],
        *,
        evaluate: Callable[[SapNet], dict[str, Any]] | None,
        skip_bad: bool,
    ) -> None:
        self.config, self.folder, self.dataset, self.plan = config, folder, dataset, plan
        self.accelerator, self.skip_bad, self.evaluate = accelerator, skip_bad, evaluate
        processes = accelerator.num_processes
        self.steps_per_epoch = max(
            1, num_batches(len(dataset), config.data.batch_size, num_processes=processes)
        )
        self.num_steps = self.steps_per_epoch * len(plan)
        batch_size = config.data.batch_size * processes * config.optim.accumulation_steps
        optimizer = build_optimizer(config.optim, model.to(accelerator.device), batch_size=batch_size)
        self.plain_model = model
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.runner = StepRunner(
            self.model, self.optimizer, config, accelerator=accelerator, num_steps=self.num_steps
        )
        self.state = LoopState()
        self.saved_step = -1
        self.damaged_checkpoints: list[str] = []
        self._resume()
        self.metrics = MetricsLog(folder, first_step=self.state.step, active=accelerator.is_main_process)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        judged = self.evaluate is None or self.num_steps in self.metrics.evaluations
        return self.state.step >= self.num_steps and judged

    @property
    def last_evaluation(self) -> dict[str, Any] | None:
        """Figures at the end of the plan, in the first process."""
        return self.metrics.evaluations.get(self.num_steps)

    def run(self, progress: Progress, interrupted: Sequence[None]) -> None:
        """Do what is left of the plan.

        Args:
            progress: Advanced by one per step.
            interrupted: Becomes non-empty when the loop shall save and stop.

        Raises:
            KeyboardInterrupt: It was interrupted; the state is in the newest checkpoint.
            DataError: An image cannot be read and ``skip_bad`` is off.
            JobError: A loss is not finite.
        """
        for problem in self.damaged_checkpoints:
            progress.message(f"left out a damaged checkpoint, {problem}; continuing from an older one")
        self.runner.interrupted = interrupted
        first, within = divmod(self.state.step, self.steps_per_epoch)
        if first and not within:  # stopped between an epoch's last step and its evaluation
            self._evaluate_if_due(first - 1)
        for epoch in range(first, len(self.plan)):
            self._epoch(epoch, progress)
            self._share_bad(progress)
            self._evaluate_if_due(epoch)
            self._stop_if_interrupted(progress)

    def _resume(self) -> None:
        folder = self.folder / CHECKPOINTS_NAME
        found, self.damaged_checkpoints = load_latest_checkpoint(folder)
        if found is None:
            return
        try:
            self.plain_model.load_state_dict(found["model"])
            self.optimizer.load_state_dict(found["optimizer"])
            if self.accelerator.scaler is not None and found["scaler"] is not None:
                self.accelerator.scaler.load_state_dict(found["scaler"])
            self.state = LoopState(step=found["step"], bad_images=dict.fromkeys(found["bad_images"]))
        except (RuntimeError, ValueError, KeyError) as error:
            problems = [line.strip() for line in str(error).splitlines()]
            raise CheckpointError(str(folder), ["do not fit this training:", *problems]) from error
        self.saved_step = found["step"]

    def _save(self, progress: Progress) -> None:
        """Write a checkpoint of the present step, once."""
        if self.saved_step == self.state.step:
            return
        self._share_bad(progress)
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            state = {
                "step": self.state.step,
                "model": self.plain_model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": None if scaler is None else scaler.state_dict(),
                "bad_images": list(self.state.bad_images),
            }
            save_checkpoint(self.folder / CHECKPOINTS_NAME, self.state.step, state)
        self.saved_step = self.state.step

    def _is_evaluated(self, epoch: int) -> bool:
        every = self.config.training.evaluate_epochs
        if epoch + 1 == len(self.plan):
            return True
        return every > 0 and (epoch + 1) % every == 0 and self.plan[epoch].phase != "selection"

    def _evaluate_if_due(self, epoch: int) -> None:
        """Measure in the first process and log the figures; the others wait."""
        known = self.state.step in self.metrics.evaluations
        if self.evaluate is None or known or not self._is_evaluated(epoch):
            return
        if self.accelerator.is_main_process:
            figures = self.evaluate(self.plain_model)
            self.metrics.write("evaluation", self.state.step, {"epoch": epoch + 1, **figures})
        self.accelerator.wait_for_everyone()

    def _epoch(self, epoch: int, progress: Progress) -> None:
        """Run the steps of an epoch that are not done yet."""
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
            tall=(self.dataset.points.images.heights > self.dataset.points.images.widths).tolist(),
        )
        loader = batch_loader(
            self.dataset,
            batches[self.state.step - epoch * self.steps_per_epoch :],
            size_divisor=config.data.size_divisor,
            mask_stride=config.data.mask_stride,
            num_workers=config.data.num_workers,
        )
        plan = self.plan[epoch]
        for loaded in loader:
            self._report_bad(loaded.problems, progress)
            means = self.runner.run(
                loaded.batch, self.state.step, plan.phase, use_agreement=plan.use_agreement
            )
            self.state.step += 1
            self._log(means, epoch, progress)
            due = self.state.step - max(self.saved_step, 0) >= config.training.checkpoint_steps
            if (due and self.runner.is_update(self.state.step - 1)) or self.state.step == self.num_steps:
                self._save(progress)
            self._stop_if_interrupted(progress)

    def _stop_if_interrupted(self, progress: Progress) -> None:
        if self.runner.stops and self.runner.is_update(self.state.step - 1):
            self._save(progress)
            # A process that left at once would take the one that writes with it.
            self.accelerator.wait_for_everyone()
            raise KeyboardInterrupt

    def _report_bad(self, problems: Sequence[str], progress: Progress) -> None:
        if problems and not self.skip_bad:
            raise DataError(str(self.dataset.images_dir), [*problems, "--skip-bad leaves such images out"])
        self._note_bad(problems, progress)

    def _note_bad(self, problems: Sequence[str], progress: Progress) -> None:
        for problem in problems:
            if problem not in self.state.bad_images:
                self.state.bad_images[problem] = None
                progress.message(f"left out: {problem}")

    def _share_bad(self, progress: Progress) -> None:
        """Tell every process what the others left out; only the first one prints and saves."""
        if self.accelerator.num_processes > 1 and self.skip_bad:
            self._note_bad(gather_object(list(self.state.bad_images)), progress)

    def _log(self, means: LossMeans | None, epoch: int, progress: Progress) -> None:
        note = ""
        if means is not None:
            # Every process has its share of the losses; the shares add up to them.
            shares = torch.stack([getattr(means, name).detach().float() for name in _REPORTED])
            if self.accelerator.num_processes > 1:
                shares = self.accelerator.reduce(shares, reduction="sum")
            losses = dict(zip(_REPORTED, shares.tolist(), strict=True))
            note = f"loss {losses['total']:.3f}"
            if self.state.step % self.config.training.log_steps == 0:
                values = {f"loss/{name}": value for name, value in losses.items()}
                rate = progress.rate * self.config.data.batch_size * self.accelerator.num_processes
                values |= {"learning_rate": self.runner.learning_rate, "images_per_second": rate}
                self.metrics.write("step", self.state.step, {"epoch": epoch + 1, **values})
        progress.advance(1, note=note)
