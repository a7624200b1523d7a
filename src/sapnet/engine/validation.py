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
from sapnet.data.instances import InstanceSet
from sapnet.engine.devices import device_of
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
) -> Callable[[SapNet], dict[str, Any]]:
    """Return a function that measures a network on validation images.

    Args:
        validation: Ground truth.
        images: Their folder.
        config: All settings.
        points: The training clicks, for the categories.
        quiet: Show no progress.
        out: Also write the predictions here.

    Returns:
        Network to COCO figures.
    """
    category_ids = [item.id for item in points.categories]
    paths = [images / name for name in validation.images.file_names]

    def judge(model: SapNet) -> dict[str, Any]:
        results: list[dict[str, Any]] = []
        found = predict_images(
            model,
            prediction_dataset(paths, config),
            build_postprocess(config),
            size_divisor=config.data.size_divisor,
            device=device_of(config),
            title="validate",
            quiet=quiet,
        )
        problems = []
        for image_id, predicted in zip(validation.images.ids.tolist(), found, strict=True):
            if predicted.instances is None:
                problems.append(predicted.problem)
            else:
                results += coco_results(predicted.instances, image_id, category_ids)
        if problems:
            raise DataError(str(images), problems)
        if out is not None:
            write_json_atomic(out, results)
        figures = evaluate_coco(results, validation)
        return {key: value for key, value in figures.items() if not isinstance(value, dict | list)}

    return judge


def prediction_dataset(paths: Sequence[Path], config: Config) -> PredictionDataset:
    """Return the images at the test size of the settings."""
    data = config.data
    return PredictionDataset(
        paths, short_side=data.test_short_side, max_long_side=data.max_long_side, mean=data.mean, std=data.std
    )
