"""The main job in one call, and the demonstration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sapnet.config import Config
from sapnet.data.annotations import InstanceSet, PointSet, load_instances
from sapnet.data.atomic import write_json_atomic
from sapnet.data.scenes import write_scenes
from sapnet.engine.devices import join_processes
from sapnet.engine.run_folder import MODEL_NAME, check_run_folder, describe_environment
from sapnet.engine.session import (
    SessionOptions,
    TrainingData,
    has_segmenter,
    picks_path,
    run_session,
)
from sapnet.engine.trained import load_labeller
from sapnet.engine.validation import validation_judge
from sapnet.errors import DataError
from sapnet.evaluation.label_quality import evaluate_labels
from sapnet.evaluation.label_table import refuse_unfit
from sapnet.models.sapnet import SapNet
from sapnet.pipeline.labelling import write_labels
from sapnet.pipeline.proposing import load_training_data, propose
from sapnet.pipeline.refusals import load_clicks, refuse_bad_images
from sapnet.pipeline.results import report

PROPOSALS_NAME = "proposals"
LABELS_NAME = "labels.json"
PREDICTIONS_NAME = "predictions.json"
EVALUATION_NAME = "evaluation.json"
REPORT_NAME = "report.html"


def run(
    points: Path,
    images: Path,
    out: Path,
    config: Config,
    *,
    instances: Path | None = None,
    val_instances: Path | None = None,
    val_images: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Propose, train, label, evaluate if ground truth is given, report (``sapnet run``).

    Args:
        points: Points file.
        images: Image folder.
        out: Run folder.
        config: All settings.
        instances: Ground truth of the clicked images, for measuring only.
        val_instances: Ground truth of validation images, for measuring only.
        val_images: Their folder; that of the clicked images if None.
        resume: Continue an interrupted run.
        quiet: Show no progress.
        skip_bad: Leave out unreadable images.

    Returns:
        Paths, counts and figures.
    """
    out, store = Path(out), Path(out) / PROPOSALS_NAME
    inputs = {
        "points": points,
        "images": images,
        "proposals": store,
        "instances": instances,
        "val_instances": val_instances,
        "val_images": None if val_instances is None else val_images or images,
    }
    clicks, truth = _refuse_early(inputs, out, config, resume=resume, skip_bad=skip_bad)
    options = SessionOptions(resume=resume, skip_bad=skip_bad, quiet=quiet)
    judge = _judge(inputs, out, config, clicks, options)
    processes = join_processes(config)
    figures: dict[str, Any] = {}
    figures["proposals"] = propose(points, images, store, config, skip_bad=skip_bad, quiet=quiet)
    data = load_training_data(points, images, store)
    done = run_session(data, out, config, inputs=inputs, options=options, evaluate=judge)
    if processes.is_main_process:
        figures["skipped"] = len(done.left_out)
        figures |= _finish(out, data, config, truth, done.validation, options)
    processes.wait_for_everyone()
    return figures


def _judge(
    inputs: dict[str, Any], out: Path, config: Config, clicks: PointSet, options: SessionOptions
) -> Callable[[SapNet], dict[str, Any]] | None:
    if inputs["val_instances"] is None or not has_segmenter(config):
        return None
    return validation_judge(
        load_instances(inputs["val_instances"]),
        Path(inputs["val_images"]),
        config,
        clicks,
        quiet=options.quiet,
        out=out / PREDICTIONS_NAME,
        skip_bad=options.skip_bad,
    )


def _refuse_early(
    inputs: dict[str, Any], out: Path, config: Config, *, resume: bool, skip_bad: bool
) -> tuple[PointSet, InstanceSet | None]:
    """Find what is wrong before anything is computed or written; return clicks and ground truth."""
    clicks = load_clicks(inputs["points"], inputs["images"], skip_bad=skip_bad)
    environment = describe_environment(config, inputs=inputs, digests={"points": clicks.digest})
    check_run_folder(out, config, environment, resume=resume)
    if len(clicks) == 0:
        raise DataError(str(inputs["points"]), ["has no clicks, so there is nothing to learn from"])
    refuse_bad_images(inputs["points"], inputs["images"], skip_bad=skip_bad)
    if inputs["instances"] is None:
        return clicks, None
    truth = load_instances(inputs["instances"])
    refuse_unfit(clicks, truth, str(inputs["instances"]))
    return clicks, truth


def _finish(
    out: Path,
    data: TrainingData,
    config: Config,
    truth: InstanceSet | None,
    validation: dict[str, Any] | None,
    options: SessionOptions,
) -> dict[str, Any]:
    """Label, evaluate and report; the same files however often it is done."""
    labeller, card = load_labeller(out)
    picking = card.config.model_copy(update={"device": config.device, "data": config.data})
    kept = replace(options, picks=picks_path(out, config))
    figures: dict[str, Any] = {"labels": write_labels(labeller, data, picking, out / LABELS_NAME, kept)}
    evaluation: dict[str, Any] = {}
    if truth is not None:
        evaluation["labels"] = evaluate_labels(out / LABELS_NAME, truth, data.store)
    if validation is not None:
        evaluation["validation"] = validation
    write_json_atomic(out / EVALUATION_NAME, evaluation)
    figures["report"] = report(out, out / REPORT_NAME)["out"]
    figures["model"] = str(out / MODEL_NAME)
    figures["out"] = str(out)
    figures["headline"] = headline(evaluation)
    return figures


def headline(evaluation: dict[str, Any]) -> dict[str, float | None]:
    """Return the figures that a person looks at first.

    Args:
        evaluation: Content of ``evaluation.json``.

    Returns:
        Mask mIoU of the labels, of the top-score rule and of the oracle, and AP of the segmenter.
    """
    labels, validation = evaluation.get("labels", {}), evaluation.get("validation", {})

    def overlap(pick: str) -> float | None:
        return labels.get(pick, {}).get("mask_miou", {}).get("all")

    found = {name: overlap(name) for name in ("selected", "top_score", "largest_alone", "oracle")}
    return {f"mask_miou_{name}": value for name, value in found.items()} | {
        name: validation.get(name) for name in ("AP", "AP50", "AP75")
    }


def demo(out: Path, config: Config, *, quiet: bool = False) -> dict[str, Any]:
    """Run the whole method on scenes that the project draws (``sapnet demo``).

    Args:
        out: Folder for the scenes and the run.
        config: Settings; see the packaged ``sapnet/configs/demo.yaml``.
        quiet: Show no progress.

    Returns:
        As ``run``.
    """
    out = Path(out)
    scenes = out / "scenes"
    write_scenes(scenes, seed=0)
    return run(
        scenes / "points_train.json",
        scenes / "images",
        out / "run",
        config,
        instances=scenes / "instances_train.json",
        val_instances=scenes / "instances_val.json",
        val_images=scenes / "images",
        resume=True,
        quiet=quiet,
    )
