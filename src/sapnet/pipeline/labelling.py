"""The job that picks a mask for every click with a trained model: label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from sapnet.config import Config
from sapnet.data.atomic import write_json_items_atomic
from sapnet.data.journal import unfinished_path
from sapnet.engine.session import SessionOptions, TrainingData, choose
from sapnet.engine.trained import load_labeller
from sapnet.errors import DataError
from sapnet.exporters.export import ExportOptions, check_export, export_labels
from sapnet.labels.label import label_document, label_parts, top_score_picks
from sapnet.labels.label_set import labels_from_json
from sapnet.labels.picks import Pick
from sapnet.models.sapnet import SapNet
from sapnet.pipeline.proposing import load_training_data, tell_missing_opinion
from sapnet.pipeline.refusals import refuse_bad_images


def label(
    run: Path,
    points: Path,
    images: Path,
    proposals: Path,
    out: Path,
    *,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    skip_bad: bool = False,
    quiet: bool = False,
    to: str = "coco",
    options: ExportOptions | None = None,
) -> dict[str, Any]:
    """Write one mask per clicked object (``sapnet label``).

    What is found is kept in ``OUT.unfinished`` until all of it is written; the same call goes on from there.

    Args:
        run: Run folder or model file.
        points: Points file with the classes that the model was trained on.
        images: Image folder.
        proposals: Store made from the same points.
        out: Label file to write, or folder where the format has many files.
        device: Where to compute.
        skip_bad: Leave out unreadable images.
        quiet: Show no progress.
        to: A format of :func:`sapnet.exporters.export.export_labels`.
        options: What can be chosen about the format.

    Returns:
        Counts and the path.
    """
    check_export(to, out, options or ExportOptions())
    model, card = load_labeller(Path(run))
    config = card.config.model_copy(update={"device": device})
    data = load_training_data(points, images, proposals)
    refuse_bad_images(points, images, skip_bad=skip_bad)
    known = ", ".join(f"{name!r} (id {identifier})" for identifier, name in card.categories)
    problems = [
        f"category {item.name!r} (id {item.id}) is not number {place + 1} of the model's: {known}"
        for place, item in enumerate(data.points.categories)
        if place >= len(card.categories) or card.categories[place] != (item.id, item.name)
    ]
    if problems:
        raise DataError(str(points), problems)
    tell_missing_opinion(data, config, quiet=quiet)
    kept = unfinished_path(Path(out))
    session = SessionOptions(skip_bad=skip_bad, quiet=quiet, picks=kept)
    if to == "coco" and options in (None, ExportOptions()):
        figures = write_labels(model, data, config, Path(out), session)
    else:
        document = picked_labels(model, data, config, session)
        labels = labels_from_json(document, "the labels")
        figures = export_labels(labels, out, to, options, images_dir=images)
        figures |= {"labels": len(document["annotations"]), "unlabelled": len(document["unlabelled"])}
    if config.training.mode != "top-score":  # which keeps nothing
        kept.unlink(missing_ok=True)
    return figures


def write_labels(
    model: SapNet, data: TrainingData, config: Config, out: Path, options: SessionOptions
) -> dict[str, Any]:
    """Pick a proposal for every click and write the label file.

    Args:
        model: The network that picks, as ``load_labeller`` gives it.
        data: Clicks, images and proposals.
        config: The network's settings. In top-score mode, which trains no selection, the proposal
            with the highest proposer score is picked.
        out: Label file to write.
        options: Skip, quiet, and where picks are kept.

    Returns:
        Counts and the path.
    """
    picks = _picks(model, data, config, options)
    parts, labelled = label_parts(data.points, data.store, picks, max_proposals=config.data.max_proposals)
    write_json_items_atomic(out, parts)
    return {"out": str(out), "labels": len(labelled), "unlabelled": len(data.points) - len(labelled)}


def picked_labels(
    model: SapNet, data: TrainingData, config: Config, options: SessionOptions
) -> dict[str, Any]:
    """Pick a proposal for every click.

    Args:
        model: As for :func:`write_labels`.
        data: Clicks, images and proposals.
        config: As for :func:`write_labels`.
        options: Skip, quiet, and where picks are kept.

    Returns:
        The labels as a COCO document.
    """
    picks = _picks(model, data, config, options)
    return label_document(data.points, data.store, picks, max_proposals=config.data.max_proposals)


def _picks(model: SapNet, data: TrainingData, config: Config, options: SessionOptions) -> Mapping[int, Pick]:
    if config.training.mode == "top-score":
        return top_score_picks(data.points)
    return choose(model, data, config, options=options)
