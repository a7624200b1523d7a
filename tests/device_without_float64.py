"""A make-believe device that has no float64 and refuses tensors of other devices, as MPS does."""

from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten

NAME = torch.device("mps")


class OnDevice(torch.Tensor):
    """A tensor that says it is on the device; its numbers are on the CPU."""


class DeviceWithoutFloat64(TorchFunctionMode):
    """While active, tensors made for, moved to or computed on the device live by its rules."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func == torch.Tensor.device.__get__:
            return NAME if isinstance(args[0], OnDevice) else torch.device("cpu")
        if func in (torch.Tensor.cpu, torch.Tensor.to) and (func is torch.Tensor.cpu or args[1:] == (NAME,)):
            plain = args[0].as_subclass(torch.Tensor)
            return plain if func is torch.Tensor.cpu else self._place(plain)
        tensors = [item for item in tree_flatten((args, kwargs))[0] if isinstance(item, torch.Tensor)]
        here = [isinstance(item, OnDevice) for item in tensors]
        made_here = kwargs.get("device") == NAME
        if made_here:
            kwargs["device"] = "cpu"
        others = [item for item, is_here in zip(tensors, here, strict=True) if item.ndim and not is_here]
        # Devices take indices from the CPU, and numbers without axes; the CPU takes nothing of theirs.
        if any(here) and others and not (func is torch.Tensor.__getitem__ and here[0]):
            raise RuntimeError(f"{func.__name__}: expected all tensors to be on the same device")
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
        if not made_here and not any(here):
            return result
        if isinstance(result, tuple):
            return tuple(self._place(item) for item in result) if type(result) is tuple else result
        return self._place(result)

    @staticmethod
    def _place(tensor):
        if not isinstance(tensor, torch.Tensor):
            return tensor
        if tensor.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework has none")
        return tensor.as_subclass(OnDevice)
