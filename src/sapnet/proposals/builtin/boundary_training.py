"""Trains the boundary network; resumable, and the same however often it was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sapnet.proposals.builtin.boundary_data import BoundaryCrops, Sample
from sapnet.proposals.builtin.boundary_loss import boundary_losses, stack_samples
from sapnet.proposals.builtin.boundary_network import BoundaryNetwork, normalise
from sapnet.proposals.builtin.training_loop import Report, TrainingSettings, loss_values, run_training

_TRUNK_RATE = 0.2
"""Learning rate of the pretrained trunk over that of the decoder."""


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

    def losses_of(step: int) -> dict[str, Tensor]:
        numbers = range(step * settings.batch_size, (step + 1) * settings.batch_size)
        batch = stack_samples([crops[number] for number in numbers])
        return boundary_losses(network(normalise(batch.images)), batch)

    run_training(
        network,
        _optimizer(network, settings),
        folder,
        settings,
        losses_of,
        held_out=(lambda: held_out_losses(network, held_out)) if held_out else None,
        report=report,
    )
    return network.eval()


@torch.no_grad()
def held_out_losses(network: BoundaryNetwork, samples: Sequence[Sample]) -> dict[str, float]:
    """Return the mean losses over crops, one by one, under ``held_out/`` names."""
    network.eval()
    sums: dict[str, float] = {}
    for sample in samples:
        batch = stack_samples([sample])
        for name, value in loss_values(boundary_losses(network(normalise(batch.images)), batch)).items():
            sums[name] = sums.get(name, 0.0) + value / len(samples)
    network.train()
    return {f"held_out/{name.removeprefix('loss/')}": value for name, value in sums.items()}


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
