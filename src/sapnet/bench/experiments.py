"""Running an experiment: every row with every seed, and ``bench.json`` after each of them.

What a row costs is kept (``bench/measuring.py``), so the same command goes on where it was stopped, and
experiments with the same ``--out`` share proposals, trainings and labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sapnet.bench.bags import BAGS_NAME, run_bags
from sapnet.bench.combining import OVERLAPS_NAME, overlaps_of
from sapnet.bench.data import BenchData, digest_of
from sapnet.bench.kept import NotMeasured, instances_digest
from sapnet.bench.measuring import Bench, label_figures, picks_of, prepare, segmenter_figures
from sapnet.bench.paired import kept_image_sums
from sapnet.bench.picked_kinds import picked_kinds
from sapnet.bench.rows import SEGMENTER_SEEDS, SOURCES, Source
from sapnet.bench.summary import RowResults, table_rows
from sapnet.bench.tables import EXPERIMENTS
from sapnet.bench.trainings import settings_that_matter
from sapnet.config import Config
from sapnet.config_loader import differences, setting_of
from sapnet.data.atomic import write_json_atomic
from sapnet.engine.run_folder import describe_environment
from sapnet.errors import InputError, nearest
from sapnet.evaluation.bench_tables import label_seeds

BENCH_NAME = "bench.json"
FORMAT = 3
_FACTOR = 2
"""A segmenter trains so many times as long as a selection, which finds its labels long before a segmenter
detects anything."""


@dataclass(frozen=True)
class BenchOptions:
    """What an experiment is run with beside data and settings."""

    source: str = "simulated"
    seeds: int = 1
    segmenter_seeds: int | None = None
    """With how many of the seeds AP is measured; None: with two at most."""
    segmenter_epochs: int | None = None
    """Epochs of everything that trains a segmenter; None: twice ``training.epochs``."""
    every: int = 1
    """Of ``bags``: measure on every so manieth image only."""
    quiet: bool = False
    rows: tuple[str, ...] = ()
    """Measure only the rows of these labels; empty: all. Of the others the table has what is kept."""
    only_kept: bool = False
    """Measure nothing: write the table of what is kept."""


def run_bench(name: str, folder: Path, out: Path, config: Config, options: BenchOptions) -> dict[str, Any]:
    """Run an experiment and write ``bench.json``.

    Args:
        name: One of ``EXPERIMENTS``, or ``bags``.
        folder: Data set, see ``BenchData.load`` (of ``bags``: ``run_bags``).
        out: Proposals, trainings and figures, which experiments share, go here, ``bench.json`` to a folder
            in it that is named after experiment, data and source.
        config: Settings that rows change; its seed is the first.
        options: The rest.

    Returns:
        The content of ``bench.json``.

    Raises:
        InputError: The experiment or an option is unknown or does not fit, the data are wrong, or nothing
            is kept of the table where nothing is to be measured.
        JobError: A training or a proposer failed; what is done is kept.
        KeyboardInterrupt: Interrupted; the same call goes on.
    """
    _refuse_unfit(name, options)
    if name == BAGS_NAME:
        return run_bags(folder, out, config, quiet=options.quiet, every=options.every)
    source: Source = options.source  # type: ignore[assignment]  # one of SOURCES
    rows = EXPERIMENTS[name](source, config)
    _refuse_unknown_rows(options.rows, [row.label for row in rows])
    epochs = options.segmenter_epochs or _FACTOR * config.training.epochs
    if config.training.selection_warmup_epochs >= epochs:
        warmup = config.training.selection_warmup_epochs
        reason = f"--segmenter-epochs: {epochs} must be more than training.selection_warmup_epochs ({warmup})"
        raise InputError("the command line", [reason])
    data = BenchData.load(folder)
    bench = Bench(data, out, config, source, epochs, options.quiet)
    head = _head(name, bench, options)
    head["planned"] = [row.label for row in rows]
    place = out / f"{name}-{head['data']}-{source}"
    results: list[RowResults] = []
    for row in rows:
        results.append(RowResults(row, source))
        wanted = not options.only_kept and (not options.rows or row.label in options.rows)
        used = bench if wanted else replace(bench, kept_only=True)
        for number in range(label_seeds(row.labels, options.seeds, head["segmenter_seeds"])):
            _measure(results[-1], used, config.seed + number, with_ap=number < head["segmenter_seeds"])
            if wanted:
                _write(place, head, results)
    # The bootstrap of a table takes longer than reading what is kept: once for all rows that are only read.
    if options.only_kept and not any(item.figures for item in results):
        reason = f"no row of {name} is measured with this data, source and settings"
        raise InputError(str(out), [f"{reason}; measure without --only-kept first"])
    return _write(place, head, results)


def _write(place: Path, head: Mapping[str, Any], results: Sequence[RowResults]) -> dict[str, Any]:
    """Write the table as far as it is measured, and return the content of ``bench.json``."""
    commits = dict.fromkeys(commit for item in results for commit in item.commits)
    content = {**head, "commits": list(commits), "rows": table_rows(results)}
    write_json_atomic(place / OVERLAPS_NAME, overlaps_of(results))
    write_json_atomic(place / BENCH_NAME, content, indent=1)
    return content


def _measure(results: RowResults, bench: Bench, seed: int, *, with_ap: bool) -> None:
    """Add the figures of a row with one seed to its results."""
    row = results.row
    try:
        prepared = prepare(bench, row, seed)
        found = label_figures(prepared)
    except NotMeasured:
        return
    if found is not None:
        results.figures[seed] = dict(found["metrics"])
        results.images[seed] = kept_image_sums(found)
        results.clicks = found["clicks"]
        results.kept.append(found["folder"])
        results.commits.append(found["environment"]["commit"] or "unknown")
        if results.simulated and row.labels in ("top-score", "selection", "end-to-end"):
            ids = prepared.points.images.ids.tolist()
            results.figures[seed] |= picked_kinds(prepared.learned.store, picks_of(prepared), ids)
    if not with_ap or row.segmenter == "none":
        return
    with suppress(NotMeasured):
        measured = segmenter_figures(prepared)
        results.figures[seed] = results.figures.get(seed, {}) | measured["metrics"]
        results.kept.append(measured["folder"])
        results.commits.append(measured["environment"]["commit"] or "unknown")


def _head(name: str, bench: Bench, options: BenchOptions) -> dict[str, Any]:
    """What is recorded beside the rows."""
    config, data = bench.config, bench.data
    digests = {
        "points": data.points.digest,
        "instances": instances_digest(data.instances),
        "validation": instances_digest(data.validation),
    }
    environment = describe_environment(config, inputs={}, digests=digests)
    settings = {key: setting_of(config, key) for key in differences(config, Config())}
    segmenter_seeds = SEGMENTER_SEEDS if options.segmenter_seeds is None else options.segmenter_seeds
    return {
        "format": FORMAT,
        "name": name,
        "data": data.folder.resolve().name,
        "source": bench.source,
        "simulated": bench.source == "simulated",
        "seeds": [config.seed + number for number in range(options.seeds)],
        "segmenter_seeds": min(segmenter_seeds, options.seeds),
        "segmenter_epochs": bench.segmenter_epochs,
        "clicks": len(data.points),
        "images": len(data.points.images),
        "validation_images": len(data.validation.images),
        "settings": settings,
        "settings_digest": _digest_but_for_seed(config),  # of all settings, so of the defaults too
        "command": command_of(name, data.folder.resolve().name, bench, options, settings),
        **{key: environment[key] for key in ("sapnet", "python", "packages", "digests")},
    }


def _digest_but_for_seed(config: Config) -> str:
    values = settings_that_matter(config)
    return digest_of({key: value for key, value in values.items() if key != "seed"})


def command_of(name: str, data: str, bench: Bench, options: BenchOptions, settings: Mapping[str, Any]) -> str:
    """Return the command that measures a table, with every setting that is not the default's.

    Args:
        name: The experiment.
        data: Name of the data set's folder.
        bench: The benchmark.
        options: Its options.
        settings: Dotted keys that differ from the defaults, with their values.
    """
    words = [f"sapnet bench {name} --data DATA/{data} --out OUT --source {bench.source}"]
    words.append(f"--seeds {options.seeds}")
    if options.segmenter_seeds is not None:
        words.append(f"--segmenter-seeds {options.segmenter_seeds}")
    words.append(f"--segmenter-epochs {bench.segmenter_epochs}")
    for key, value in settings.items():
        text = value if isinstance(value, str) else json.dumps(value)
        words.append(f"'{key}={text}'" if " " in text else f"{key}={text}")
    return " ".join(words)


def _refuse_unfit(name: str, options: BenchOptions) -> None:
    known = [*EXPERIMENTS, BAGS_NAME]
    problems = []
    if name not in known:
        problems.append(f"no experiment {name!r}{nearest(name, known)}; there are {', '.join(known)}")
    if options.source not in SOURCES:
        problems.append(f"--source: expected {', '.join(SOURCES)}, got {options.source!r}")
    if name == BAGS_NAME and options.seeds != 1:
        problems.append(f"{name} trains nothing: leave out --seeds {options.seeds}")
    if name == BAGS_NAME and (options.rows or options.only_kept):
        problems.append(f"{name} is measured whole: leave out --row and --only-kept")
    if name != BAGS_NAME and options.every != 1:
        problems.append(f"{name} trains on all images: --every {options.every} is for {BAGS_NAME}")
    if problems:
        raise InputError("the command line", problems)


def _refuse_unknown_rows(wanted: Sequence[str], known: Sequence[str]) -> None:
    problems = [
        f"--row: no row {label!r}{nearest(label, known)}; there are {'; '.join(known)}"
        for label in wanted
        if label not in known
    ]
    if problems:
        raise InputError("the command line", problems)
