"""What the pyramid and the SOLOv2 branch start from: weights that know objects, but no classes.

A few hundred photographs are few to learn from what an object is, and its mask. The bundled weights learned
that, class-agnostically, on photographs with object masks (docs/model_card_segmenter_start.md); the classes
come from the user's clicks. Not in the paper, whose segmenter starts from ImageNet's backbone alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sapnet.errors import CheckpointError, ConfigError
from sapnet.models.weights import load_state, read_tensors

BUNDLED_START = Path(__file__).resolve().parent / "class_agnostic.safetensors"
"""The weights that come with the package."""

PARTS = _PYRAMID, _SEGMENTATION = "pyramid.", "segmentation."
"""How the names of the tensors begin."""
_CATEGORY = "category_output."


def start_segmentation(
    pyramid: nn.Module,
    segmentation: nn.Module,
    weights: Literal["auto", "bundled", "none"] | Path,
    *,
    known_backbone: bool,
) -> None:
    """Load what ``model.solov2.weights`` asks for; where that is nothing, all stays as it is.

    Args:
        pyramid: Changed in place.
        segmentation: The SOLOv2 branch, changed in place.
        weights: The setting.
        known_backbone: Whether the features are those that the bundled weights were made for.

    Raises:
        ConfigError: The bundled weights are asked for, but do not fit.
        CheckpointError: A file cannot be read, or the weights of a path do not fit.
    """
    if weights == "none":
        return
    if isinstance(weights, Path):
        load_segmenter_start(pyramid, segmentation, read_tensors(weights), str(weights))
        return
    tensors = read_tensors(BUNDLED_START) if known_backbone else {}
    if fits_segmenter_start(pyramid, segmentation, tensors):
        load_segmenter_start(pyramid, segmentation, tensors, str(BUNDLED_START))
    elif weights == "bundled":
        problem = (
            "weights: the bundled weights fit the bundled backbone and the default channels only; "
            "expected 'none', 'auto', or the default model.backbone, model.pyramid and model.solov2"
        )
        raise ConfigError("model.solov2", [problem])


def fits_segmenter_start(pyramid: nn.Module, segmentation: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Return whether class-agnostic weights have the shapes of a pyramid and a segmentation branch.

    Args:
        pyramid: The feature pyramid.
        segmentation: The SOLOv2 branch, with any number of classes.
        tensors: Parameters under ``pyramid.`` and ``segmentation.``.
    """
    return all(
        name in part and part[name].shape == value.shape
        for module, prefix in ((pyramid, _PYRAMID), (segmentation, _SEGMENTATION))
        for part in (_part(tensors, prefix),)
        for name, value in module.state_dict().items()
        if not name.startswith(_CATEGORY)
    )


@torch.no_grad()
def load_segmenter_start(
    pyramid: nn.Module, segmentation: nn.Module, tensors: Mapping[str, Tensor], subject: str
) -> None:
    """Load class-agnostic weights into a pyramid and a segmentation branch of any number of classes.

    Every class starts with the output that tells any object from the background, its bias lowered by the
    logarithm of the number of classes, so that all classes together expect as many objects as before.

    Args:
        pyramid: Changed in place.
        segmentation: The SOLOv2 branch, changed in place.
        tensors: Parameters under ``pyramid.`` and ``segmentation.``, the latter of a branch with one class.
        subject: Where they come from, for the message.

    Raises:
        CheckpointError: They do not fit.
    """
    start = _part(tensors, _SEGMENTATION)
    classes = len(segmentation.get_parameter(f"{_CATEGORY}bias"))
    for name in (f"{_CATEGORY}weight", f"{_CATEGORY}bias"):
        if name not in start or len(start[name]) != 1:
            problem = f"holds no {_SEGMENTATION}{name} of one class; expected class-agnostic weights"
            raise CheckpointError(subject, [problem])
        start[name] = start[name].repeat(classes, *[1] * (start[name].dim() - 1))
    start[f"{_CATEGORY}bias"] = start[f"{_CATEGORY}bias"] - math.log(classes)
    load_state(pyramid, _part(tensors, _PYRAMID), subject)
    load_state(segmentation, start, subject)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value.float() for name, value in tensors.items() if name.startswith(prefix)
    }
