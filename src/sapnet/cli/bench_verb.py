"""``sapnet bench``: its options, and what it does."""

from __future__ import annotations

import argparse
from pathlib import Path

from sapnet.cli.closing import bench_lines
from sapnet.cli.verb_parser import VerbParser, whole_number
from sapnet.cli.verbs import Outcome, config_of


def add_bench_options(parser: VerbParser) -> None:
    """Add the options of ``sapnet bench`` to its parser.

    Args:
        parser: Receives them.
    """
    parser.add_argument("name", metavar="NAME", help="benchmark to run")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--seeds", type=whole_number(1), default=1, metavar="N", help="number of seeds (default: 1)"
    )
    parser.add_argument(
        "--every",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="of bags: measure on every N-th image only (default: 1, all)",
    )


def bench(args: argparse.Namespace) -> Outcome:
    """``sapnet bench``: baselines on one data set."""
    config = config_of(args, "data")
    from sapnet import pipeline

    figures = pipeline.bench(
        name=args.name,
        data=args.data,
        out=args.out,
        seeds=args.seeds,
        every=args.every,
        config=config,
        quiet=args.quiet,
    )
    return Outcome(figures, closing=bench_lines(figures))
