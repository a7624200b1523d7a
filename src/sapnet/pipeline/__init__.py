"""The jobs behind the command line and the Python API, one function per verb.

Every function returns JSON-able figures. Paths may be strings.
"""

from __future__ import annotations

from sapnet.pipeline.benchmarks import bench
from sapnet.pipeline.converting import convert_labels, convert_subset, convert_voc
from sapnet.pipeline.importing import import_points_file
from sapnet.pipeline.points import check_points_file, sample_points_file
from sapnet.pipeline.proposing import load_training_data, propose
from sapnet.pipeline.results import evaluate, label, predict, report
from sapnet.pipeline.training import train
from sapnet.pipeline.whole import demo, headline, run

__all__ = [
    "bench",
    "check_points_file",
    "convert_labels",
    "convert_subset",
    "convert_voc",
    "demo",
    "evaluate",
    "headline",
    "import_points_file",
    "label",
    "load_training_data",
    "predict",
    "propose",
    "report",
    "run",
    "sample_points_file",
    "train",
]
