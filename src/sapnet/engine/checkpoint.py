"""Checkpoints for resuming, and the shareable model file."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from sapnet.config import Config
from sapnet.data.atomic import write_bytes_atomic, write_json_atomic
from sapnet.engine.run_folder import MODEL_NAME
from sapnet.errors import CheckpointError

CARD_NAME = "model.json"
MODEL_FORMAT = 1
_KEPT_CHECKPOINTS = 2


@dataclass(frozen=True)
class ModelCard:
    """What a model file needs beside its weights to be used."""

    config: Config
    categories: tuple[tuple[int, str], ...]
    """(category id, name) in label order."""


def save_model(model: nn.Module, card: ModelCard, folder: Path) -> None:
    """Write ``model.safetensors`` and ``model.json``, each atomically.

    Args:
        model: The network.
        card: Settings and classes.
        folder: Run folder.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_bytes_atomic(folder / MODEL_NAME, save(tensors, metadata={"format": "pt"}))
    data = card.config.data
    content = {
        "format": MODEL_FORMAT,
        "categories": [{"id": identifier, "name": name} for identifier, name in card.categories],
        "input": {
            "short_side": data.test_short_side,
            "max_long_side": data.max_long_side,
            "size_divisor": data.size_divisor,
            "mean": data.mean,
            "std": data.std,
        },
        "config": json.loads(card.config.model_dump_json()),
    }
    write_json_atomic(folder / CARD_NAME, content)


def read_card(path: Path) -> tuple[ModelCard, Path]:
    """Find and read the model card of a run folder or model file.

    Args:
        path: A run folder, or a ``model.safetensors`` with ``model.json`` beside it.

    Returns:
        The card and the path of the weights.

    Raises:
        CheckpointError: Something is missing or not what it should be.
    """
    folder = path if path.is_dir() else path.parent
    weights = path / MODEL_NAME if path.is_dir() else path
    card_path = folder / CARD_NAME
    missing = [
        f"{item}: not found; expected a run folder or a {MODEL_NAME} with {CARD_NAME} beside it"
        for item in (weights, card_path)
        if not item.is_file()
    ]
    if missing:
        raise CheckpointError(str(path), missing)
    try:
        content = json.loads(card_path.read_text(encoding="utf-8"))
        found = content["format"]
        config = Config.model_validate_json(json.dumps(content["config"]))
        categories = tuple((int(item["id"]), str(item["name"])) for item in content["categories"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(str(card_path), [f"not a model card: {error}"]) from error
    if found != MODEL_FORMAT:
        raise CheckpointError(str(card_path), [f"format {found!r}; this version reads format {MODEL_FORMAT}"])
    return ModelCard(config=config, categories=categories), weights


def load_weights(model: nn.Module, path: Path) -> None:
    """Load ``model.safetensors`` into a network built from its card.

    Args:
        model: Receives the values.
        path: The weights.

    Raises:
        CheckpointError: The file is damaged or does not fit.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(str(path), [f"not a readable safetensors file: {error}"]) from error
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        problems = [line.strip() for line in str(error).splitlines()[1:]]
        raise CheckpointError(str(path), problems or [str(error)]) from error


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write a resumable checkpoint atomically and drop all but the newest two.

    Args:
        folder: ``checkpoints/`` of the run.
        step: Steps done, one per batch (with accumulation more than there were updates).
        state: Tensors, numbers and strings in nested dicts and lists.

    Returns:
        Its path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = folder / f"step-{step:08d}.pt"
    write_bytes_atomic(path, buffer.getvalue())
    for old in _checkpoints(folder)[:-_KEPT_CHECKPOINTS]:
        old.unlink(missing_ok=True)
    return path


def load_latest_checkpoint(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Load the newest readable checkpoint, without executing pickled code.

    Args:
        folder: ``checkpoints/`` of the run.

    Returns:
        Its state, or None if there is none, and the problems of newer ones that are damaged.

    Raises:
        CheckpointError: There are checkpoints but none can be read.
    """
    problems = []
    for path in reversed(_checkpoints(folder)):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001  (torch raises many kinds for a damaged file)
            problems.append(f"{path.name}: {(str(error).splitlines() or [type(error).__name__])[0]}")
            continue
        return state, problems
    if problems:
        raise CheckpointError(str(folder), problems)
    return None, []


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"))
