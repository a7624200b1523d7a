"""Which device, precision and processes a job uses."""

from __future__ import annotations

import os
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


def refuse_absent_device(config: Config) -> None:
    """Refuse a device that this machine does not have.

    Args:
        config: All settings; ``device`` is used.

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


def device_of(config: Config) -> torch.device:
    """Return this process's device for the settings.

    Args:
        config: All settings; ``device`` is used.

    Returns:
        The device; with several processes on GPUs each has its own.

    Raises:
        InputError: It is not there.
    """
    refuse_absent_device(config)
    device: torch.device = join_processes(config).device
    if device.type == "cpu":
        leave_cores_to_loaders(config.data.num_workers)
    return device


def leave_cores_to_loaders(num_workers: int) -> None:
    """Give torch the cores that the loader processes do not need, unless the user decided otherwise.

    Threads that wait for each other at every operation slow down many times over when there are more
    busy threads than cores; two threads and a loader on two cores ran at a quarter of the speed of
    one thread and a loader.

    Args:
        num_workers: Loader processes.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) - num_workers))


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
