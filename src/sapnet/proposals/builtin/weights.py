"""The weights of the built-in proposer in one file: the boundary network and the ranking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sapnet.data.atomic import write_bytes_atomic
from sapnet.errors import CheckpointError
from sapnet.proposals.builtin.boundary_network import BoundaryNetwork
from sapnet.proposals.builtin.candidate_features import FEATURES
from sapnet.proposals.builtin.ranking import Ranking

_NETWORK, _RANKING = "network.", "ranking."


def save_weights(path: Path, network: BoundaryNetwork, ranking: Ranking) -> None:
    """Write both parts atomically: the network's kernels in half precision, all else in single.

    Raises:
        JobError: The file cannot be written.
    """
    tensors = {_NETWORK + name: _stored(value) for name, value in network.state_dict().items()}
    for name, array in ranking.arrays().items():
        tensors[_RANKING + name] = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    # Just one entry: of several, the file would have them in any order.
    write_bytes_atomic(path, save(tensors, metadata={"features": " ".join(FEATURES)}))


def load_weights(path: Path) -> tuple[BoundaryNetwork, Ranking]:
    """Read both parts.

    Returns:
        The network in evaluation mode and single precision, and the ranking.

    Raises:
        CheckpointError: The file is missing, damaged or holds something else.
    """
    if not path.is_file():
        raise CheckpointError(str(path), ["There is no such file with the built-in proposer's weights."])
    try:
        with safe_open(path, "pt") as file:
            features = (file.metadata() or {}).get("features", "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(str(path), [f"not a readable safetensors file: {error}"]) from error
    network = BoundaryNetwork()
    state = {
        name.removeprefix(_NETWORK): _restored(t) for name, t in tensors.items() if name.startswith(_NETWORK)
    }
    arrays = {
        name.removeprefix(_RANKING): t.numpy() for name, t in tensors.items() if name.startswith(_RANKING)
    }
    try:
        network.load_state_dict(state)
        ranking = Ranking.of_arrays(arrays)
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(
            str(path), [f"does not hold the built-in proposer's weights: {error}"]
        ) from error
    if features.split() != list(FEATURES):
        problem = "its ranking was learned on other features than this version computes"
        raise CheckpointError(str(path), [problem])
    return network.eval(), ranking


def _stored(value: Tensor) -> Tensor:
    kernels = value.is_floating_point() and value.dim() > 1
    return value.detach().half().contiguous() if kernels else value.detach().contiguous()


def _restored(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
