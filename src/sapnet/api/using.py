"""The verbs of the command line that use a trained run: label, predict, evaluate, report.

Each calls the pipeline function of its verb.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from sapnet.api.arguments import DEVICES, AnyPath, Device, existing, refuse_unknown
from sapnet.api.labels import Labels, Predictions
from sapnet.api.process_state import in_python_words, one_job
from sapnet.api.results import load_run
from sapnet.errors import InputError
from sapnet.labels.label_set import load_labels as read_labels


def label(
    run: AnyPath,
    points: AnyPath | None = None,
    images: AnyPath | None = None,
    proposals: AnyPath | None = None,
    *,
    out: AnyPath | None = None,
    device: Device = "auto",
    skip_bad: bool = False,
    quiet: bool = False,
) -> Labels:
    """Pick one mask per clicked object (``sapnet label``).

    Args:
        run: Run, run folder or model file.
        points: Points or points file; None: those that the run was trained on.
        images: Image folder; None: likewise.
        proposals: Proposals or store made from the same points; None: likewise.
        out: Label file to write (COCO instances); None: a temporary one, which lives as long as the
            returned object.
        device: Where networks run.
        skip_bad: Leave out images that cannot be read.
        quiet: Show no progress.

    Returns:
        The labels.

    Raises:
        InputError: Something given is wrong; ``problems`` lists everything.
        JobError: The file cannot be written.
    """
    with in_python_words():
        needed: dict[str, AnyPath | None] = {"points": points, "images": images, "proposals": proposals}
        if None in needed.values():
            known = load_run(run).inputs
            needed = {name: known.get(name) if value is None else value for name, value in needed.items()}
        given = existing(run=run, **needed)
        refuse_unknown(device=(device, DEVICES))
    from sapnet import pipeline

    with one_job(), ExitStack() as stack:
        path = _file_or_temporary(out, "labels.json", stack)
        figures = pipeline.label(**given, out=path, device=device, skip_bad=skip_bad, quiet=quiet)
        labels = Labels(read_labels(path), path, keep=stack.pop_all())
    labels.figures = figures
    return labels


def predict(
    model: AnyPath,
    images: AnyPath | Iterable[AnyPath],
    *,
    out: AnyPath | None = None,
    draw: AnyPath | None = None,
    device: Device = "auto",
    skip_bad: bool = False,
    quiet: bool = False,
) -> Predictions:
    """Segment new images (``sapnet predict``). For single images in a loop: :func:`load_model`.

    Args:
        model: Run, run folder or model file.
        images: An image file or folder, or several.
        out: File to write (COCO results with a list of images); None: a temporary one, which lives as
            long as the returned object.
        draw: Folder for pictures with the instances drawn in.
        device: Where networks run.
        skip_bad: Leave out images that cannot be read.
        quiet: Show no progress.

    Returns:
        The predictions.

    Raises:
        InputError: Something given is wrong; ``problems`` lists everything.
        JobError: A file cannot be written.
    """
    with in_python_words():
        several = [images] if isinstance(images, str | os.PathLike) else list(images)
        existing(model=model)
        refuse_unknown(device=(device, DEVICES))
    from sapnet import pipeline

    with one_job(), ExitStack() as stack:
        path = _file_or_temporary(out, "predictions.json", stack)
        figures = pipeline.predict(
            Path(model),
            [Path(item) for item in several],
            path,
            draw=None if draw is None else Path(draw),
            device=device,
            quiet=quiet,
            skip_bad=skip_bad,
        )
        predictions = Predictions(read_labels(path), path, keep=stack.pop_all())
    predictions.figures = figures
    return predictions


def evaluate(
    instances: AnyPath,
    *,
    predictions: AnyPath | None = None,
    labels: AnyPath | None = None,
    proposals: AnyPath | None = None,
    protocol: Literal["coco", "voc"] = "coco",
) -> dict[str, Any]:
    """Compare predictions or labels with ground truth (``sapnet evaluate``).

    Args:
        instances: Ground truth, COCO instances.
        predictions: Predictions, their file, or COCO results.
        labels: Labels or label file.
        proposals: With ``labels``: the store they were picked from, to measure the rules without a
            model and the best proposal too.
        protocol: For predictions: ``coco`` or ``voc``.

    Returns:
        The figures.

    Raises:
        InputError: Something given is wrong; ``problems`` lists everything.
    """
    with in_python_words():
        given = existing(instances=instances, predictions=predictions, labels=labels, proposals=proposals)
        problems = []
        if (predictions is None) == (labels is None):
            problems.append("give either predictions or labels")
        if proposals is not None and labels is None:
            problems.append("proposals goes with labels")
        if problems:
            raise InputError("the arguments", problems)
        refuse_unknown(protocol=(protocol, ("coco", "voc")))
    from sapnet import pipeline

    with one_job():
        return pipeline.evaluate(**given, protocol=protocol)


def write_report(run: AnyPath, out: AnyPath) -> Path:
    """Write the self-contained HTML report of a run or benchmark (``sapnet report``).

    Args:
        run: Run or folder of a run or benchmark.
        out: HTML file to write.

    Returns:
        The file.

    Raises:
        InputError: The folder is neither.
        JobError: The file cannot be written.
    """
    with in_python_words():
        given = existing(run=run)
    from sapnet import pipeline

    with one_job():
        return Path(pipeline.report(given["run"], Path(out))["out"])


def _file_or_temporary(out: AnyPath | None, name: str, stack: ExitStack) -> Path:
    """The file to write; where none was asked for, one that vanishes when the stack is closed."""
    if out is not None:
        return Path(out)
    return Path(stack.enter_context(TemporaryDirectory(prefix="sapnet-"))) / name
