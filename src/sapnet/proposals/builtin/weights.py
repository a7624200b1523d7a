"""The weights of the built-in proposer in one file: the networks and the scorers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sapnet.data.atomic import write_bytes_atomic
from sapnet.errors import CheckpointError
from sapnet.proposals.builtin import ADVICE
from sapnet.proposals.builtin.bag_features import BAG_FEATURES
from sapnet.proposals.builtin.boundary_network import BoundaryNetwork
from sapnet.proposals.builtin.candidate_features import FEATURES
from sapnet.proposals.builtin.prompt_head import PromptHead
from sapnet.proposals.builtin.ranking import Ranking

_NETWORK, _RANKING, _HEAD, _SCORER = "network.", "ranking.", "head.", "scorer."


@dataclass(frozen=True)
class BuiltinWeights:
    """All learned parts, the networks in evaluation mode and single precision."""

    network: BoundaryNetwork
    ranking: Ranking
    head: PromptHead | None = None
    scorers: Mapping[str, Ranking] = field(default_factory=dict)
    """Scorers of all candidates of a click, by the sources joined with ``+``."""


def save_weights(path: Path, weights: BuiltinWeights) -> None:
    """Write all parts atomically: the networks' kernels in half precision, all else in single.

    Raises:
        JobError: The file cannot be written.
    """
    tensors = {_NETWORK + name: stored_tensor(value) for name, value in weights.network.state_dict().items()}
    scorers = {_RANKING: weights.ranking}
    if weights.head is not None:
        tensors |= {_HEAD + name: stored_tensor(value) for name, value in weights.head.state_dict().items()}
    scorers |= {f"{_SCORER}{name}.": scorer for name, scorer in weights.scorers.items()}
    for prefix, scorer in scorers.items():
        for name, array in scorer.arrays().items():
            tensors[prefix + name] = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    # Just one entry: of several, the file would have them in any order.
    write_bytes_atomic(path, save(tensors, metadata={"features": _all_features(weights.scorers)}))


def load_weights(path: Path) -> BuiltinWeights:
    """Read all parts.

    Returns:
        The parts; no head and no scorers where the file has none.

    Raises:
        CheckpointError: The file is missing, damaged or holds something else.
    """
    if not path.is_file():
        raise CheckpointError(str(path), [f"There is no such file; {ADVICE}"])
    try:
        with safe_open(path, "pt") as file:
            features = (file.metadata() or {}).get("features", "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        problem = f"It is not a readable safetensors file ({error}); {ADVICE}"
        raise CheckpointError(str(path), [problem]) from error
    network, head = BoundaryNetwork(), PromptHead() if any(n.startswith(_HEAD) for n in tensors) else None
    names = sorted({name.split(".")[1] for name in tensors if name.startswith(_SCORER)})
    try:
        network.load_state_dict(_part(tensors, _NETWORK))
        if head is not None:
            head.load_state_dict(_part(tensors, _HEAD))
            head.eval()
        ranking = _scorer(tensors, _RANKING)
        scorers = {name: _scorer(tensors, f"{_SCORER}{name}.") for name in names}
    except (RuntimeError, KeyError) as error:
        # The rest of torch's message is the names of all tensors.
        problem = f"It does not hold the built-in proposer's weights ({str(error).splitlines()[0]}); {ADVICE}"
        raise CheckpointError(str(path), [problem]) from error
    if features != _all_features(scorers):
        problem = f"Its scores were learned on other features than this version computes; {ADVICE}"
        raise CheckpointError(str(path), [problem])
    return BuiltinWeights(network.eval(), ranking, head, scorers)


def _all_features(scorers: Mapping[str, Ranking]) -> str:
    return " ".join(FEATURES + (BAG_FEATURES if scorers else ()))


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): _restored(t) for name, t in tensors.items() if name.startswith(prefix)}


def _scorer(tensors: Mapping[str, Tensor], prefix: str) -> Ranking:
    return Ranking.of_arrays({name: tensor.numpy() for name, tensor in _part(tensors, prefix).items()})


def stored_tensor(value: Tensor) -> Tensor:
    """Return a tensor as files hold it: a kernel (two axes or more) in half precision, all else as it is."""
    kernels = value.is_floating_point() and value.dim() > 1
    return value.detach().half().contiguous() if kernels else value.detach().contiguous()


def _restored(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
