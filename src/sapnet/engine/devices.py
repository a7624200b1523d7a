"""Which device, precision and processes a job uses."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from sapnet.config import Config
from sapnet.errors import InputError


def make_accelerator(config: Config) -> Accelerator:
    """Create the accelerator for the device and precision of the settings.

    Raises:
        InputError: The device is not there.
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
    precision = config.training.precision
    # A branch that rests in a phase leaves its parameters without gradient.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=config.device == "cpu", mixed_precision=precision, kwargs_handlers=[unused])


def device_of(config: Config) -> torch.device:
    """Return the device of the settings.

    Raises:
        InputError: It is not there.
    """
    return make_accelerator(config).device
