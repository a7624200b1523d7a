"""Measuring a network on validation images during and after training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sapnet.build import build_postprocess
from sapnet.config import Config
from sapnet.data.annotations import PointSet
from sapnet.data.atomic import write_json_atomic
from sapnet.data.dataset import PredictionDataset
from sapnet.data.images import image_size
from sapnet.data.instances import InstanceSet
from sapnet.errors import DataError
from sapnet.evaluation.coco_ap import evaluate_coco
from sapnet.inference.predict import coco_results, predict_images
from sapnet.models.sapnet import SapNet


def validation_judge(
    validation: InstanceSet,
    images: Path,
    config: Config,
    points: PointSet,
    *,
    quiet: bool,
    out: Path | None = None,
    skip_bad: bool = False,
) -> Callable[[SapNet], dict[str, Any]]:
    """Return a function that measures a network on validation images.

    Args:
        validation: Ground truth.
        images: Their folder.
        config: All settings.
        points: The training clicks, for the categories.
        quiet: Show no progress.
        out: Also write the predictions here.
        skip_bad: Count unreadable images as images without detections instead of failing.

    Returns:
        Network to COCO figures, with ``skipped_images`` where there are any. The network is used
        on the device that it is on.

    Raises:
        DataError: At once, before hours of training: images are missing or of another size, or the
            classes are not those of the clicks.
    """
    _refuse_unfit(validation, images, points, skip_bad=skip_bad)
    category_ids = [item.id for item in points.categories]
    paths = [images / name for name in validation.images.file_names]

    def judge(model: SapNet) -> dict[str, Any]:
        results: list[dict[str, Any]] = []
        found = predict_images(
            model,
            prediction_dataset(paths, config),
            build_postprocess(config),
            size_divisor=config.data.size_divisor,
            device=next(model.parameters()).device,
            title="validate",
            quiet=quiet,
        )
        problems = []
        for image_id, predicted in zip(validation.images.ids.tolist(), found, strict=True):
            if predicted.instances is None:
                problems.append(predicted.problem)
            else:
                results += coco_results(predicted.instances, image_id, category_ids)
        if problems and not skip_bad:
            raise DataError(str(images), [*problems, "--skip-bad leaves such images out"])
        if out is not None:
            write_json_atomic(out, results)
        figures = evaluate_coco(results, validation)
        plain = {key: value for key, value in figures.items() if not isinstance(value, dict | list)}
        return plain | ({"skipped_images": len(problems)} if problems else {})

    return judge


def _refuse_unfit(validation: InstanceSet, images: Path, points: PointSet, *, skip_bad: bool) -> None:
    names = {item.id: item.name for item in validation.categories}
    problems = [
        f"class {item.name!r} of the clicks (id {item.id}) is {names.get(item.id)!r} in the ground truth"
        for item in points.categories
        if names.get(item.id) != item.name
    ]
    table = validation.images
    for row, name in enumerate(() if skip_bad else table.file_names):
        try:
            size = image_size(images / name)
        except DataError as error:
            problems += error.problems
            continue
        if size != table.size(row):
            problems.append(
                f"{name} (id {table.ids[row]}) is {size}, expected {table.size(row)} (height, width)"
            )
    if problems:
        raise DataError(f"the validation data ({images})", problems)


def prediction_dataset(paths: Sequence[Path], config: Config) -> PredictionDataset:
    """Return the images at the test size of the settings."""
    data = config.data
    return PredictionDataset(
        paths, short_side=data.test_short_side, max_long_side=data.max_long_side, mean=data.mean, std=data.std
    )
