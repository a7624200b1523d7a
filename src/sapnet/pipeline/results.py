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
from sapnet.engine.session import SessionOptions, TrainingData, choose, load_model
from sapnet.engine.validation import prediction_dataset
from sapnet.errors import DataError, InputError
from sapnet.evaluation.coco_ap import evaluate_coco
from sapnet.evaluation.label_quality import evaluate_labels
from sapnet.evaluation.voc_ap import evaluate_voc
from sapnet.inference.predict import coco_results, list_images, predict_images
from sapnet.labels.label import label_document, top_score_picks
from sapnet.pipeline.proposing import load_training_data
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
) -> dict[str, Any]:
    """Write one mask per clicked object (``sapnet label``).

    Args:
        run: Run folder or model file.
        points: Points file with the classes that the model was trained on.
        images: Image folder.
        proposals: Store made from the same points.
        out: Label file to write (COCO instances).
        device: Where to compute.
        skip_bad: Leave out unreadable images.
        quiet: Show no progress.

    Returns:
        Counts and the path.
    """
    model, card = load_model(Path(run))
    config = card.config.model_copy(update={"device": device})
    data = load_training_data(points, images, proposals)
    problems = [
        f"category {item.id} ({item.name!r}) is not one of the model's: {[name for _, name in card.categories]}"
        for place, item in enumerate(data.points.categories)
        if place >= len(card.categories) or card.categories[place] != (item.id, item.name)
    ]
    if problems:
        raise DataError(str(points), problems)
    return write_labels(model, data, config, Path(out), SessionOptions(skip_bad=skip_bad, quiet=quiet))


def write_labels(
    model: Any, data: TrainingData, config: Config, out: Path, options: SessionOptions
) -> dict[str, Any]:
    if config.training.mode == "top-score":
        picks = top_score_picks(data.points)
    else:
        picks = choose(model, data, config, options=options)
    document = label_document(data.points, data.store, picks)
    write_json_atomic(out, document)
    count = len(document["annotations"])
    return {"out": str(out), "labels": count, "unlabelled": len(document["unlabelled"])}


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
        out: COCO results with a list of images and categories beside them.
        draw: Folder for pictures with the instances drawn in.
        device: Where to compute.
        quiet: Show no progress.
        skip_bad: Leave out unreadable images.

    Returns:
        Counts and the path.
    """
    network, card = load_model(Path(model))
    config = card.config.model_copy(update={"device": device})
    paths = list_images([Path(item) for item in images])
    names = [name for _, name in card.categories]
    results: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    problems: list[str] = []
    for number, found in enumerate(
        predict_images(
            network,
            prediction_dataset(paths, config),
            build_postprocess(config),
            size_divisor=config.data.size_divisor,
            device=device_of(config),
            quiet=quiet,
        ),
        start=1,
    ):
        if found.instances is None:
            problems.append(found.problem)
            continue
        height, width = found.instances.image_size
        entries.append({"id": number, "file_name": str(found.path), "width": width, "height": height})
        results += coco_results(found.instances, number, [identifier for identifier, _ in card.categories])
        if draw is not None:
            picture = draw_instances(read_image(found.path), found.instances, names)
            target = Path(draw) / f"{number:06d}_{found.path.stem}.jpg"
            write_bytes_atomic(target, encode_picture(picture))
    if problems and not skip_bad:
        raise DataError("the images to predict", [*problems, "--skip-bad leaves such images out"])
    document = {
        "images": entries,
        "categories": [{"id": identifier, "name": name} for identifier, name in card.categories],
        "annotations": [{"id": row, **item} for row, item in enumerate(results, start=1)],
    }
    write_json_atomic(out, document)
    return {"out": str(out), "images": len(entries), "skipped": len(problems), "instances": len(results)}


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


def report(run: Path, out: Path) -> dict[str, Any]:
    """Write the HTML report of a run or benchmark (``sapnet report``).

    Args:
        run: Run or benchmark folder.
        out: HTML file.

    Returns:
        The path.
    """
    written = write_report(run, out, default_settings=Config().model_dump(mode="json"))
    return {"out": str(written)}
