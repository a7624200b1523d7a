"""The job that measures baselines (``sapnet bench``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sapnet.bench import run_bench
from sapnet.config import Config


def bench(
    name: str,
    data: Path,
    out: Path,
    config: Config,
    *,
    seeds: int = 1,
    every: int = 1,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure baselines on one data set (``sapnet bench``).

    Args:
        name: One of ``sapnet.bench.EXPERIMENTS``.
        data: Folder with ``points_train.json``, ``instances_train.json``, ``instances_val.json``.
        out: Folder for rows, stores and ``bench.json``.
        config: Settings that the rows change.
        seeds: How many seeds, from ``config.seed`` on.
        every: Of ``bags``: measure on every so manieth image only.
        quiet: Show no progress.

    Returns:
        The content of ``bench.json``.
    """
    return run_bench(name, Path(data), Path(out), config, seeds=seeds, quiet=quiet, every=every)
