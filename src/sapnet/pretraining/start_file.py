"""The trained parts in a file, for networks of any number of classes to start from."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save

from sapnet.data.atomic import write_bytes_atomic
from sapnet.models.sapnet import SapNet
from sapnet.models.segmenter_start import PARTS
from sapnet.proposals.builtin.weights import stored_tensor

FORMAT = "sapnet-segmenter-start"
"""What the metadata of the file says under ``format``."""


def save_start(path: Path, network: SapNet) -> None:
    """Write pyramid and SOLOv2 branch atomically: kernels in half precision, all else in single.

    Args:
        path: A safetensors file; its tensors have the names of the network's state.
        network: A network of one class.

    Raises:
        JobError: The file cannot be written.
    """
    state = network.state_dict()
    tensors = {name: stored_tensor(value) for name, value in state.items() if name.startswith(PARTS)}
    classes = network.segmentation.category_output.out_channels
    write_bytes_atomic(path, save(tensors, metadata={"format": FORMAT, "classes": str(classes)}))
