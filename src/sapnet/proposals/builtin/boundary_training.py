"""Trains the boundary network; resumable, and the same however often it was interrupted."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sapnet.data.atomic import write_bytes_atomic
from sapnet.errors import CheckpointError
from sapnet.proposals.builtin.boundary_data import BoundaryCrops, Sample
from sapnet.proposals.builtin.boundary_loss import boundary_losses, stack_samples
from sapnet.proposals.builtin.boundary_network import BoundaryNetwork, normalise

_CHECKPOINT_NAME, _METRICS_NAME = "checkpoint.pt", "metrics.jsonl"
_TRUNK_RATE = 0.2
"""Learning rate of the pretrained trunk over that of the decoder."""
_CLIP = 5.0
"""Largest L2 norm of the gradient."""

Report = Callable[[dict[str, float]], None]
"""Called with every line that goes to the metrics."""


@dataclass(frozen=True)
class TrainingSettings:
    """How the boundary network is trained."""

    steps: int = 2000
    """May be raised to go on with a finished training, whose rate then rises once more."""
    batch_size: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 50
    checkpoint_steps: int = 100
    log_steps: int = 20
    seed: int = 0


def train_boundaries(
    crops: BoundaryCrops,
    folder: Path,
    settings: TrainingSettings,
    *,
    held_out: Sequence[Sample] = (),
    report: Report | None = None,
    pretrained: bool = True,
) -> BoundaryNetwork:
    """Train, continuing from the folder's checkpoint if there is one.

    Args:
        crops: Training crops by running number.
        folder: Receives ``checkpoint.pt`` and ``metrics.jsonl``.
        settings: Kept in the checkpoint; a folder cannot be continued with others.
        held_out: Crops whose losses are measured at every checkpoint.
        report: Told what is logged.
        pretrained: Start from the bundled ImageNet weights.

    Returns:
        The trained network, in evaluation mode.

    Raises:
        CheckpointError: The checkpoint is damaged or was made with other settings.
        JobError: The folder cannot be written.
    """
    torch.manual_seed(settings.seed)
    network = BoundaryNetwork(pretrained=pretrained)
    optimizer = _optimizer(network, settings)
    log = _Metrics(folder / _METRICS_NAME, report)
    first = _resume(folder / _CHECKPOINT_NAME, network, optimizer, settings, log)
    network.train()
    started = time.monotonic()
    for step in range(first, settings.steps):
        numbers = range(step * settings.batch_size, (step + 1) * settings.batch_size)
        batch = stack_samples([crops[number] for number in numbers])
        for group in optimizer.param_groups:
            group["lr"] = group["full_rate"] * rate_factor(step, settings)
        losses = boundary_losses(network(normalise(batch.images)), batch)
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimizer.step()
        done = step + 1
        if done % settings.log_steps == 0:
            seconds = (time.monotonic() - started) / (done - first)
            log.add({"step": done, "seconds_per_step": round(seconds, 3), **_floats(losses)})
        if done % settings.checkpoint_steps == 0 or done == settings.steps:
            if held_out:
                log.add({"step": done, **held_out_losses(network, held_out)})
            _save(folder / _CHECKPOINT_NAME, network, optimizer, settings, log, done)
    return network.eval()


def rate_factor(step: int, settings: TrainingSettings) -> float:
    """Return the share of the full learning rate: a linear warm-up, then half a cosine down to 0."""
    warm = min((step + 1) / max(settings.warmup_steps, 1), 1.0)
    return warm * 0.5 * (1.0 + math.cos(math.pi * step / settings.steps))


@torch.no_grad()
def held_out_losses(network: BoundaryNetwork, samples: Sequence[Sample]) -> dict[str, float]:
    """Return the mean losses over crops, one by one, under ``held_out/`` names."""
    network.eval()
    sums: dict[str, float] = {}
    for sample in samples:
        batch = stack_samples([sample])
        for name, value in _floats(boundary_losses(network(normalise(batch.images)), batch)).items():
            sums[name] = sums.get(name, 0.0) + value / len(samples)
    network.train()
    return {f"held_out/{name.removeprefix('loss/')}": value for name, value in sums.items()}


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


def _floats(losses: dict[str, torch.Tensor]) -> dict[str, float]:
    return {f"loss/{name}": float(value.detach()) for name, value in losses.items()}


def _optimizer(network: BoundaryNetwork, settings: TrainingSettings) -> torch.optim.AdamW:
    in_trunk = {id(parameter) for parameter in network.trunk.parameters()}
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if (id(p) in in_trunk) == is_trunk], "full_rate": rate}
        for is_trunk, rate in (
            (True, settings.learning_rate * _TRUNK_RATE),
            (False, settings.learning_rate),
        )
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def _save(
    path: Path,
    network: BoundaryNetwork,
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
    network: BoundaryNetwork,
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
