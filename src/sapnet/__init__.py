"""From one click per object to a trained instance segmenter (SAPNet, CVPR 2024).

The jobs of the command line as functions, and what they leave as objects::

    points = sapnet.load_points("points.json")
    run = sapnet.run(points, "photos/", out="runs/first")
    for image in run.labels():
        print(image.file_name, image.masks.shape, image.class_names)

The names below are imported on first use, so that ``import sapnet`` and the command line's
``--help`` load neither torch nor pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sapnet._version import __version__

if TYPE_CHECKING:
    from sapnet.api.arguments import load_config
    from sapnet.api.converting import convert_subset, convert_voc
    from sapnet.api.image_labels import ImageLabels
    from sapnet.api.labels import Labels, Predictions, load_labels, load_predictions
    from sapnet.api.making import propose, run, train
    from sapnet.api.model import Model, load_model
    from sapnet.api.other_libraries import MissingPackageError
    from sapnet.api.points import Points, check_points, import_points, load_points, sample_points
    from sapnet.api.results import Proposals, Run, load_proposals, load_run
    from sapnet.api.using import evaluate, label, predict, write_report
    from sapnet.config import Config
    from sapnet.data.instances import InstanceSet, load_instances
    from sapnet.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        InputError,
        JobError,
        SapnetError,
        StoreError,
    )

__all__ = [
    "CheckpointError",
    "Config",
    "ConfigError",
    "DataError",
    "ImageLabels",
    "InputError",
    "InstanceSet",
    "JobError",
    "Labels",
    "MissingPackageError",
    "Model",
    "Points",
    "Predictions",
    "Proposals",
    "Run",
    "SapnetError",
    "StoreError",
    "__version__",
    "check_points",
    "convert_subset",
    "convert_voc",
    "evaluate",
    "import_points",
    "label",
    "load_config",
    "load_instances",
    "load_labels",
    "load_model",
    "load_points",
    "load_predictions",
    "load_proposals",
    "load_run",
    "predict",
    "propose",
    "run",
    "sample_points",
    "train",
    "write_report",
]

_NAMES_OF = {
    "sapnet.api.arguments": ("load_config",),
    "sapnet.api.converting": ("convert_subset", "convert_voc"),
    "sapnet.api.image_labels": ("ImageLabels",),
    "sapnet.api.labels": ("Labels", "Predictions", "load_labels", "load_predictions"),
    "sapnet.api.making": ("propose", "run", "train"),
    "sapnet.api.model": ("Model", "load_model"),
    "sapnet.api.other_libraries": ("MissingPackageError",),
    "sapnet.api.points": ("Points", "check_points", "import_points", "load_points", "sample_points"),
    "sapnet.api.results": ("Proposals", "Run", "load_proposals", "load_run"),
    "sapnet.api.using": ("evaluate", "label", "predict", "write_report"),
    "sapnet.config": ("Config",),
    "sapnet.data.instances": ("InstanceSet", "load_instances"),
    "sapnet.errors": (
        *("CheckpointError", "ConfigError", "DataError", "InputError"),
        *("JobError", "SapnetError", "StoreError"),
    ),
}
_HOME_OF = {name: module for module, names in _NAMES_OF.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        msg = f"module 'sapnet' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
