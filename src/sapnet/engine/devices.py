"""Which device, precision and processes a job uses."""

from __future__ import annotations

from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from sapnet.config import Config
from sapnet.errors import InputError

_PATIENCE = timedelta(days=2)
"""How long processes wait for the first one, which alone proposes, labels and evaluates."""


def make_accelerator(config: Config) -> Accelerator:
    """Create the accelerator for the device and precision of the settings.

    Args:
        config: All settings; ``device`` and ``training.precision`` are used.

    Returns:
        The accelerator of this process.

    Raises:
        InputError: The device is not there, or cannot compute in the precision.
    """
    device = device_of(config)
    precision = config.training.precision
    if precision == "fp16" and device.type == "cpu":
        problem = "training.precision: 'fp16' needs a GPU; on the CPU use 'bf16' or 'no'"
        raise InputError("the settings", [problem])
    # A second job of the same process may ask for another precision.
    AcceleratorState._reset_state()  # accelerate offers no public way
    # A branch that rests in a phase leaves its parameters without gradient.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    patience = InitProcessGroupKwargs(timeout=_PATIENCE)
    return Accelerator(
        cpu=device.type == "cpu", mixed_precision=precision, kwargs_handlers=[unused, patience]
    )


def device_of(config: Config) -> torch.device:
    """Return this process's device for the settings.

    Args:
        config: All settings; ``device`` is used.

    Returns:
        The device; with several processes on GPUs each has its own.

    Raises:
        InputError: It is not there.
    """
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "auto": True,
    }
    if not present[config.device]:
        there = [name for name, is_there in present.items() if is_there]
        raise InputError(
            "the settings", [f"device: {config.device!r} is not available here; expected one of {there}"]
        )
    device: torch.device = join_processes(config).device
    return device


def join_processes(config: Config) -> PartialState:
    """Join the processes that ``accelerate launch`` or ``torchrun`` started; alone, there is one.

    Args:
        config: All settings; ``device`` is used.

    Returns:
        The process's rank, device and barrier.
    """
    on_cpu = config.device == "cpu"
    if PartialState._shared_state and PartialState().num_processes == 1:
        PartialState._reset_state()  # the device of an earlier job of this process
    return PartialState(cpu=on_cpu, timeout=_PATIENCE)
