"""Baselines and comparisons on one data set, over several seeds, resumable row by row."""

from sapnet.bench.experiments import BenchOptions, run_bench
from sapnet.bench.tables import EXPERIMENTS

__all__ = ["EXPERIMENTS", "BenchOptions", "run_bench"]
