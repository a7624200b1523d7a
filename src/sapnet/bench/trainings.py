"""Trainings that rows share: each is done once for all rows, experiments and benchmarks of one ``--out``.

A training lies in a folder named after its settings and the digests of what it learned from. Rows that
differ only in what a training does not see (``changes.without_effect``) find the same folder. Trainings
resume; a finished one keeps its model, not its checkpoints.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sapnet.bench.changes import without_effect
from sapnet.bench.data import alone, digest_of
from sapnet.build import build_model
from sapnet.config import Config
from sapnet.config_loader import leaves
from sapnet.data.atomic import write_json_atomic
from sapnet.engine.checkpoint import load_weights, read_card
from sapnet.engine.run_folder import CHECKPOINTS_NAME, MAY_DIFFER
from sapnet.engine.session import SessionOptions, TrainingData, fix_picks, run_session
from sapnet.labels.picks import Pick
from sapnet.models.sapnet import SapNet

Picks = Mapping[int, Pick]
"""By annotation id."""

FINISHED_NAME = "finished.json"
"""Says that a training has ended; written after its model."""


def settings_that_matter(config: Config) -> dict[str, Any]:
    """Return all settings that change a result, as dotted keys.

    Args:
        config: The settings.
    """
    values = dict(leaves(json.loads(config.model_dump_json())))
    return {key: value for key, value in values.items() if key not in MAY_DIFFER}


def training_folder(out: Path, config: Config, digests: Mapping[str, str], *, kind: str = "") -> Path:
    """Return the folder of a training.

    Args:
        out: Folder of all trainings of the benchmark.
        config: Settings of the training.
        digests: Of what it learns from.
        kind: What is trained; empty: what the mode says.
    """
    name = kind or config.training.mode
    origin = {"kind": name, "settings": settings_that_matter(config), "digests": dict(digests)}
    return out / f"{name}-seed-{config.seed}-{digest_of(origin)}"


def train(
    learned: TrainingData,
    config: Config,
    out: Path,
    *,
    inputs: Mapping[str, Path | None],
    features: Path | None = None,
    quiet: bool,
) -> Path:
    """Train a network, or find it trained.

    Args:
        learned: What to learn from.
        config: Settings of a row.
        out: Folder of all trainings of the benchmark.
        inputs: Paths for ``environment.json``.
        features: Where the features of wholly frozen backbones are kept for all trainings.
        quiet: Show no progress.

    Returns:
        The run folder.

    Raises:
        InputError, JobError, KeyboardInterrupt: As ``engine.session.run_session``.
    """
    taught = without_effect(config)
    folder = training_folder(out, taught, learned.digests)
    with alone(folder):
        if not (folder / FINISHED_NAME).exists():
            options = SessionOptions(resume=True, quiet=quiet, features=features)
            run_session(learned, folder, taught, inputs=inputs, options=options)
            finish(folder)
    return folder


def finish(folder: Path) -> None:
    """Mark a training as finished and drop what only resuming needs.

    Args:
        folder: Of the training, whose model has been written.
    """
    write_json_atomic(folder / FINISHED_NAME, {})
    shutil.rmtree(folder / CHECKPOINTS_NAME, ignore_errors=True)


def network_of(folder: Path, config: Config) -> SapNet:
    """Load a trained network with the settings of a row, which may pick otherwise than the training.

    Args:
        folder: Of the training.
        config: Settings of the row; they differ from the training's only in what changes no weights.

    Raises:
        CheckpointError: It cannot be loaded.
    """
    card, weights = read_card(folder)
    model = build_model(
        config.model,
        num_classes=len(card.categories),
        mask_stride=config.data.mask_stride,
        pretrained=False,
    )
    load_weights(model, weights)
    return model.eval()


def with_fixed(learned: TrainingData, picks: Picks) -> TrainingData:
    """Reduce every bag to its label, with a digest of the picks.

    Args:
        learned: What the picks were chosen from.
        picks: The picks.
    """
    rows = sorted((key, pick.proposal, pick.needed, *pick.votes) for key, pick in picks.items())
    digest = digest_of({"picks": rows})
    return replace(fix_picks(learned, picks), digests={**learned.digests, "picks": digest})


def as_segmenter(config: Config, epochs: int) -> Config:
    """Return the settings of a segmenter on fixed labels, without those of the selection and of labelling.

    Rows with different selections so train the same network where their picks are the same.

    Args:
        config: Settings of a row.
        epochs: How long it is trained.
    """
    plain = Config()
    parts = ("mil_head", "guidance", "regions", "refinement", "picking", "box_mining", "multi_mask")
    unused = {name: getattr(plain.model, name) for name in (*parts, "agreement", "supervision")}
    training = {
        "mode": "top-score",
        "epochs": epochs,
        "selection_warmup_epochs": plain.training.selection_warmup_epochs,
    }
    return config.model_copy(
        update={
            "model": config.model.model_copy(update=unused),
            "training": config.training.model_copy(update=training),
            "labelling": plain.labelling,
        }
    )
