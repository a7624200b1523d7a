"""The main job in one call, and the demonstration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sapnet.config import Config
from sapnet.data.annotations import load_instances
from sapnet.data.atomic import write_json_atomic
from sapnet.data.scenes import write_scenes
from sapnet.engine.session import SessionOptions, run_training
from sapnet.engine.validation import validation_judge
from sapnet.evaluation.label_quality import evaluate_labels
from sapnet.pipeline.proposing import load_training_data, propose
from sapnet.pipeline.results import report, write_labels

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
    out = Path(out)
    store = out / PROPOSALS_NAME
    gt_instances = None if instances is None else load_instances(instances)
    validation = None if val_instances is None else load_instances(val_instances)
    figures: dict[str, Any] = {
        "proposals": propose(
            points, images, store, config, proposer=config.proposals.name, skip_bad=skip_bad, quiet=quiet
        )
    }
    data = load_training_data(points, images, store)
    options = SessionOptions(resume=resume, skip_bad=skip_bad, quiet=quiet)
    inputs = {
        "points": points,
        "images": images,
        "proposals": store,
        "instances": instances,
        "val_instances": val_instances,
        "val_images": None if val_instances is None else Path(val_images or images),
    }
    judge = None
    if validation is not None and config.training.mode != "selection-only":
        judge = validation_judge(
            validation,
            Path(val_images or images),
            config,
            data.points,
            quiet=quiet,
            out=out / PREDICTIONS_NAME,
        )
    model = run_training(data, out, config, inputs=inputs, options=options, evaluate=judge)
    figures["labels"] = write_labels(model, data, config, out / LABELS_NAME, options)
    evaluation: dict[str, Any] = {}
    if gt_instances is not None:
        evaluation["labels"] = evaluate_labels(
            out / LABELS_NAME, gt_instances, data.store, max_proposals=config.data.max_proposals
        )
    if judge is not None:
        evaluation["validation"] = judge(model)
    write_json_atomic(out / EVALUATION_NAME, evaluation)
    figures["report"] = report(out, out / REPORT_NAME)["out"]
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
        config: Settings; see ``configs/demo.yaml``.
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
