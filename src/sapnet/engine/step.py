"""One training step: forward, backward, and an update where accumulation allows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn

from sapnet.build import build_total_loss
from sapnet.config import Config
from sapnet.data.collate import on_canvas
from sapnet.data.loading import blank_batch
from sapnet.engine.optimizer import learning_rate_factor
from sapnet.errors import JobError
from sapnet.losses.total import LossCounts, LossMeans
from sapnet.models.sapnet import Phase
from sapnet.structures import Batch, LossSums

_ADVICE = "The last checkpoint is kept; a lower optim.learning_rate or training.precision=no may help."


class StepRunner:
    """Runs steps; all processes must run the same ones.

    Args:
        model: The network as prepared by the accelerator.
        optimizer: Its optimiser, likewise, at its full rates.
        config: All settings.
        accelerator: Device, precision and processes.
        num_steps: Steps of the whole training.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: AcceleratedOptimizer,
        config: Config,
        *,
        accelerator: Accelerator,
        num_steps: int,
    ) -> None:
        self.model, self.optimizer, self.config = model, optimizer, config
        self.accelerator, self.num_steps = accelerator, num_steps
        self.full_rates = [group["lr"] for group in optimizer.param_groups]
        self.total_loss = build_total_loss(config.model)
        self.interrupted: Sequence[None] = ()
        self._interrupted_anywhere = False

    @property
    def stops(self) -> bool:
        """Whether the loop shall stop after this step: the same answer in every process."""
        if self.accelerator.num_processes > 1:
            return self._interrupted_anywhere
        return bool(self.interrupted)

    @property
    def learning_rate(self) -> float:
        """The rate of the last update, of everything but the backbone."""
        return float(self.optimizer.param_groups[-1]["lr"])

    def is_update(self, step: int) -> bool:
        """Whether the weights change at a 0-based step, so that no gradient waits after it."""
        return (step + 1) % self.config.optim.accumulation_steps == 0 or step + 1 == self.num_steps

    def run(
        self, batch: Batch | None, step: int, phase: Phase, *, use_agreement: bool = False
    ) -> LossMeans | None:
        """Run one step.

        Args:
            batch: The batch, on any device; None if none of its images could be read.
            step: 0-based step.
            phase: Which branches learn.
            use_agreement: Let the agreement with the SOLOv2 branch weigh in.

        Returns:
            This process's share of the losses; None if there was nothing to learn from.

        Raises:
            JobError: A loss or the gradient is not finite; the losses and images are named.
        """
        alone = self.accelerator.num_processes == 1
        means = None
        if batch is not None or not alone:
            # Dropout is the only draw on the device; seeding every step makes it resumable.
            torch.manual_seed(self.config.seed * 1_000_003 + step * 1009 + self.accelerator.process_index)
            sums = self._sums(batch, phase, use_agreement)
            means = self.total_loss(sums, self._counts(sums))
            self._check_finite(means, batch, step)
            # Gradients are averaged over processes, but every process holds a share of one sum.
            factor = self.accelerator.num_processes / self.config.optim.accumulation_steps
            self.accelerator.backward(means.total * factor)
        if self.is_update(step):
            self._update(batch, step)
        return means

    def _sums(self, batch: Batch | None, phase: Phase, use_agreement: bool) -> LossSums:
        """Loss sums; those of a blank picture count nothing, but keep the processes in step."""
        data = self.config.data
        given = batch or blank_batch(size_divisor=data.size_divisor, mask_stride=data.mask_stride)
        if self.accelerator.num_processes > 1:
            given = self._on_common_canvas(given, counts=batch is not None)
        sums: LossSums = self.model(given.to(self.accelerator.device), phase, use_agreement=use_agreement)
        if batch is None:
            sums = LossSums(**{item.name: getattr(sums, item.name) * 0.0 for item in fields(LossSums)})
        return sums

    def _on_common_canvas(self, batch: Batch, *, counts: bool) -> Batch:
        """Pad to the largest canvas of all processes.

        A network sees how far an image is padded (normalisation over the canvas, grids laid over it), so
        only on one canvas are the gradients those of one process with all the images.
        """
        height, width = batch.images.shape[-2:]
        device = self.accelerator.device
        size = torch.tensor([[height, width]], device=device)
        sizes: torch.Tensor = self.accelerator.gather(size * counts)  # a blank picture has no say
        largest = torch.maximum(sizes.amax(dim=0), size[0] * (not counts)).tolist()
        return on_canvas(batch, (largest[0], largest[1]))

    def _counts(self, sums: LossSums) -> LossCounts:
        """Counts over all processes; the flag of an interrupt travels with them."""
        counts = LossCounts.of(sums)
        if self.accelerator.num_processes == 1:
            return counts
        values = [*vars(counts).values(), counts.num_prompts.new_tensor(float(bool(self.interrupted)))]
        *reduced, interrupted = self.accelerator.reduce(torch.stack(values), reduction="sum")
        self._interrupted_anywhere = bool(interrupted > 0)
        return LossCounts(*reduced)

    def _update(self, batch: Batch | None, step: int) -> None:
        factor = learning_rate_factor(self.config.optim, step, self.num_steps)
        for group, rate in zip(self.optimizer.param_groups, self.full_rates, strict=True):
            group["lr"] = rate * factor
        # Nothing could be read since the last update; the scaler of fp16 cannot step without gradients.
        if all(parameter.grad is None for parameter in self.model.parameters()):
            return
        clip = self.config.optim.gradient_clip
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), clip)
        # With fp16 an infinite gradient is the scaler's daily work.
        if self.accelerator.scaler is None and norm is not None and not torch.isfinite(torch.as_tensor(norm)):
            raise JobError(f"step {step}: the gradient is not finite, on {_images(batch)}. {_ADVICE}")
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _check_finite(self, means: LossMeans, batch: Batch | None, step: int) -> None:
        if torch.isfinite(means.total):
            return
        bad = [name for name, value in vars(means).items() if name != "total" and not torch.isfinite(value)]
        named = ", ".join(bad or ["total"])
        raise JobError(f"step {step}: not finite: the loss {named}, on {_images(batch)}. {_ADVICE}")


def _images(batch: Batch | None) -> str:
    if batch is None:
        return "no image"
    named = zip(batch.file_names, batch.image_ids, strict=True)
    return "the images " + ", ".join(f"{name} (id {number})" for name, number in named)
