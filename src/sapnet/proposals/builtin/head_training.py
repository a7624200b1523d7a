"""Trains the promptable head on the features of a trained boundary network, which stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sapnet.proposals.builtin.boundary_network import BoundaryNetwork, normalise
from sapnet.proposals.builtin.head_data import HeadCrops, HeadSample
from sapnet.proposals.builtin.head_loss import head_losses, stack_head_samples
from sapnet.proposals.builtin.prompt_head import PromptHead
from sapnet.proposals.builtin.training_loop import Report, TrainingSettings, loss_values, run_training


def train_head(
    network: BoundaryNetwork,
    crops: HeadCrops,
    folder: Path,
    settings: TrainingSettings,
    *,
    held_out: Sequence[HeadSample] = (),
    report: Report | None = None,
) -> PromptHead:
    """Train, continuing from the folder's checkpoint if there is one.

    Args:
        network: The trained boundary network; it is not changed.
        crops: Training crops by running number.
        folder: Receives ``checkpoint.pt`` and ``metrics.jsonl``.
        settings: Kept in the checkpoint; a folder cannot be continued with others.
        held_out: Crops that the head is measured on at every checkpoint.
        report: Told what is logged.

    Returns:
        The trained head, in evaluation mode.

    Raises:
        CheckpointError: The checkpoint is damaged or was made with other settings.
        JobError: The folder cannot be written.
    """
    torch.manual_seed(settings.seed)
    network.eval()
    head = PromptHead()

    def losses_of(step: int) -> dict[str, Tensor]:
        numbers = range(step * settings.batch_size, (step + 1) * settings.batch_size)
        return _losses(network, head, [crops[number] for number in numbers])

    run_training(
        head,
        _optimizer(head, settings),
        folder,
        settings,
        losses_of,
        held_out=(lambda: measured(network, head, held_out)) if held_out else None,
        report=report,
    )
    return head.eval()


@torch.no_grad()
def measured(network: BoundaryNetwork, head: PromptHead, samples: Sequence[HeadSample]) -> dict[str, float]:
    """Return the mean losses over crops, one by one, under ``held_out/`` names."""
    was_training = head.training
    head.eval()
    sums: dict[str, float] = {}
    for sample in samples:
        for name, value in loss_values(_losses(network, head, [sample])).items():
            sums[name] = sums.get(name, 0.0) + value / len(samples)
    head.train(was_training)
    return {f"held_out/{name.removeprefix('loss/')}": value for name, value in sums.items()}


def _losses(network: BoundaryNetwork, head: PromptHead, samples: Sequence[HeadSample]) -> dict[str, Tensor]:
    batch = stack_head_samples(samples)
    if not len(batch.targets):
        # No object in any crop: a step that changes nothing but for the weight decay.
        nothing = sum(parameter.sum() for parameter in head.parameters()) * 0.0
        return {name: torch.as_tensor(nothing) for name in ("mask", "overlap", "best", "top", "total")}
    images = normalise(batch.images)
    with torch.no_grad():
        features = network.features(images)
        outputs = network.outputs(features)
    return head_losses(head(head.fuse(images, features, outputs), batch.prompts), batch)


def _optimizer(head: PromptHead, settings: TrainingSettings) -> torch.optim.AdamW:
    group = {"params": list(head.parameters()), "full_rate": settings.learning_rate}
    return torch.optim.AdamW([group], lr=settings.learning_rate, weight_decay=settings.weight_decay)
