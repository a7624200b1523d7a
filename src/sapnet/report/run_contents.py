"""What a run folder holds, as far as it is there; what is not is said, not fatal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sapnet.data.annotations import InstanceSet, load_instances
from sapnet.errors import DataError, InputError, StoreError
from sapnet.proposals.store import ProposalStore


@dataclass
class RunContents:
    """The pieces of a run folder; a piece that is absent is None or empty."""

    folder: Path
    config: Mapping[str, Any] | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    metrics: list[Mapping[str, Any]] = field(default_factory=list)
    labels: Mapping[str, Any] | None = None
    predictions: list[Mapping[str, Any]] | None = None
    label_figures: Mapping[str, Any] | None = None
    """What ``evaluate_labels`` returned."""
    validation_figures: Mapping[str, Any] | None = None
    """What ``evaluate_coco`` returned."""
    store: ProposalStore | None = None
    instances: InstanceSet | None = None
    validation_instances: InstanceSet | None = None
    images: Path | None = None
    validation_images: Path | None = None
    missing: list[str] = field(default_factory=list)
    """One sentence per piece that is absent or cannot be read."""

    @property
    def proposer(self) -> str | None:
        """Name of the proposer, None where the store does not say."""
        stated = self.store.manifest.get("proposer") if self.store else None
        return stated.get("name") if isinstance(stated, Mapping) else stated

    @property
    def simulated(self) -> bool:
        """Whether the proposals were drawn from ground truth instead of proposed from images."""
        return self.proposer == "simulated"

    @property
    def proposal_words(self) -> str:
        """How figures that rest on the proposals must be qualified."""
        if self.simulated:
            return "simulated proposals"
        return f"proposer {self.proposer}" if self.proposer else "unknown proposer"

    def class_names(self) -> dict[int, str]:
        """Return class names by category id, from the labels or from a ground truth."""
        if self.labels:
            return {item["id"]: str(item["name"]) for item in self.labels.get("categories", [])}
        known = self.instances or self.validation_instances
        return {category.id: category.name for category in known.categories} if known else {}


def read_run(folder: Path) -> RunContents:
    """Read whatever a run folder holds.

    Args:
        folder: A folder that ``sapnet run`` or ``sapnet train`` wrote, maybe incomplete.

    Raises:
        InputError: There is no such folder, or it holds nothing of a run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(str(folder), ["there is no such folder"])
    run = RunContents(folder)
    run.config = _read_yaml(run, "config.yaml")
    run.environment = _read_object(run, "environment.json") or {}
    run.metrics = _read_lines(run, "metrics.jsonl")
    run.labels = _read_object(run, "labels.json")
    run.predictions = _read_list(run, "predictions.json")
    evaluation = _read_object(run, "evaluation.json") or {}
    run.label_figures = evaluation.get("labels")
    run.validation_figures = evaluation.get("validation")
    if run.config is None and not run.environment and not run.metrics and run.labels is None:
        wanted = "config.yaml, environment.json, metrics.jsonl or labels.json"
        raise InputError(str(folder), [f"it holds none of {wanted} (a run) and no bench.json (a benchmark)"])
    _read_inputs(run)
    return run


def number(value: Any) -> float:
    """Return a recorded value as a float, nan where it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def read_object(path: Path) -> tuple[Any, str | None]:
    """Read a JSON file; returns (content, None) or (None, what is wrong with it)."""
    try:
        return json.loads(path.read_text(encoding="utf-8")), None
    except FileNotFoundError:
        return None, f"{path.name} is not in the folder."
    except (OSError, ValueError) as error:
        return None, f"{path.name} cannot be read: {error}."


def _read_inputs(run: RunContents) -> None:
    """Open what the run was made from, by the paths that ``environment.json`` records."""
    stated = run.environment.get("inputs")
    inputs: Mapping[str, Any] = stated if isinstance(stated, Mapping) else {}
    run.images = _folder(run, inputs.get("images"), "The training images")
    if run.predictions is not None or inputs.get("val_images"):
        run.validation_images = _folder(run, inputs.get("val_images"), "The validation images")
    run.instances = _instances(run, inputs.get("instances"))
    run.validation_instances = _instances(run, inputs.get("val_instances"))
    own = run.folder / "proposals"
    place = Path(inputs["proposals"]) if inputs.get("proposals") and not own.is_dir() else own
    try:
        run.store = ProposalStore.open(place, allow_unfinished=True)
    except StoreError as error:
        run.missing.append(f"The proposals: {error.problems[0]}")


def _folder(run: RunContents, stated: Any, name: str) -> Path | None:
    if stated and Path(stated).is_dir():
        return Path(stated)
    where = f"{stated} is not there" if stated else "environment.json does not say where they are"
    run.missing.append(f"{name} are not shown: {where}.")
    return None


def _instances(run: RunContents, stated: Any) -> InstanceSet | None:
    if not stated:
        return None
    try:
        return load_instances(stated)
    except DataError as error:
        run.missing.append(f"Ground truth {stated}: {error.problems[0]}.")
        return None


def _read_json(run: RunContents, name: str, kind: type) -> Any:
    content, problem = read_object(run.folder / name)
    if problem is None and not isinstance(content, kind):
        problem = f"{name} holds a {type(content).__name__}, expected a {kind.__name__}."
    if problem is not None:
        run.missing.append(problem)
        return None
    return content


def _read_object(run: RunContents, name: str) -> dict[str, Any] | None:
    return _read_json(run, name, dict)


def _read_list(run: RunContents, name: str) -> list[Any] | None:
    return _read_json(run, name, list)


def _read_text(run: RunContents, name: str) -> str | None:
    try:
        return (run.folder / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        run.missing.append(f"{name} is not in the folder.")
    except (OSError, UnicodeDecodeError) as error:
        run.missing.append(f"{name} cannot be read: {error}.")
    return None


def _read_lines(run: RunContents, name: str) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    damaged = 0
    for line in (_read_text(run, name) or "").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            damaged += 1
    if damaged:
        run.missing.append(f"{name}: {damaged} damaged lines were left out.")
    return rows


def _read_yaml(run: RunContents, name: str) -> Mapping[str, Any] | None:
    words = _read_text(run, name)
    if words is None:
        return None
    try:
        content = YAML(typ="safe", pure=True).load(words)
    except YAMLError as error:
        run.missing.append(f"{name} is damaged: {error}.")
        return None
    return content if isinstance(content, Mapping) else {}


def truth_of(instances: InstanceSet | None, annotation_id: int, size: tuple[int, int]) -> bytes | None:
    """Return the ground-truth mask of a click.

    Args:
        instances: Ground truth, or None.
        annotation_id: Of the click.
        size: ``(height, width)`` that the image has.

    Returns:
        Compressed run lengths; None where there is no such mask at this size.
    """
    if instances is None:
        return None
    rows = np.flatnonzero(instances.annotation_ids == annotation_id)
    if not len(rows) or instances.images.size(int(instances.annotation_image_index[rows[0]])) != size:
        return None
    return instances.counts[int(rows[0])]
