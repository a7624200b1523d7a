"""Figures of one row with one seed: of its labels, and of the segmenter trained on them.

Both are kept in a folder named after everything that they depend on, so an interrupted benchmark
continues where it was, and rows that are the same are measured once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sapnet.bench.changes import with_changes
from sapnet.bench.clicks import clicks_of
from sapnet.bench.data import BenchData, alone, digest_of, proposals_of, training_data
from sapnet.bench.kept import (
    NotMeasured,
    instances_digest,
    read_kept,
    read_picks,
    write_kept,
    write_picks,
)
from sapnet.bench.paired import ImageSums
from sapnet.bench.retraining import mask_rcnn_figures
from sapnet.bench.rows import Clicks, Row, Source
from sapnet.bench.trainings import (
    Picks,
    as_segmenter,
    network_of,
    settings_that_matter,
    train,
    with_fixed,
)
from sapnet.config import Config
from sapnet.data.annotations import PointSet
from sapnet.engine.run_folder import describe_environment
from sapnet.engine.session import SessionOptions, TrainingData, choose
from sapnet.engine.validation import validation_judge
from sapnet.evaluation.best_picks import best_picks
from sapnet.evaluation.label_quality import SELECTED, evaluate_labels
from sapnet.labels.label import label_document, top_score_picks
from sapnet.labels.picks import Pick

RULES = {"top-score": "top_score", "largest-alone": "largest_alone", "oracle": "oracle"}
"""Rules without a model, under the names that ``evaluate_labels`` has for them."""
_SIZES = ("all", "small", "medium", "large")
_PRECISIONS = ("AP", "AP50", "AP75")


@dataclass(frozen=True)
class Bench:
    """What all rows of a benchmark share."""

    data: BenchData
    out: Path
    config: Config
    source: Source
    segmenter_epochs: int
    quiet: bool
    kept_only: bool = False
    """Measure nothing and wait for nobody: only what is kept already."""

    @property
    def features(self) -> Path:
        """Where the features of wholly frozen backbones are kept for all rows and experiments."""
        return self.out / "features"


@dataclass(frozen=True)
class Prepared:
    """A row with one seed: its clicks, proposals and settings."""

    bench: Bench
    row: Row
    config: Config
    """Settings of the row, with the seed."""
    points: PointSet
    learned: TrainingData
    inputs: dict[str, Path | None]
    epochs_factor: float
    """Fewer images are gone through more often, so that the number of steps stays."""

    def epochs(self, count: int) -> int:
        """Return for how many epochs the row trains where one with all images trains ``count``."""
        return max(1, round(count * self.epochs_factor))

    @property
    def segmenter_epochs(self) -> int:
        """For how many epochs the row's segmenter trains."""
        return self.epochs(self.row.longer * self.bench.segmenter_epochs)


def prepare(bench: Bench, row: Row, seed: int) -> Prepared:
    """Make the clicks and proposals of a row, or find them.

    Args:
        bench: The benchmark.
        row: The row.
        seed: Seed of everything drawn for it.

    Raises:
        NotMeasured: The proposals are still to be made, where nothing is to be measured.
    """
    config = with_changes(bench.config, {**row.changes, "seed": seed})
    source, data = row.source or bench.source, bench.data
    # The store that most tables read is made for all images, so that a row with fewer finds it too.
    common = replace(row.clicks, images=1.0) == Clicks() and "proposals" not in row.changes
    everything = clicks_of(data.points, data.instances, replace(row.clicks, images=1.0), seed=seed)
    points = clicks_of(everything, data.instances, Clicks(images=row.clicks.images), seed=seed)
    place = bench.out / "proposals"
    asked = everything if common else points
    store = proposals_of(data, asked, source, place, config, quiet=bench.quiet, kept_only=bench.kept_only)
    inputs: dict[str, Path | None] = {"points": data.folder / "points_train.json", "images": data.images}
    factor = len(everything.images) / max(1, len(points.images))
    return Prepared(
        bench, row, config, points, training_data(data, points, store), {**inputs, "proposals": None}, factor
    )


def label_figures(prepared: Prepared) -> dict[str, Any] | None:
    """Measure the labels of a row.

    Args:
        prepared: The row with one seed.

    Returns:
        ``metrics`` (name to figure), ``images`` (columns ``image_id``, ``objects`` and ``overlap``, the
        sum of the mask IoU of an image's objects), ``clicks``, ``folder`` and, of a trained row,
        ``seconds``; None of ground truth.
    """
    if prepared.row.labels == "truth":
        return None
    if prepared.row.labels in RULES:
        folder, kept = _kept(prepared, "rules", {}, lambda _: _evaluated(prepared, None, RULES.values()))
        figures = kept["picks"][RULES[prepared.row.labels]]
    else:
        folder, kept = _trained_labels(prepared)
        figures = kept["picks"][SELECTED]
    return {**kept, **figures, "folder": folder.name}


def segmenter_figures(prepared: Prepared) -> dict[str, Any]:
    """Train the segmenter of a row, or find it, and measure it on the validation images.

    Args:
        prepared: The row with one seed.

    Returns:
        ``metrics``: AP, AP50 and AP75, and ``folder``.
    """
    bench, row = prepared.bench, prepared.row
    config, learned = as_segmenter(prepared.config, prepared.segmenter_epochs), prepared.learned
    if row.segmenter == "end-to-end":
        config = _end_to_end(prepared)
    else:
        learned = with_fixed(learned, picks_of(prepared))
    mode = {"segmenter": row.segmenter, "settings": settings_that_matter(config)}

    def measured(_: Path) -> dict[str, Any]:
        start = time.monotonic()
        if row.segmenter == "mask-rcnn":
            found = mask_rcnn_figures(
                learned, bench.data.validation, config, bench.out / "trainings", quiet=bench.quiet
            )
        else:
            folder = _train(prepared, learned, config)
            judge = validation_judge(
                bench.data.validation, bench.data.images, config, prepared.points, quiet=bench.quiet
            )
            found = judge(network_of(folder, config))
        metrics = {name: found[name] for name in _PRECISIONS}
        return {"metrics": metrics, "seconds": round(time.monotonic() - start)}

    digests = {**learned.digests, "validation": instances_digest(bench.data.validation)}
    folder, kept = _kept(prepared, "segmenters", {**mode, "digests": digests}, measured)
    return {**kept, "folder": folder.name}


def picks_of(prepared: Prepared) -> Picks:
    """Return which proposal of every click is a row's label.

    Args:
        prepared: The row with one seed; of the rules the highest proposer score and the best proposal can be
            learned from, the latter to see the most that any choice could teach.
    """
    if prepared.row.labels == "oracle":
        limit = prepared.config.data.max_proposals
        best = best_picks(prepared.learned.store, prepared.bench.data.instances, max_proposals=limit)
        return {key: Pick(*found) for key, found in best.items()}
    if prepared.row.labels in ("truth", "top-score"):
        return top_score_picks(prepared.points)
    folder, _ = _trained_labels(prepared)
    return read_picks(folder)


def _trained_labels(prepared: Prepared) -> tuple[Path, dict[str, Any]]:
    """Folder and figures of the picks of a trained selection."""
    bench = prepared.bench
    if prepared.row.labels == "end-to-end":
        config = _end_to_end(prepared)
    else:
        training = {"mode": "selection-only", "epochs": prepared.epochs(prepared.config.training.epochs)}
        config = with_changes(prepared.config, {"training": training})

    def measured(folder: Path) -> dict[str, Any]:
        start = time.monotonic()
        trained = _train(prepared, prepared.learned, config)
        options = SessionOptions(resume=True, quiet=bench.quiet, features=bench.features)
        picks = choose(network_of(trained, config), prepared.learned, config, options=options)
        write_picks(folder, picks)
        return {
            **_evaluated(prepared, picks, (SELECTED,)),
            "seconds": round(time.monotonic() - start),
            "training": trained.name,
        }

    return _kept(prepared, "labels", {"settings": settings_that_matter(config)}, measured)


def _train(prepared: Prepared, learned: TrainingData, config: Config) -> Path:
    """Folder of a training of a row."""
    bench = prepared.bench
    return train(
        learned,
        config,
        bench.out / "trainings",
        inputs=prepared.inputs,
        features=bench.features,
        quiet=bench.quiet,
    )


def _end_to_end(prepared: Prepared) -> Config:
    training = {"mode": "end-to-end", "epochs": prepared.segmenter_epochs}
    return with_changes(prepared.config, {"training": training})


def _kept(
    prepared: Prepared, kind: str, made_with: dict[str, Any], measure: Callable[[Path], dict[str, Any]]
) -> tuple[Path, dict[str, Any]]:
    """Folder and figures of what depends on the row's data and the given settings; measured if need be."""
    bench = prepared.bench
    digests = {**prepared.learned.digests, "instances": instances_digest(bench.data.instances)}
    origin = {"max_proposals": prepared.config.data.max_proposals, "digests": digests, **made_with}
    folder = bench.out / kind / f"seed-{prepared.config.seed}-{digest_of(origin)}"
    if bench.kept_only:
        found = read_kept(folder, origin)
        if found is None:
            raise NotMeasured(str(folder))
        return folder, found
    with alone(folder):
        found = read_kept(folder, origin)
        if found is None:
            figures = measure(folder)
            environment = describe_environment(prepared.config, inputs={}, digests=prepared.learned.digests)
            write_kept(folder, {**figures, "environment": environment}, origin)
            found = read_kept(folder, origin)
    assert found is not None
    return folder, found


def _evaluated(prepared: Prepared, picks: Picks | None, names: Any) -> dict[str, Any]:
    """Figures of some picks, by name, and how many clicks there are."""
    chosen = top_score_picks(prepared.points) if picks is None else dict(picks)
    limit = prepared.config.data.max_proposals
    store = prepared.learned.store
    quality = evaluate_labels(
        label_document(prepared.points, store, chosen, max_proposals=limit),
        prepared.bench.data.instances,
        store,
    )
    return {
        "picks": {name: _pick_figures(quality, name) for name in names},
        "clicks": quality["objects"],
    }


def _pick_figures(quality: dict[str, Any], name: str) -> dict[str, Any]:
    found, columns = quality[name], quality["per_object"]
    top, best = (quality[rule]["mask_miou"]["all"] for rule in ("top_score", "oracle"))
    mean = found["mask_miou"]["all"]
    known = mean is not None and best - top > 1e-9
    sums = ImageSums.of(columns["image_id"], columns[f"{name}_iou"])
    return {
        "metrics": {
            "mask mIoU": mean,
            **{size: found["mask_miou"][size] for size in _SIZES[1:]},
            "box mIoU": found["box_miou"]["all"],
            "Gap": found["gap"],
            "share closed": (mean - top) / (best - top) if known else None,
        },
        "images": {
            "image_id": sums.image_ids.tolist(),
            "objects": sums.objects.tolist(),
            "overlap": sums.sums.round(4).tolist(),
        },
    }
