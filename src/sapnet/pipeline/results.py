"""The jobs that use a trained model: label, predict, evaluate, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from sapnet.build import build_postprocess
from sapnet.config import Config
from sapnet.data.atomic import write_bytes_atomic, write_json_atomic
from sapnet.data.images import read_image
from sapnet.engine.devices import device_of
from sapnet.engine.session import (
    SessionOptions,
    TrainingData,
    choose,
    load_labeller,
    load_segmenter,
)
from sapnet.engine.validation import prediction_dataset
from sapnet.errors import DataError, InputError
from sapnet.evaluation.coco_ap import evaluate_coco
from sapnet.evaluation.label_quality import evaluate_labels
from sapnet.evaluation.voc_ap import evaluate_voc
from sapnet.exporters.export import ExportOptions, check_export, export_labels
from sapnet.inference.predict import Predicted, coco_results, list_images, predict_images
from sapnet.labels.label import label_document, top_score_picks
from sapnet.labels.label_set import labels_from_json
from sapnet.models.sapnet import SapNet
from sapnet.pipeline.proposing import load_training_data, tell_missing_opinion
from sapnet.pipeline.refusals import refuse_bad_images
from sapnet.progress import Progress
from sapnet.proposals.store import ProposalStore
from sapnet.report import write_report
from sapnet.visualize import draw_instances, encode_picture


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
    session = SessionOptions(skip_bad=skip_bad, quiet=quiet)
    if to == "coco" and options in (None, ExportOptions()):
        return write_labels(model, data, config, Path(out), session)
    document = picked_labels(model, data, config, session)
    labels = labels_from_json(document, "the labels")
    figures = export_labels(labels, out, to, options, images_dir=images)
    return {**figures, "labels": len(document["annotations"]), "unlabelled": len(document["unlabelled"])}


def write_labels(
    model: SapNet, data: TrainingData, config: Config, out: Path, options: SessionOptions
) -> dict[str, Any]:
    """Pick a proposal for every click and write the label file.

    Args:
        model: The network that picks, as ``load_labeller`` gives it.
        data: Clicks, images and proposals.
        config: The network's settings.
        out: Label file to write.
        options: Skip and quiet.

    Returns:
        Counts and the path.
    """
    document = picked_labels(model, data, config, options)
    write_json_atomic(out, document)
    count = len(document["annotations"])
    return {"out": str(out), "labels": count, "unlabelled": len(document["unlabelled"])}


def picked_labels(
    model: SapNet, data: TrainingData, config: Config, options: SessionOptions
) -> dict[str, Any]:
    """Pick a proposal for every click.

    Args:
        model: The network that picks, as ``load_labeller`` gives it.
        data: Clicks, images and proposals.
        config: The network's settings. In top-score mode, which trains no selection, the proposal
            with the highest proposer score is picked.
        options: Skip and quiet.

    Returns:
        The labels as a COCO document.
    """
    if config.training.mode == "top-score":
        picks = top_score_picks(data.points)
    else:
        picks = choose(model, data, config, options=options)
    limit = config.data.max_proposals
    return label_document(data.points, data.store, picks, max_proposals=limit)


def predict(
    model: Path,
    images: Sequence[Path],
    out: Path,
    *,
    draw: Path | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    quiet: bool = False,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Segment new images (``sapnet predict``).

    Args:
        model: Run folder or model file.
        images: Image files and folders of images.
        out: COCO instances with scores to write: images (numbered from 1), categories, annotations.
        draw: Folder for pictures with the instances drawn in.
        device: Where to compute.
        quiet: Show no progress.
        skip_bad: Leave out unreadable images.

    Returns:
        Counts and the path.
    """
    network, card = load_segmenter(Path(model))
    config = card.config.model_copy(update={"device": device})
    paths = list_images([Path(item) for item in images])
    category_ids, names = zip(*card.categories, strict=True)
    pictures = _Pictures(None if draw is None else Path(draw), names)
    results: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    problems: list[str] = []
    found = predict_images(
        network,
        prediction_dataset(paths, config),
        build_postprocess(config),
        size_divisor=config.data.size_divisor,
        device=device_of(config),
        quiet=quiet,
    )
    for number, predicted in enumerate(found, start=1):
        if predicted.instances is None:
            problems.append(predicted.problem)
            continue
        height, width = predicted.instances.image_size
        entries.append({"id": number, "file_name": str(predicted.path), "width": width, "height": height})
        results += coco_results(predicted.instances, number, category_ids)
        pictures.draw(number, predicted)
    if problems and not skip_bad:
        pictures.discard()
        raise DataError("the images to predict", [*problems, "--skip-bad leaves such images out"])
    for problem in problems:
        Progress(0, "notice", quiet=quiet).message(f"left out: {problem}")
    document = {
        "images": entries,
        "categories": [{"id": identifier, "name": name} for identifier, name in card.categories],
        "annotations": [{"id": row, **item} for row, item in enumerate(results, start=1)],
    }
    write_json_atomic(out, document)
    return {"out": str(out), "images": len(entries), "skipped": len(problems), "instances": len(results)}


class _Pictures:
    """Pictures with the instances drawn in; nothing is done without a folder."""

    def __init__(self, folder: Path | None, names: Sequence[str]) -> None:
        self._folder, self._names = folder, list(names)
        self._written: list[Path] = []

    def draw(self, number: int, predicted: Predicted) -> None:
        if self._folder is None or predicted.instances is None:
            return
        picture = draw_instances(read_image(predicted.path), predicted.instances, self._names)
        target = self._folder / f"{number:06d}_{predicted.path.stem}.jpg"
        write_bytes_atomic(target, encode_picture(picture))
        self._written.append(target)

    def discard(self) -> None:
        """Remove what was drawn: a refused call leaves nothing behind."""
        for path in self._written:
            path.unlink(missing_ok=True)


def evaluate(
    instances: Path,
    *,
    predictions: Path | None = None,
    labels: Path | None = None,
    protocol: Literal["coco", "voc"] = "coco",
    proposals: Path | None = None,
) -> dict[str, Any]:
    """Compare predictions or labels with ground truth (``sapnet evaluate``).

    Args:
        instances: Ground truth.
        predictions: COCO results.
        labels: Label file.
        protocol: For predictions: ``coco`` or ``voc``.
        proposals: For labels: the store they were picked from, to measure the rules without a model.

    Returns:
        The figures.
    """
    if (predictions is None) == (labels is None):
        raise InputError("the arguments", ["give either predictions or labels"])
    if predictions is not None:
        return (evaluate_coco if protocol == "coco" else evaluate_voc)(predictions, instances)
    store = None if proposals is None else ProposalStore.open(proposals)
    return evaluate_labels(str(labels), instances, store)


def report(
    run: Path,
    out: Path,
    *,
    points: Path | None = None,
    images: Path | None = None,
    instances: Path | None = None,
) -> dict[str, Any]:
    """Write the HTML report of a run, a benchmark or a proposal store (``sapnet report``).

    Args:
        run: Run or benchmark folder, or proposal store.
        out: HTML file.
        points: Of a store: the points file it was made from.
        images: Of a store: the folder of its images.
        instances: Of a store: ground truth, if overlaps are to be shown.

    Returns:
        The path.
    """
    places = {
        name: None if path is None else Path(path)
        for name, path in (("points", points), ("images", images), ("instances", instances))
    }
    written = write_report(run, out, default_settings=Config().model_dump(mode="json"), **places)
    return {"out": str(written)}
