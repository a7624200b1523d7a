"""The trained networks of a run folder or model file."""

from __future__ import annotations

from pathlib import Path

from sapnet.build import build_model
from sapnet.engine.checkpoint import ModelCard, load_weights, read_card
from sapnet.engine.session import SELECTION_NAME, has_segmenter
from sapnet.errors import CheckpointError
from sapnet.models.sapnet import SapNet


def load_model(path: Path) -> tuple[SapNet, ModelCard]:
    """Load a trained network.

    Args:
        path: A run folder or model file.

    Returns:
        The network in evaluation mode and its card.

    Raises:
        CheckpointError: It cannot be loaded.
    """
    card, weights = read_card(path)
    model = build_model(
        card.config.model,
        num_classes=len(card.categories),
        mask_stride=card.config.data.mask_stride,
        pretrained=False,
    )
    load_weights(model, weights)
    return model.eval(), card


def load_labeller(path: Path) -> tuple[SapNet, ModelCard]:
    """Load the network that picks proposals.

    Args:
        path: A run folder or model file. Of a two-stage run it must be the folder: the segmenter's
            file knows nothing of picking.

    Returns:
        The network in evaluation mode and its card.

    Raises:
        CheckpointError: It cannot be loaded.
    """
    card, _ = read_card(path)
    if card.config.training.mode != "two-stage":
        return load_model(path)
    first = (path if path.is_dir() else path.parent) / SELECTION_NAME
    if not first.is_dir():
        reason = f"is the segmenter of a two-stage run; labels come from its {SELECTION_NAME}/ folder"
        raise CheckpointError(str(path), [f"{reason}, which is not here"])
    return load_model(first)


def load_segmenter(path: Path) -> tuple[SapNet, ModelCard]:
    """Load the network that segments images.

    Args:
        path: A run folder or model file.

    Returns:
        The network in evaluation mode and its card.

    Raises:
        CheckpointError: It cannot be loaded, or has no trained segmenter.
    """
    card, _ = read_card(path)
    if not has_segmenter(card.config):
        raise CheckpointError(str(path), ["was trained with training.mode=selection-only: it cannot segment"])
    return load_model(path)
