"""The jobs behind the command line and the Python API, one function per verb.

Every function returns JSON-able figures. Paths may be strings. Names are looked up on first use, so that a
verb that needs no network does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sapnet.pipeline.benchmarks import bench
    from sapnet.pipeline.converting import convert_labels, convert_subset, convert_voc
    from sapnet.pipeline.importing import import_points_file
    from sapnet.pipeline.labelling import label
    from sapnet.pipeline.points import check_points_file, sample_points_file
    from sapnet.pipeline.predicting import predict
    from sapnet.pipeline.proposing import load_training_data, propose
    from sapnet.pipeline.results import evaluate, report
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

_MODULE_OF = {
    "benchmarks": ("bench",),
    "converting": ("convert_labels", "convert_subset", "convert_voc"),
    "importing": ("import_points_file",),
    "labelling": ("label",),
    "points": ("check_points_file", "sample_points_file"),
    "predicting": ("predict",),
    "proposing": ("load_training_data", "propose"),
    "results": ("evaluate", "report"),
    "training": ("train",),
    "whole": ("demo", "headline", "run"),
}
_HOME_OF = {name: f"{__name__}.{module}" for module, names in _MODULE_OF.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
