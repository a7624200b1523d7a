"""What finished pieces of a job depend on: only the same job may go on from them (``data/journal.py``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sapnet._version import __version__
from sapnet.config import Config
from sapnet.data.journal import files_digest
from sapnet.models.weights import add_weights


def job_identity(
    model: nn.Module,
    config: Config,
    device: torch.device,
    *,
    names: Iterable[str],
    folder: Path,
    digests: Mapping[str, str],
) -> dict[str, Any]:
    """Return what picks and predictions depend on, JSON-compatible.

    Args:
        model: The network.
        config: Its settings.
        device: Where it computes.
        names: The image files in their order.
        folder: Where they lie.
        digests: Those of other inputs, by name.
    """
    settings = config.model_dump(mode="json", include={"data", "model", "labelling"})
    settings["data"].pop("num_workers")  # changes no result
    return {
        "versions": [__version__, torch.__version__],
        "device": device.type,
        "weights": _weights_digest(model),
        "images": files_digest(names, folder),
        "settings": {**settings, "mode": config.training.mode},
        "digests": dict(digests),
    }


def _weights_digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    add_weights(digest, model.state_dict())
    return digest.hexdigest()
