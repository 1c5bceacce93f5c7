"""Torch's `meta` device, whose tensors have shapes and no data: whatever asks for a value there is an error."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")


class OffTheDeviceError(RuntimeError):
    """A tensor that is not on the device."""


class OnlyOnTheDevice(TorchDispatchMode):
    """Refuses operations that take or make a tensor elsewhere, of which the device itself lets some pass."""

    def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for x in tree_leaves((args, kwargs, out)):
            if isinstance(x, torch.Tensor) and x.device != META:
                raise OffTheDeviceError(f"{function} with {x.dtype} {list(x.shape)} on {x.device}")
        return out
