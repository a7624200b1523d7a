"""The experiments: which rows they have, and how a row is measured.

Figures of one (row, seed) are kept in ``result.json`` in its folder with the settings and digests
that they were measured with, so an interrupted benchmark continues where it was and refuses figures
of other settings or data; training inside a row resumes too.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sapnet._version import __version__
from sapnet.bench.bags import BAGS_NAME, run_bags
from sapnet.bench.changes import with_changes
from sapnet.bench.data import BenchData, Source, proposals_of, training_data
from sapnet.bench.kept import origin_of, read_kept, read_picks, write_kept, write_picks
from sapnet.config import Config
from sapnet.config_loader import differences, setting_of
from sapnet.data.atomic import write_json_atomic
from sapnet.engine.run_folder import describe_environment
from sapnet.engine.session import SessionOptions, TrainingData, choose, fix_picks, run_session
from sapnet.engine.validation import validation_judge
from sapnet.errors import InputError, nearest
from sapnet.evaluation.label_quality import evaluate_labels
from sapnet.labels.label import label_document, top_score_picks

BENCH_NAME = "bench.json"
_SINGLE_MIL: dict[str, Any] = {
    "model": {
        "guidance": {"enabled": False},
        "refinement": {"enabled": False},
        "box_mining": {"enabled": False},
        "agreement": {"exponent": 0.0},
        "picking": {
            "class_activation": "softmax",
            "instance_probability": True,
            "size_exponent": 0.0,
            "proposer_exponent": 0.0,
            "candidates": "positives",
        },
    },
    "training": {"mode": "selection-only"},
}
_TWICE: dict[str, Any] = {"segments": True, "epochs_factor": 2}
_SIZES = ("all", "small", "medium", "large")


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    label: str
    source: Source
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ from the benchmark's, nested like a config file."""
    trains: bool = True
    """False: a rule without a model."""
    segments: bool = False
    """Measure the segmenter on the validation images too."""
    epochs_factor: int = 1
    """Trains for the benchmark's epochs times this."""
    learns_from: Row | None = None
    """Train on the fixed picks of this row instead of on all proposals."""


def _selection_rows(source: Source) -> tuple[Row, ...]:
    return (
        Row(f"rules without a model ({source})", source, trains=False),
        Row(f"single MIL ({source})", source, _SINGLE_MIL),
        Row(f"SAPNet ({source})", source),
    )


def _segmenter_rows(source: Source) -> tuple[Row, ...]:
    # Rows with fixed labels share one schedule, twice as long: a selection has found its labels long
    # before a segmenter detects anything. End to end the segmenter learns while labels change.
    fixed: dict[str, Any] = {"training": {"mode": "top-score"}}
    whole = Row(f"SAPNet ({source})", source, segments=True)
    return (
        Row(f"top score ({source})", source, fixed, **_TWICE),
        whole,
        Row(f"SAPNet labels ({source})", source, fixed, learns_from=whole, **_TWICE),
        Row("full supervision", "ground-truth", fixed, **_TWICE),
    )


EXPERIMENTS: dict[str, tuple[Row, ...]] = {
    "selection-simulated": _selection_rows("simulated"),
    "selection-regions": _selection_rows("regions"),
    "selection-builtin": _selection_rows("builtin"),
    "segmenters-simulated": _segmenter_rows("simulated"),
    "segmenters-regions": _segmenter_rows("regions"),
    "segmenters-builtin": _segmenter_rows("builtin"),
}
"""Rows of every experiment that trains; ``bags`` has its own (``bench/bags.py``)."""


def run_bench(
    name: str, folder: Path, out: Path, config: Config, *, seeds: int, quiet: bool, every: int = 1
) -> dict[str, Any]:
    """Run an experiment and write ``bench.json``.

    Args:
        name: One of ``EXPERIMENTS``, or ``bags``.
        folder: Data set, see ``BenchData.load`` (of ``bags``: ``run_bags``).
        out: Rows and stores, which experiments share, go here, ``bench.json`` to ``out / name``.
        config: Settings that rows change; its seed is the first of ``seeds``.
        seeds: How many seeds.
        quiet: Show no progress.
        every: Of ``bags``: measure on every so manieth image only.

    Returns:
        The content of ``bench.json``.

    Raises:
        InputError: The experiment is unknown, the data are wrong, or kept figures are of others.
    """
    known = [*EXPERIMENTS, BAGS_NAME]
    if name not in known:
        reason = f"no experiment {name!r}{nearest(name, known)}; there are {', '.join(known)}"
        raise InputError("the command line", [reason])
    if name == BAGS_NAME:
        if seeds != 1:
            raise InputError("the command line", [f"{name} trains nothing: leave out --seeds {seeds}"])
        return run_bags(folder, out, config, quiet=quiet, every=every)
    if every != 1:
        reason = f"{name} trains on all images: leave out --every {every} ({BAGS_NAME} has it)"
        raise InputError("the command line", [reason])
    data = BenchData.load(folder)
    rows = []
    for row in EXPERIMENTS[name]:
        results = [
            _measure(row, data, out, with_changes(config, {"seed": config.seed + number}), quiet=quiet)
            for number in range(seeds)
        ]
        rows += _table_rows(row, results)
        content = {
            "name": name,
            "data": folder.name,
            "seeds": seeds,
            "version": __version__,
            "settings": {key: setting_of(config, key) for key in differences(config, Config())},
            "rows": rows,
        }
        write_json_atomic(out / name / BENCH_NAME, content, indent=1)
    return content


def _measure(row: Row, data: BenchData, out: Path, base: Config, *, quiet: bool) -> dict[str, Any]:
    """Figures of one row with one seed, from its folder if it has been measured."""
    config, folder = _config_of(row, base), _folder_of(row, out, base.seed)
    store = proposals_of(data, row.source, config.seed, out / "proposals", config, quiet=quiet)
    learned = training_data(data, store)
    picker = None if row.learns_from is None else _config_of(row.learns_from, base)
    origin = origin_of(data, learned, config, picker)
    found = read_kept(folder, origin)
    if found is not None and ("validation" in found or not row.segments):
        return found
    inputs = {"points": data.folder / "points_train.json", "images": data.images, "proposals": store}
    options = SessionOptions(resume=True, quiet=quiet)
    figures: dict[str, Any] = {
        "environment": describe_environment(config, inputs=inputs, digests=learned.digests)
    }
    picks = top_score_picks(data.points)
    if row.learns_from is not None:
        _measure(row.learns_from, data, out, base, quiet=quiet)
        picks = read_picks(_folder_of(row.learns_from, out, base.seed))
    if row.trains:
        judge = None
        if row.segments:
            judge = validation_judge(data.validation, data.images, config, data.points, quiet=quiet)
        learnt = learned if row.learns_from is None else _with_fixed(learned, picks)
        model = run_session(learnt, folder, config, inputs=inputs, options=options).model
        if config.training.mode != "top-score":
            picks = choose(model, learned, config, options=options)
            write_picks(folder, picks)
        if judge is not None:
            figures["validation"] = judge(model)
    figures["labels"] = _label_figures(data, learned, picks, config)
    write_kept(folder, figures, origin)
    return figures


def _config_of(row: Row, base: Config) -> Config:
    """The settings of a row."""
    longer = {"training": {"epochs": base.training.epochs * row.epochs_factor}}
    return with_changes(with_changes(base, row.changes), longer)


def _folder_of(row: Row, out: Path, seed: int) -> Path:
    name = f"{row.label}-seed-{seed}".replace(" ", "-").replace("(", "").replace(")", "")
    return out / "rows" / name.lower()


def _with_fixed(learned: TrainingData, picks: dict[int, tuple[int, float]]) -> TrainingData:
    """Only the picks, with a digest of them, so that a session of other picks is not resumed."""
    chosen = json.dumps(sorted((key, index) for key, (index, _) in picks.items()))
    digest = hashlib.sha256(chosen.encode()).hexdigest()
    return replace(fix_picks(learned, picks), digests=learned.digests | {"picks": digest})


def _label_figures(
    data: BenchData, learned: TrainingData, picks: dict[int, tuple[int, float]], config: Config
) -> dict[str, Any]:
    """Figures of the labels and of the rules without a model."""
    quality = evaluate_labels(
        label_document(data.points, learned.store, picks, max_proposals=config.data.max_proposals),
        data.instances,
        learned.store,
    )
    return {
        pick: quality[pick]
        for pick in ("selected", "top_score", "largest_alone", "oracle")
        if pick in quality
    } | {"share_closed": quality.get("share_closed")}


def _table_rows(row: Row, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Table rows of a measured row: one, or one per rule without a model."""
    simulated = row.source == "simulated"
    picks = {row.label: "selected"}
    if not row.trains:
        picks = {
            f"top score ({row.source})": "top_score",
            f"largest alone ({row.source})": "largest_alone",
            f"oracle ({row.source})": "oracle",
        }
    return [
        {"label": label, "simulated": simulated, "metrics": _metrics(results, pick)}
        for label, pick in picks.items()
    ]


def _metrics(results: list[dict[str, Any]], pick: str) -> dict[str, Any]:
    """Figures of one pick over all seeds, by name."""
    labels = [result["labels"][pick] for result in results]
    names = {"all": "mask mIoU"} | {size: f"mask mIoU {size}" for size in _SIZES[1:]}
    values = {name: [found["mask_miou"][size] for found in labels] for size, name in names.items()}
    values["box mIoU"] = [found["box_miou"]["all"] for found in labels]
    measured = [result["validation"] for result in results if "validation" in result]
    if measured:
        values |= {metric: [found[metric] for found in measured] for metric in ("AP", "AP50", "AP75")}
    return {name: _summary(items) for name, items in values.items()}


def _summary(values: list[float | None]) -> dict[str, Any]:
    """Mean, spread (sample deviation) and values over seeds."""
    present = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(present) if present else None,
        "spread": statistics.stdev(present) if len(present) > 1 else 0.0,
        "values": values,
    }
