"""From one click per object to a trained instance segmenter (SAPNet, CVPR 2024).

The names below are imported on first use, so that ``import sapnet`` and the command line's
``--help`` load neither torch nor pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sapnet._version import __version__

if TYPE_CHECKING:
    from sapnet.data.annotations import load_instances, load_points
    from sapnet.pipeline import evaluate, label, predict, propose, run, train
    from sapnet.report import write_report

__all__ = [
    "__version__",
    "evaluate",
    "label",
    "load_instances",
    "load_points",
    "predict",
    "propose",
    "run",
    "train",
    "write_report",
]

_HOME_OF = {
    "evaluate": "sapnet.pipeline",
    "label": "sapnet.pipeline",
    "load_instances": "sapnet.data.annotations",
    "load_points": "sapnet.data.annotations",
    "predict": "sapnet.pipeline",
    "propose": "sapnet.pipeline",
    "run": "sapnet.pipeline",
    "train": "sapnet.pipeline",
    "write_report": "sapnet.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        msg = f"module 'sapnet' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
