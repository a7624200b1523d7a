"""Mask R-CNN on a row's labels, as users of the labels train one: from a COCO document, with torchvision.

The backbone is the benchmark's (by default EfficientNet-Lite0 with its bundled ImageNet weights, so no
network is needed); pyramid, region proposals and heads start from random weights. Images, schedule,
optimiser and number of steps are those of the SOLOv2 rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from sapnet.bench.data import alone
from sapnet.bench.mask_rcnn import RatedParts, build_mask_rcnn, segment_image
from sapnet.bench.trainings import training_folder
from sapnet.config import Config
from sapnet.data.annotations import InstanceSet
from sapnet.data.images import read_image
from sapnet.data.instances import instances_from_json
from sapnet.data.rle import decode_masks
from sapnet.engine.batches import epoch_batches, num_batches
from sapnet.engine.checkpoint import load_latest_checkpoint, save_checkpoint
from sapnet.engine.devices import device_of
from sapnet.engine.interrupts import interrupt_flag
from sapnet.engine.optimizer import build_optimizer, learning_rate_factor
from sapnet.engine.run_folder import CHECKPOINTS_NAME
from sapnet.engine.session import TrainingData
from sapnet.errors import JobError
from sapnet.evaluation.coco_ap import evaluate_coco
from sapnet.labels.label import label_document, top_score_picks
from sapnet.progress import Progress

KIND = "mask-rcnn"
"""Name of these trainings among the benchmark's."""


@dataclass(frozen=True)
class _Labelled:
    """The training images with their masks."""

    labels: InstanceSet
    images: Path
    config: Config

    def sample(self, row: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """One image, float (3, H, W) in [0, 1], and its targets in the original frame, maybe mirrored."""
        labels = self.labels
        pixels = torch.from_numpy(read_image(self.images / labels.images.file_names[row]))
        image = pixels.permute(2, 0, 1).float() / 255
        rows = labels.rows_of(row)
        boxes = torch.from_numpy(labels.boxes[rows]).float().reshape(-1, 4)
        size = labels.images.size(row)
        masks = torch.from_numpy(decode_masks([labels.counts[item] for item in rows.tolist()], size))
        classes = torch.from_numpy(labels.annotation_labels[rows] + 1)  # 0 is the background
        usable = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(dim=1)
        boxes, masks, classes = boxes[usable], masks[usable], classes[usable]
        if torch.rand(1, generator=generator).item() < self.config.data.flip_probability:
            image, masks = image.flip(-1), masks.flip(-1)
            boxes = torch.stack([size[1] - boxes[:, 2], boxes[:, 1], size[1] - boxes[:, 0], boxes[:, 3]], 1)
        return image, {"boxes": boxes, "labels": classes, "masks": masks.to(torch.uint8)}


def mask_rcnn_figures(
    learned: TrainingData, validation: InstanceSet, config: Config, out: Path, *, quiet: bool
) -> dict[str, Any]:
    """Train Mask R-CNN on fixed labels, or go on with it, and measure it.

    Args:
        learned: Clicks, images and bags that hold nothing but the label of each click.
        validation: Ground truth to measure on, of images in the same folder.
        config: Settings; ``model.backbone``, ``model.pyramid.channels``, ``data``, ``optim``,
            ``training.epochs``, ``seed`` and ``device`` are read.
        out: Folder of all trainings of the benchmark.
        quiet: Show no progress.

    Returns:
        COCO figures, as ``evaluate_coco`` gives them.

    Raises:
        DataError: An image cannot be read.
        JobError: A loss is not finite, or the disk is full.
        KeyboardInterrupt: Interrupted; the same call goes on.
    """
    document = label_document(learned.points, learned.store, top_score_picks(learned.points))
    labels = instances_from_json(document, "the exported labels")
    folder = training_folder(out, config, learned.digests, kind=KIND)
    taught = _Labelled(labels, learned.images_dir, config)
    torch.manual_seed(config.seed)
    model = build_mask_rcnn(config, num_classes=len(labels.categories)).to(device_of(config))
    with alone(folder):
        _train(model, taught, folder, quiet=quiet)
    results: list[dict[str, Any]] = []
    model.eval()
    with Progress(len(validation.images), "validate", quiet=quiet) as progress:
        for row, image_id in enumerate(validation.images.ids.tolist()):
            image = read_image(learned.images_dir / validation.images.file_names[row])
            ids = [item.id for item in labels.categories]
            results += segment_image(model, image, int(image_id), ids, device=device_of(config))
            progress.advance(1)
    figures = evaluate_coco(results, validation)
    shutil.rmtree(folder / CHECKPOINTS_NAME, ignore_errors=True)
    return figures


def _train(model: MaskRCNN, data: _Labelled, folder: Path, *, quiet: bool) -> None:
    """Run what is left of the schedule."""
    config = data.config
    total = num_batches(len(data.labels.images), config.data.batch_size) * config.training.epochs
    parts: Any = RatedParts(model)
    optimizer = build_optimizer(config.optim, parts, batch_size=config.data.batch_size)
    rates = [group["lr"] for group in optimizer.param_groups]
    found, _ = load_latest_checkpoint(folder / CHECKPOINTS_NAME)
    start = 0
    if found is not None:
        model.load_state_dict(found["model"])
        optimizer.load_state_dict(found["optimizer"])
        start = found["step"]
    model.train()
    with Progress(total, "train Mask R-CNN", done=start, quiet=quiet) as progress, interrupt_flag() as stop:
        for step, rows in _batches(data, start):
            factor = learning_rate_factor(config.optim, step, total)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            loss = _step(model, optimizer, data, rows, step)
            progress.advance(1, note=f"loss {loss:.3f}")
            done = step + 1
            if stop or done % config.training.checkpoint_steps == 0 or done == total:
                state = {"step": done, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
                save_checkpoint(folder / CHECKPOINTS_NAME, done, state)
            if stop:
                raise KeyboardInterrupt


def _batches(data: _Labelled, start: int) -> Iterator[tuple[int, list[int]]]:
    """0-based steps from a given one on, with the rows of their images."""
    config, count = data.config, len(data.labels.images)
    per_epoch = num_batches(count, config.data.batch_size)
    for epoch in range(start // per_epoch, config.training.epochs):
        batches = epoch_batches(count, config.data.batch_size, seed=config.seed, epoch=epoch)
        numbered = enumerate(batches, start=epoch * per_epoch)
        yield from ((step, rows) for step, rows in numbered if step >= start)


def _step(
    model: MaskRCNN, optimizer: torch.optim.Optimizer, data: _Labelled, rows: list[int], step: int
) -> float:
    """One update; everything drawn is a function of (seed, step)."""
    config = data.config
    key = config.seed * 1_000_003 + step * 1009
    generator = torch.Generator().manual_seed(key)
    torch.manual_seed(key)  # torchvision draws sizes and samples from the global generator
    device = device_of(config)
    samples = [data.sample(row, generator) for row in rows]
    images = [image.to(device) for image, _ in samples]
    targets = [{name: value.to(device) for name, value in target.items()} for _, target in samples]
    total: Tensor = sum(model(images, targets).values(), torch.zeros((), device=device))
    if not torch.isfinite(total):
        names = ", ".join(data.labels.images.file_names[row] for row in rows)
        raise JobError(f"Mask R-CNN, step {step}: the loss is not finite, on the images {names}")
    optimizer.zero_grad()
    total.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.optim.gradient_clip)
    optimizer.step()
    return float(total.detach())
