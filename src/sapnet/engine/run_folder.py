"""The files of a run: settings, environment, metrics."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from sapnet._version import __version__
from sapnet.config import Config
from sapnet.config_loader import differences, dump_config, load_config
from sapnet.data.atomic import write_json_atomic, write_text_atomic
from sapnet.errors import CheckpointError

CONFIG_NAME = "config.yaml"
METRICS_NAME = "metrics.jsonl"
ENVIRONMENT_NAME = "environment.json"
CHECKPOINTS_NAME = "checkpoints"
_PACKAGES = ("torch", "torchvision", "timm", "accelerate", "numpy", "pycocotools", "opencv-python-headless")
_MAY_DIFFER = ("device", "training.log_steps", "training.checkpoint_steps", "data.num_workers")
"""Settings that change no result, so a run may be resumed with others."""


def prepare_run_folder(folder: Path, config: Config, environment: Mapping[str, Any], *, resume: bool) -> None:
    """Create a run folder, or check that an existing one may be continued.

    Args:
        folder: The run.
        config: Settings of this call.
        environment: Content of ``environment.json``.
        resume: Continue what is there.

    Raises:
        CheckpointError: The folder holds a run and ``resume`` is off, or its settings or data differ.
    """
    config_path = folder / CONFIG_NAME
    if config_path.exists():
        if not resume:
            raise CheckpointError(
                str(folder), ["holds a run already; give --resume to continue it, or another --out"]
            )
        problems = [
            f"settings differ from those it was started with: {line}"
            for line in differences(load_config(config_path), config)
            if not line.startswith(_MAY_DIFFER)
        ]
        problems += _changed_data(folder, environment)
        if problems:
            raise CheckpointError(str(folder), problems)
    folder.mkdir(parents=True, exist_ok=True)
    write_json_atomic(folder / ENVIRONMENT_NAME, dict(environment), indent=1)
    write_text_atomic(config_path, dump_config(config))


def _changed_data(folder: Path, environment: Mapping[str, Any]) -> list[str]:
    path = folder / ENVIRONMENT_NAME
    if not path.exists():
        return []
    before = json.loads(path.read_text(encoding="utf-8")).get("digests", {})
    now = environment.get("digests", {})
    changed = [key for key in sorted(before.keys() & now.keys()) if before[key] != now[key]]
    return [f"the {key} are not those it was started with" for key in changed]


def describe_environment(
    config: Config, *, inputs: Mapping[str, Path | None], digests: Mapping[str, str]
) -> dict[str, Any]:
    """Collect what is needed to repeat a run.

    Args:
        config: Settings (for the seed).
        inputs: Paths by name; written as absolute paths.
        digests: Digests of the data by name.

    Returns:
        The content of ``environment.json``.
    """
    return {
        "sapnet": __version__,
        "commit": _commit(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "seed": config.seed,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "inputs": {
            name: None if path is None else str(Path(path).resolve()) for name, path in inputs.items()
        },
        "digests": dict(digests),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the checkout that this code runs from, if it is one."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


class MetricsLog:
    """``metrics.jsonl`` and TensorBoard events of a run.

    Args:
        folder: The run.
        first_step: Lines of later steps, left by an interrupted run, are dropped.
        active: Write nothing where False (processes other than the first).
    """

    def __init__(self, folder: Path, *, first_step: int, active: bool = True) -> None:
        self._active = active
        if not active:
            return
        self.path = folder / METRICS_NAME
        kept = [line for line in _complete_lines(self.path) if json.loads(line)["step"] <= first_step]
        write_text_atomic(self.path, "".join(f"{line}\n" for line in kept))
        # Imported late: TensorBoard takes a second to import.
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append one line, and its numbers to TensorBoard.

        Args:
            kind: ``step`` or ``evaluation``.
            step: Optimiser steps done.
            values: JSON-able figures by name.
        """
        if not self._active:
            return
        line = json.dumps({"kind": kind, "step": step, **values}) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
        for name, value in values.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._board.add_scalar(name if "/" in name else f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Flush and close TensorBoard's file."""
        if self._active:
            self._board.close()


def _complete_lines(path: Path) -> list[str]:
    """Lines of a log that may end in the middle of a line."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            json.loads(line)
        except ValueError:
            break
        lines.append(line)
    return lines
