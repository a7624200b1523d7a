"""Trains the pyramid and the SOLOv2 branch of a network on crops; resumable."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sapnet.models.sapnet import SapNet
from sapnet.pretraining.crop_losses import crop_losses, stack_crops
from sapnet.pretraining.crops import ObjectCrops
from sapnet.proposals.builtin.training_loop import Report, TrainingSettings, run_training


def train_segmenter(
    network: SapNet,
    crops: ObjectCrops,
    folder: Path,
    settings: TrainingSettings,
    *,
    report: Report | None = None,
) -> None:
    """Train in place, continuing from the folder's checkpoint if there is one.

    Backbone and pseudo-label branch stay as they are.

    Args:
        network: Of one class, with a frozen backbone; left in training mode.
        crops: Training crops by running number.
        folder: Receives ``checkpoint.pt`` and ``metrics.jsonl``.
        settings: Kept in the checkpoint; a folder cannot be continued with others.
        report: Told what is logged.

    Raises:
        ValueError: The backbone is not frozen.
        CheckpointError: The checkpoint is damaged or was made with other settings.
        DataError: A photograph cannot be read.
        JobError: The folder cannot be written.
    """
    if any(parameter.requires_grad for parameter in network.backbone.parameters()):
        raise ValueError("the backbone is not frozen: set frozen_stages to the number of its stages")

    def losses_of(step: int) -> dict[str, Tensor]:
        numbers = range(step * settings.batch_size, (step + 1) * settings.batch_size)
        batch = stack_crops([crops[number] for number in numbers])
        return crop_losses(network.segment(batch.images), batch, network.segmentation_sums)

    rate = settings.learning_rate
    trained = [*network.pyramid.parameters(), *network.segmentation.parameters()]
    optimizer = torch.optim.AdamW(
        [{"params": trained, "full_rate": rate}], lr=rate, weight_decay=settings.weight_decay
    )
    run_training(network, optimizer, folder, settings, losses_of, report=report)
