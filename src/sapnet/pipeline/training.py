"""The training job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sapnet.config import Config
from sapnet.data.annotations import load_instances
from sapnet.engine.session import SessionOptions, run_session
from sapnet.engine.validation import validation_judge
from sapnet.pipeline.proposing import load_training_data, tell_missing_opinion
from sapnet.pipeline.refusals import refuse_bad_images


def train(
    points: Path,
    images: Path,
    proposals: Path,
    out: Path,
    config: Config,
    *,
    resume: bool = False,
    val_instances: Path | None = None,
    val_images: Path | None = None,
    quiet: bool = False,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Train on clicks and their proposals (``sapnet train``).

    Args:
        points: Points file.
        images: Image folder.
        proposals: Store made from the same points.
        out: Run folder.
        config: All settings.
        resume: Continue an interrupted run.
        val_instances: Ground truth of validation images, for measuring only.
        val_images: Their folder.
        quiet: Show no progress.
        skip_bad: Leave out unreadable images.

    Returns:
        The path, and the validation figures if there are any.
    """
    out = Path(out)
    if not resume:
        refuse_bad_images(points, images, skip_bad=skip_bad)
    data = load_training_data(points, images, proposals)
    tell_missing_opinion(data, config, quiet=quiet)
    inputs = {
        "points": points,
        "images": images,
        "proposals": proposals,
        "instances": None,
        "val_instances": val_instances,
        "val_images": None if val_instances is None else val_images or images,
    }
    judge = None
    if val_instances is not None:
        validation = load_instances(val_instances)
        judge = validation_judge(
            validation, Path(val_images or images), config, data.points, quiet=quiet, skip_bad=skip_bad
        )
    options = SessionOptions(resume=resume, skip_bad=skip_bad, quiet=quiet)
    done = run_session(data, out, config, inputs=inputs, options=options, evaluate=judge)
    figures: dict[str, Any] = {
        "out": str(out),
        "epochs": config.training.epochs,
        "mode": config.training.mode,
        "skipped": len(done.left_out),
    }
    if done.validation is not None:
        figures["validation"] = done.validation
    return figures
