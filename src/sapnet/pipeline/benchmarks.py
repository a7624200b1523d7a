"""The job that measures baselines (``sapnet bench``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sapnet.bench import BenchOptions, run_bench
from sapnet.config import Config


def bench(
    name: str,
    data: Path,
    out: Path,
    config: Config,
    *,
    source: str = "simulated",
    seeds: int = 1,
    segmenter_seeds: int | None = None,
    segmenter_epochs: int | None = None,
    every: int = 1,
    rows: Sequence[str] = (),
    only_kept: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure a table of baselines on one data set (``sapnet bench``).

    Args:
        name: One of ``sapnet.bench.EXPERIMENTS``, or ``bags``.
        data: Folder with ``points_train.json``, ``instances_train.json``, ``instances_val.json``.
        out: Folder for proposals, trainings, figures and ``bench.json``; experiments may share it.
        config: Settings that the rows change.
        source: Where the proposals come from: ``simulated``, ``builtin`` or ``regions``.
        seeds: With how many seeds labels are measured, from ``config.seed`` on.
        segmenter_seeds: With how many of them AP is measured; None: with two at most.
        segmenter_epochs: Epochs of what trains a segmenter; None: twice ``training.epochs``.
        every: Of ``bags``: measure on every so manieth image only.
        rows: Labels of the rows to measure, others only as they are kept; empty: all.
        only_kept: Measure nothing: write the table of what is kept.
        quiet: Show no progress.

    Returns:
        The content of ``bench.json``.
    """
    options = BenchOptions(
        source, seeds, segmenter_seeds, segmenter_epochs, every, quiet, tuple(rows), only_kept
    )
    return run_bench(name, Path(data), Path(out), config, options)
