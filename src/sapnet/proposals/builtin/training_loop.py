"""The loop behind both trainings of the built-in proposer: resumable, the same however often interrupted."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sapnet.data.atomic import write_bytes_atomic
from sapnet.errors import CheckpointError

CHECKPOINT_NAME, METRICS_NAME = "checkpoint.pt", "metrics.jsonl"
_CLIP = 5.0
"""Largest L2 norm of the gradient."""

Report = Callable[[dict[str, float]], None]
"""Called with every line that goes to the metrics."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a part of the built-in proposer is trained."""

    steps: int = 2000
    """May be raised to go on with a finished training, whose rate then rises once more."""
    batch_size: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 50
    checkpoint_steps: int = 100
    log_steps: int = 20
    seed: int = 0


def run_training(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    folder: Path,
    settings: TrainingSettings,
    losses_of: Callable[[int], dict[str, Tensor]],
    *,
    held_out: Callable[[], dict[str, float]] | None = None,
    report: Report | None = None,
) -> None:
    """Train, continuing from the folder's checkpoint if there is one.

    Args:
        network: What is trained and kept in the checkpoint; left in training mode.
        optimizer: Of its parameters; every group has its own ``full_rate``.
        folder: Receives ``checkpoint.pt`` and ``metrics.jsonl``.
        settings: Kept in the checkpoint; a folder cannot be continued with others.
        losses_of: Returns the losses of a step, ``total`` among them. It must depend on the step and the
            network alone, or else a resumed training is another one.
        held_out: Measures the network at every checkpoint.
        report: Told what is logged.

    Raises:
        CheckpointError: The checkpoint is damaged or was made with other settings.
        JobError: The folder cannot be written.
    """
    log = _Metrics(folder / METRICS_NAME, report)
    first = _resume(folder / CHECKPOINT_NAME, network, optimizer, settings, log)
    network.train()
    started = time.monotonic()
    for step in range(first, settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["full_rate"] * rate_factor(step, settings)
        losses = losses_of(step)
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimizer.step()
        done = step + 1
        if done % settings.log_steps == 0:
            seconds = (time.monotonic() - started) / (done - first)
            log.add({"step": done, "seconds_per_step": round(seconds, 3), **loss_values(losses)})
        if done % settings.checkpoint_steps == 0 or done == settings.steps:
            if held_out is not None:
                log.add({"step": done, **held_out()})
            _save(folder / CHECKPOINT_NAME, network, optimizer, settings, log, done)


def rate_factor(step: int, settings: TrainingSettings) -> float:
    """Return the share of the full learning rate: a linear warm-up, then half a cosine down to 0."""
    warm = min((step + 1) / max(settings.warmup_steps, 1), 1.0)
    return warm * 0.5 * (1.0 + math.cos(math.pi * step / settings.steps))


def loss_values(losses: dict[str, Tensor]) -> dict[str, float]:
    """Return losses as numbers, under ``loss/`` names."""
    return {f"loss/{name}": float(value.detach()) for name, value in losses.items()}


class _Metrics:
    """The lines of ``metrics.jsonl``, written as a whole so that a resumed run repeats none."""

    def __init__(self, path: Path, report: Report | None) -> None:
        self._path = path
        self._report = report
        self.lines: list[dict[str, float]] = []

    def add(self, line: dict[str, float]) -> None:
        self.lines.append(line)
        text = "".join(json.dumps(entry) + "\n" for entry in self.lines)
        write_bytes_atomic(self._path, text.encode())
        if self._report is not None:
            self._report(line)


def _save(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    log: _Metrics,
    done: int,
) -> None:
    buffer = io.BytesIO()
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "settings": asdict(settings),
        "metrics": log.lines,
        "step": done,
    }
    torch.save(state, buffer)
    write_bytes_atomic(path, buffer.getvalue())


def _resume(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    log: _Metrics,
) -> int:
    """Load a checkpoint and return the number of steps done, 0 where there is none."""
    if not path.is_file():
        return 0
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = state["settings"]
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        log.lines[:] = state["metrics"]
        done = int(state["step"])
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(str(path), [f"not a checkpoint of this training: {reason}"]) from error
    wanted = asdict(settings)
    problems = [
        f"{key}: the checkpoint was made with {found.get(key)!r}, now it is {wanted[key]!r}"
        for key in wanted
        if found.get(key) != wanted[key] and key != "steps"
    ]
    if problems:
        raise CheckpointError(str(path), problems)
    return done
