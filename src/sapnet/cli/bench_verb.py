"""``sapnet bench``: its options, and what it does."""

from __future__ import annotations

import argparse
from pathlib import Path

from sapnet.cli.closing import bench_lines
from sapnet.cli.verb_parser import VerbParser, one_of, whole_number
from sapnet.cli.verbs import Outcome, config_of

SOURCES = ("simulated", "builtin", "regions")
"""Those of ``sapnet.bench.rows``, kept here so that ``--help`` need not load it."""
TABLES = (
    *("stages", "components", "box-mining", "positives-negatives", "part-problem"),
    *("prompts", "budget", "schedule", "retrain", "presets", "bags"),
)
"""Those of ``sapnet.bench.tables``, likewise."""


def add_bench_options(parser: VerbParser) -> None:
    """Add the options of ``sapnet bench`` to its parser.

    Args:
        parser: Receives them.
    """
    parser.add_argument("name", metavar="NAME", help=f"table to measure: {', '.join(TABLES)}")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the results; its sub-folder features only saves time and may be deleted "
        "(it grows by 0.5 to 1 MB for every view of 256 x 320 pixels of an image)",
    )
    numbers = (
        ("--seeds", 1, 1, "with how many seeds labels are measured (default: 1)"),
        ("--segmenter-seeds", 0, None, "with how many of them AP is measured (default: 2 at most)"),
        ("--segmenter-epochs", 1, None, "epochs of what trains a segmenter (default: 2 x training.epochs)"),
        ("--every", 1, 1, "of bags: measure on every N-th image only (default: 1, all)"),
    )
    for name, least, default, text in numbers:
        parser.add_argument(name, type=whole_number(least), default=default, metavar="N", help=text)
    parser.add_argument(
        "--row",
        action="append",
        default=[],
        metavar="LABEL",
        help="measure this row only (may be given several times); the table has of the others what is kept",
    )
    parser.add_argument(
        "--only-kept",
        action="store_true",
        help="measure nothing: write the table of what --out holds, also while others measure",
    )
    parser.add_argument(
        "--source",
        type=one_of(SOURCES),
        default="simulated",
        metavar="|".join(SOURCES),
        help="where proposals come from; simulated ones are drawn from ground truth (default)",
    )


def bench(args: argparse.Namespace) -> Outcome:
    """``sapnet bench``: baselines on one data set."""
    config = config_of(args, "data")
    from sapnet import pipeline

    figures = pipeline.bench(
        name=args.name,
        data=args.data,
        out=args.out,
        source=args.source,
        seeds=args.seeds,
        segmenter_seeds=args.segmenter_seeds,
        segmenter_epochs=args.segmenter_epochs,
        every=args.every,
        rows=args.row,
        only_kept=args.only_kept,
        config=config,
        quiet=args.quiet,
    )
    return Outcome(figures, closing=bench_lines(figures))
