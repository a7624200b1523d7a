"""The jobs behind the command line and the Python API, one function per verb.

Every function returns JSON-able figures. Paths may be strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from sapnet.build import build_postprocess
from sapnet.config import Config
from sapnet.data.annotations import load_instances, load_points, save_points
from sapnet.data.atomic import write_bytes_atomic, write_json_atomic
from sapnet.data.check import check_points
from sapnet.data.images import read_image
from sapnet.data.point_sampling import sample_points
from sapnet.data.scenes import write_scenes
from sapnet.engine.session import (
    SessionOptions,
    TrainingData,
    choose,
    device_of,
    load_model,
    run_training,
)
from sapnet.engine.validation import prediction_dataset, validation_judge
from sapnet.errors import DataError, InputError, StoreError
from sapnet.evaluation.coco_ap import evaluate_coco
from sapnet.evaluation.label_quality import evaluate_labels
from sapnet.evaluation.voc_ap import evaluate_voc
from sapnet.inference.predict import coco_results, list_images, predict_images
from sapnet.labels.label import label_document, top_score_picks
from sapnet.progress import Progress
from sapnet.proposals.generate import generate_proposals
from sapnet.proposals.quality import bag_quality
from sapnet.proposals.regions import RegionProposer
from sapnet.proposals.simulated import SimulatedProposer
from sapnet.proposals.store import ProposalStore
from sapnet.report import write_report
from sapnet.visualize import draw_instances, encode_picture

PROPOSALS_NAME = "proposals"
LABELS_NAME = "labels.json"
PREDICTIONS_NAME = "predictions.json"
EVALUATION_NAME = "evaluation.json"
REPORT_NAME = "report.html"


def sample_points_file(instances: Path, mode: str, out: Path, seed: int) -> dict[str, Any]:
    """Draw one click per non-crowd instance (``sapnet points sample``).

    Args:
        instances: COCO instances file.
        mode: ``center``, ``quasi-center`` or ``random``.
        out: Points file to write.
        seed: Seed of the draws.

    Returns:
        Counts and the path.
    """
    points = sample_points(load_instances(instances), mode, seed)  # type: ignore[arg-type]
    save_points(points, out)
    return {"out": str(out), "mode": mode, "seed": seed, "images": len(points.images), "points": len(points)}


def check_points_file(points: Path, images: Path) -> dict[str, Any]:
    """Check a points file and its images (``sapnet points check``).

    Args:
        points: Points file.
        images: Image folder.

    Returns:
        ``problems``, ``warnings``, ``notes`` and ``summary``.
    """
    found = check_points(points, images)
    return {
        "problems": list(found.problems),
        "warnings": list(found.warnings),
        "notes": list(found.notes),
        "summary": found.summary,
    }


def propose(
    points: Path,
    images: Path,
    out: Path,
    config: Config,
    *,
    proposer: str = "regions",
    skip_bad: bool = False,
    instances: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Fill a proposal store (``sapnet propose``).

    Args:
        points: Points file.
        images: Image folder.
        out: Folder of the store.
        config: All settings.
        proposer: Name of the proposer.
        skip_bad: Leave out unreadable images.
        instances: Ground truth to measure the bags against.
        quiet: Show no progress.

    Returns:
        Counts, and ``quality`` if ground truth is given.
    """
    if proposer != "regions":
        raise InputError("the command line", [f"proposer {proposer!r} is unknown; expected 'regions'"])
    clicks = load_points(points)
    gt_instances = None if instances is None else load_instances(instances)
    with Progress(len(clicks.images), "propose", quiet=quiet) as progress:
        store = generate_proposals(
            clicks,
            images,
            RegionProposer(**config.proposals.regions.model_dump()),
            out,
            skip_bad=skip_bad,
            progress=lambda done, _total, _proposals: progress.advance(done - progress.done),
            workers=config.data.num_workers + 1,
        )
    figures: dict[str, Any] = {
        "out": str(out),
        "proposer": proposer,
        "images": len(store),
        "skipped": len(store.skipped),
        "proposals": store.manifest["counts"]["proposals"],
    }
    if gt_instances is not None:
        figures["quality"] = bag_quality(store, gt_instances)
    return figures


def load_training_data(points: Path, images: Path, proposals: Path, *, allow_simulated: bool = False) -> TrainingData:
    """Load clicks and their proposal store.

    Args:
        points: Points file.
        images: Image folder.
        proposals: Store.
        allow_simulated: Accept simulated proposals (benchmarks only).

    Returns:
        What a training session learns from.

    Raises:
        DataError, StoreError: Something is wrong with them, or there is no click to learn from.
    """
    clicks = load_points(points)
    store = ProposalStore.open(proposals, clicks)
    if store.manifest["proposer"]["name"] == SimulatedProposer.name and not allow_simulated:
        reason = "holds simulated proposals, which are drawn from ground truth; only bench uses them"
        raise StoreError(str(proposals), [f"{reason}. Make a store with: sapnet propose"])
    if len(clicks) == 0:
        raise DataError(str(points), ["has no clicks, so there is nothing to learn from"])
    digests = {"points": clicks.digest, "proposals": store.manifest["data_sha256"]}
    return TrainingData(points=clicks, images_dir=Path(images), store=store, digests=digests)


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
    data = load_training_data(points, images, proposals)
    validation = None if val_instances is None else load_instances(val_instances)
    inputs = {
        "points": points,
        "images": images,
        "proposals": proposals,
        "val_instances": val_instances,
        "val_images": val_images,
    }
    options = SessionOptions(resume=resume, skip_bad=skip_bad, quiet=quiet)
    judge = None
    if validation is not None:
        judge = validation_judge(validation, Path(val_images or images), config, data.points, quiet=quiet)
    model = run_training(data, out, config, inputs=inputs, options=options, evaluate=judge)
    figures: dict[str, Any] = {"out": str(out), "epochs": config.training.epochs, "mode": config.training.mode}
    if judge is not None and config.training.mode != "selection-only":
        figures["validation"] = judge(model)
    return figures


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
    return _write_labels(model, data, config, Path(out), SessionOptions(skip_bad=skip_bad, quiet=quiet))


def _write_labels(
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
            validation, Path(val_images or images), config, data.points, quiet=quiet, out=out / PREDICTIONS_NAME
        )
    model = run_training(data, out, config, inputs=inputs, options=options, evaluate=judge)
    figures["labels"] = _write_labels(model, data, config, out / LABELS_NAME, options)
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
