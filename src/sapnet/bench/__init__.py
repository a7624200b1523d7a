"""Baselines and comparisons on one data set, over several seeds, resumable row by row."""

from sapnet.bench.experiments import EXPERIMENTS, run_bench

__all__ = ["EXPERIMENTS", "run_bench"]
