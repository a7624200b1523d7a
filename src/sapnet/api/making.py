"""The verbs of the command line that make something new: proposals, a trained run.

Each calls the pipeline function of its verb.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sapnet.api.arguments import AnyPath, Settings, existing, settings_of
from sapnet.api.process_state import in_python_words, one_job
from sapnet.api.results import Proposals, Run
from sapnet.errors import InputError


def propose(
    points: AnyPath,
    images: AnyPath | None = None,
    *,
    out: AnyPath,
    proposer: str | None = None,
    checkpoint: AnyPath | None = None,
    config: Settings = None,
    overrides: Mapping[str, Any] | None = None,
    instances: AnyPath | None = None,
    import_json: AnyPath | None = None,
    export_json: AnyPath | None = None,
    skip_bad: bool = False,
    quiet: bool = False,
) -> Proposals:
    """Suggest masks for every click (``sapnet propose``).

    Args:
        points: Points or points file.
        images: Image folder; not needed with ``import_json``.
        out: Folder of the store; an unfinished one is continued.
        proposer: ``regions``, ``builtin``, ``sam``, ``sam-hq``, ``sam2``, ``sam3`` or ``edgetam``;
            None: ``proposals.name`` of the settings.
        checkpoint: Weights of a SAM: folder, ``.pth`` file or id on the hub.
        config: All settings, or a YAML file.
        overrides: Settings that win, by dotted key (``{"proposals.max_per_prompt": 8}``).
        instances: Ground truth, only to report the quality of the bags (``figures["quality"]``).
        import_json: Take the proposals from a file in the form of SAPNet's authors.
        export_json: Also write such a file.
        skip_bad: Leave out images that cannot be read.
        quiet: Show no progress.

    Returns:
        The store.

    Raises:
        InputError: Something given is wrong; ``problems`` lists everything.
        JobError: The disk is full, a worker died or the proposer failed.
        KeyboardInterrupt: Interrupted; the same call continues.
    """
    with in_python_words():
        weights = None if checkpoint is None else os.fspath(checkpoint)
        settings = settings_of(config, overrides, proposals__name=proposer, proposals__checkpoint=weights)
        given = existing(points=points, images=images, instances=instances, import_json=import_json)
        if images is None and import_json is None:
            raise InputError("the arguments", ["images are needed, unless proposals come from import_json"])
    from sapnet import pipeline

    with one_job():
        figures = pipeline.propose(
            **given,
            out=Path(out),
            config=settings,
            proposer=proposer,
            skip_bad=skip_bad,
            export_json=None if export_json is None else Path(export_json),
            quiet=quiet,
        )
        return Proposals(out, figures)


def train(
    points: AnyPath,
    images: AnyPath,
    proposals: AnyPath,
    *,
    out: AnyPath,
    config: Settings = None,
    overrides: Mapping[str, Any] | None = None,
    val_instances: AnyPath | None = None,
    val_images: AnyPath | None = None,
    resume: bool = False,
    skip_bad: bool = False,
    quiet: bool = False,
) -> Run:
    """Train on clicks and their proposals (``sapnet train``).

    Args:
        points: Points or points file.
        images: Image folder.
        proposals: Proposals or folder of a store made from the same points.
        out: Run folder to write.
        config: All settings, or a YAML file.
        overrides: Settings that win, by dotted key (``{"training.epochs": 6}``).
        val_instances: Ground truth to measure AP on; training never sees it.
        val_images: Folder of its images; that of ``images`` if None.
        resume: Continue an interrupted run to the same result.
        skip_bad: Leave out images that cannot be read.
        quiet: Show no progress.

    Returns:
        The run.

    Raises:
        InputError: Something given is wrong; ``problems`` lists everything.
        JobError: Training failed.
        KeyboardInterrupt: Interrupted after the step was finished and saved; ``resume=True`` continues.
    """
    with in_python_words():
        settings = settings_of(config, overrides)
        given = existing(
            points=points,
            images=images,
            proposals=proposals,
            val_instances=val_instances,
            val_images=val_images,
        )
    from sapnet import pipeline

    with one_job():
        figures = pipeline.train(
            **given, out=Path(out), config=settings, resume=resume, skip_bad=skip_bad, quiet=quiet
        )
        return Run(out, figures)


def run(
    points: AnyPath,
    images: AnyPath,
    *,
    out: AnyPath,
    proposer: str | None = None,
    checkpoint: AnyPath | None = None,
    config: Settings = None,
    overrides: Mapping[str, Any] | None = None,
    instances: AnyPath | None = None,
    val_instances: AnyPath | None = None,
    val_images: AnyPath | None = None,
    resume: bool = False,
    skip_bad: bool = False,
    quiet: bool = False,
) -> Run:
    """Propose, train, label, evaluate and report in one go (``sapnet run``).

    Args:
        points: Points or points file.
        images: Image folder.
        out: Run folder to write.
        proposer: As for :func:`propose`.
        checkpoint: As for :func:`propose`.
        config: All settings, or a YAML file.
        overrides: Settings that win, by dotted key.
        instances: Ground truth of the images, only to measure the labels.
        val_instances: Ground truth to measure AP on; training never sees it.
        val_images: Folder of its images; that of ``images`` if None.
        resume: Continue an interrupted run to the same result.
        skip_bad: Leave out images that cannot be read.
        quiet: Show no progress.

    Returns:
        The run: ``labels()``, ``model()``, ``evaluation`` and ``report``.

    Raises:
        InputError: Something given is wrong; ``problems`` lists everything.
        JobError: A step failed.
        KeyboardInterrupt: Interrupted; ``resume=True`` continues.
    """
    with in_python_words():
        weights = None if checkpoint is None else os.fspath(checkpoint)
        settings = settings_of(config, overrides, proposals__name=proposer, proposals__checkpoint=weights)
        given = existing(
            points=points,
            images=images,
            instances=instances,
            val_instances=val_instances,
            val_images=val_images,
        )
    from sapnet import pipeline

    with one_job():
        figures = pipeline.run(
            **given, out=Path(out), config=settings, resume=resume, skip_bad=skip_bad, quiet=quiet
        )
        return Run(out, figures)
