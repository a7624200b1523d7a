"""The files of a run: settings, environment, metrics."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapnet._version import __version__
from sapnet.config import Config
from sapnet.config_loader import differences, dump_config, leaves, load_config, setting_of
from sapnet.data.atomic import write_json_atomic, write_text_atomic
from sapnet.errors import CheckpointError, JobError
from sapnet.yaml_tree import read_yaml

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CONFIG_NAME = "config.yaml"
MODEL_NAME = "model.safetensors"
METRICS_NAME = "metrics.jsonl"
ENVIRONMENT_NAME = "environment.json"
CHECKPOINTS_NAME = "checkpoints"
_PACKAGES = ("torch", "torchvision", "timm", "accelerate", "numpy", "pycocotools", "opencv-python-headless")
_PROVENANCE = ("sapnet", "commit", "python", "platform", "packages", "threads")
"""What may change between the calls of a run, by key of ``environment.json``."""
MAY_DIFFER = frozenset(
    {
        "device",
        "data.num_workers",
        "training.checkpoint_steps",
        "training.evaluate_epochs",
        "training.log_steps",
    }
)
"""Settings that change no result, so a run may be resumed with others."""


def check_run_folder(folder: Path, config: Config, environment: Mapping[str, Any], *, resume: bool) -> None:
    """Check that a run can start or continue in a folder; nothing is written.

    Args:
        folder: The run.
        config: Settings of this call.
        environment: Content of ``environment.json``; digests that it lacks are not compared.
        resume: Continue what is there.

    Raises:
        CheckpointError: The folder holds a run and ``resume`` is off, its settings, data or number of
            processes differ, or it was begun by a version without some of the settings.
        ConfigError: The settings that it was started with cannot be read.
    """
    config_path = folder / CONFIG_NAME
    if not config_path.exists():
        if (folder / MODEL_NAME).exists():
            raise CheckpointError(str(folder), [f"holds a {MODEL_NAME} of another job; give another --out"])
        return
    if not resume:
        raise CheckpointError(
            str(folder), ["holds a run already; give --resume to continue it, or another --out"]
        )
    before = load_config(config_path)
    problems = [
        f"{key}: it was started with {setting_of(before, key)}, now it is {setting_of(config, key)}"
        for key in differences(before, config)
        if key not in MAY_DIFFER
    ]
    problems += _settings_of_later(config_path, config)
    problems += _changed_data(folder, environment)
    if problems:
        raise CheckpointError(str(folder), problems)


def _settings_of_later(path: Path, config: Config) -> list[str]:
    """Settings that the version which began the run did not have: what it did instead, no value may say."""
    written = read_yaml(path.read_text(encoding="utf-8"), str(path)).values
    known = {key for key, _ in leaves(written)} | MAY_DIFFER
    now = [key for key, _ in leaves(config.model_dump(mode="json"))]
    return [f"{key}: the version that started it had no such setting" for key in now if key not in known]


def prepare_run_folder(folder: Path, config: Config, environment: Mapping[str, Any], *, resume: bool) -> None:
    """Create a run folder, or check that an existing one may be continued.

    ``environment.json`` keeps what the run was started with. What a later call runs on is added to
    its ``resumed`` where it differs from the call before; ``inputs`` says where the files lie now.

    Args:
        folder: The run.
        config: Settings of this call.
        environment: ``environment.json`` of this call.
        resume: Continue what is there.

    Raises:
        CheckpointError: As ``check_run_folder``.
        ConfigError: As ``check_run_folder``.
        JobError: The folder cannot be written.
    """
    check_run_folder(folder, config, environment, resume=resume)
    write_json_atomic(folder / ENVIRONMENT_NAME, _with_earlier(folder, environment), indent=1)
    # Last: from here on it counts as a run.
    write_text_atomic(folder / CONFIG_NAME, dump_config(config))


def _with_earlier(folder: Path, environment: Mapping[str, Any]) -> dict[str, Any]:
    """The record of an existing run with this call added, or that of this call."""
    path = folder / ENVIRONMENT_NAME
    if not (folder / CONFIG_NAME).exists() or not path.exists():
        return dict(environment)
    first = json.loads(path.read_text(encoding="utf-8"))
    calls = [first, *first.get("resumed", [])]
    now = {key: environment[key] for key in _PROVENANCE if key in environment}
    if any(calls[-1].get(key) != value for key, value in now.items()):
        calls.append(now)
    record = {
        **first,
        "inputs": environment["inputs"],
        "digests": {**first["digests"], **environment["digests"]},
    }
    return record | ({"resumed": calls[1:]} if len(calls) > 1 else {})


def _changed_data(folder: Path, environment: Mapping[str, Any]) -> list[str]:
    path = folder / ENVIRONMENT_NAME
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        before, processes = content["digests"], content.get("processes", 1)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{ENVIRONMENT_NAME} cannot be read ({type(error).__name__}: {error}); start anew"]
    now = environment["digests"]
    changed = [key for key in sorted(before.keys() & now.keys()) if before[key] != now[key]]
    problems = [f"the {key} are not those it was started with" for key in changed]
    if processes != environment["processes"]:
        found = f"it was started with {processes} processes, not {environment['processes']}"
        problems.append(f"{found}; the batches would differ")
    return problems


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
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
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
    package = Path(__file__).resolve().parents[1]
    root = _git(package, "rev-parse", "--show-toplevel")
    # An installed copy may lie in somebody else's repository.
    if root is None or Path(root).resolve() / "src" / package.name != package:
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=40")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


class MetricsLog:
    """``metrics.jsonl`` and TensorBoard events of a run; files are touched on the first write.

    Args:
        folder: The run.
        first_step: Lines of later steps, left by an interrupted run, are dropped.
        active: Write nothing where False (processes other than the first).
    """

    def __init__(self, folder: Path, *, first_step: int, active: bool = True) -> None:
        self._folder, self._first_step, self._active = folder, first_step, active
        self._board: SummaryWriter | None = None
        self.path = folder / METRICS_NAME
        self._kept = [line for line in _complete_lines(self.path) if line.get("step", 0) <= first_step]
        self.evaluations: dict[int, dict[str, Any]] = {
            line["step"]: {key: value for key, value in line.items() if key not in ("kind", "step", "epoch")}
            for line in self._kept
            if line.get("kind") == "evaluation"
        }
        """Figures of the evaluations by step, those of an interrupted run included."""

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append one line, and its numbers to TensorBoard.

        Args:
            kind: ``step`` or ``evaluation``.
            step: Steps done, one per batch (with accumulation more than there were updates).
            values: JSON-able figures by name; numbers that are not finite become null.

        Raises:
            JobError: The disk is full.
        """
        if not self._active:
            return
        board = self._open()
        plain = {name: _finite(value) for name, value in values.items()}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"kind": kind, "step": step, **plain}, allow_nan=False) + "\n")
        except OSError as error:
            reason = f"cannot write {self.path}: {error.strerror or error}"
            raise JobError(f"{reason}; the last checkpoint is kept, --resume continues") from error
        if kind == "evaluation":
            self.evaluations[step] = {key: value for key, value in plain.items() if key != "epoch"}
        for name, value in plain.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                board.add_scalar(name if "/" in name else f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Flush and close TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def _open(self) -> SummaryWriter:
        if self._board is None:
            write_text_atomic(self.path, "".join(f"{json.dumps(line)}\n" for line in self._kept))
            # Imported late: TensorBoard takes a second to import.
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=self._first_step + 1)
        return self._board


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _complete_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a log that may end in the middle of a line."""
    if not path.exists():
        return []
    lines: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            break
    return lines
