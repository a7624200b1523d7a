"""Prediction over image files with a trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sapnet.data.collate import pad_images
from sapnet.data.dataset import PlainImage, PredictionDataset
from sapnet.data.rle import encode_mask
from sapnet.errors import DataError
from sapnet.models.sapnet import SapNet
from sapnet.progress import Progress
from sapnet.structures import Instances

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True)
class Predicted:
    """One image's instances, or why there are none."""

    path: Path
    instances: Instances | None
    problem: str = ""


def list_images(given: Sequence[Path]) -> list[Path]:
    """Expand folders to the images in them, sorted by name; files are taken as they are.

    Args:
        given: Files and folders. Folders inside folders and hidden files are left out.

    Returns:
        Image files in the order given.

    Raises:
        DataError: A path is not there, or a folder holds no image.
    """
    found: list[Path] = []
    problems = []
    for path in given:
        if path.is_dir():
            # Names with a dot in front are the system's own, such as the `._a.jpg` that a Mac leaves.
            inside = sorted(
                item
                for item in path.iterdir()
                if item.suffix.lower() in IMAGE_SUFFIXES and not item.name.startswith(".")
            )
            if not inside:
                problems.append(f"{path}: no images in this folder (looked for {', '.join(IMAGE_SUFFIXES)})")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            problems.append(f"{path}: no such file or folder")
    if problems:
        raise DataError("the images to predict", problems)
    return found


@torch.no_grad()
def predict_images(
    model: SapNet,
    dataset: PredictionDataset,
    postprocess: Callable[..., list[Instances]],
    *,
    size_divisor: int,
    device: torch.device,
    title: str = "predict",
    quiet: bool = False,
    rows: Sequence[int] | None = None,
) -> Iterator[Predicted]:
    """Predict the instances of one image after another.

    Args:
        model: The trained network.
        dataset: The images.
        postprocess: ``inference.postprocess.postprocess`` with its settings bound.
        size_divisor: Padded sizes are multiples of this.
        device: Where to compute.
        title: Title of the progress display.
        quiet: Show no progress.
        rows: Which images of the dataset, the others having been done earlier; None: all.

    Yields:
        Instances in the original frame, or the reason why an image could not be read.
    """
    was_training = model.training
    model.eval().to(device)
    chosen = range(len(dataset)) if rows is None else rows
    try:
        with Progress(len(dataset), title, done=len(dataset) - len(chosen), quiet=quiet) as progress:
            for row in chosen:
                yield _predict_one(model, dataset, row, postprocess, size_divisor, device)
                progress.advance(1)
    finally:
        model.train(was_training)


def _predict_one(
    model: SapNet,
    dataset: PredictionDataset,
    row: int,
    postprocess: Callable[..., list[Instances]],
    size_divisor: int,
    device: torch.device,
) -> Predicted:
    try:
        item = dataset[row]
    except DataError as error:
        return Predicted(dataset.paths[row], None, "; ".join(error.problems))
    instances = predict_one(model, item, postprocess, size_divisor=size_divisor, device=device)
    return Predicted(item.path, instances)


@torch.no_grad()
def predict_one(
    model: SapNet,
    item: PlainImage,
    postprocess: Callable[..., list[Instances]],
    *,
    size_divisor: int,
    device: torch.device,
) -> Instances:
    """Predict the instances of one image.

    Args:
        model: The trained network, in evaluation mode and on ``device``.
        item: The image, resized and normalised.
        postprocess: ``inference.postprocess.postprocess`` with its settings bound.
        size_divisor: Padded sizes are multiples of this.
        device: Where to compute.

    Returns:
        Instances in the original frame, on the CPU.
    """
    images, sizes = pad_images([item.image], size_divisor=size_divisor)
    outputs = model.segment(images.to(device))
    (instances,) = postprocess(outputs, sizes.to(device), [item.geometry.original_size])
    return instances.to("cpu")


def coco_results(instances: Instances, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Write the instances of an image as COCO results.

    Args:
        instances: In the original frame.
        image_id: Id of the image.
        category_ids: Category id of every label.

    Returns:
        One entry per instance, best first.
    """
    results = []
    # One mask at a time: a copy of a hundred masks of a photograph takes gigabytes.
    for mask, box, score, label in zip(
        instances.masks.numpy(),
        instances.boxes.tolist(),
        instances.scores.tolist(),
        instances.labels.tolist(),
        strict=True,
    ):
        left, top, right, bottom = box
        results.append(
            {
                "image_id": image_id,
                "category_id": category_ids[label],
                "bbox": [left, top, right - left, bottom - top],
                "score": round(score, 6),
                "segmentation": {"size": list(mask.shape), "counts": encode_mask(mask).decode("ascii")},
            }
        )
    return results
