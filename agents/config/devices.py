"""Devices by name, and their hardware capabilities."""

from __future__ import annotations

import ctypes
import os
import platform

import torch

from ...envs.errors import UserError, suggest
from ...envs.processes import forked


def resolve_device(name: str) -> torch.device:
    """Resolve "auto", "cpu", "cuda" or "cuda:1" to an available device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"Unknown device '{name}': {suggest(name, ['cpu', 'cuda', 'cuda:0', 'auto'])}")
    if device.type == "cuda":
        forked.refuse_cuda()
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"Device '{name}' is not available: this machine has {torch.cuda.device_count()} CUDA devices.")
    return device


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the hardware multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, but for blocks above 32 MiB and what exceeds 2 GiB at the end of
    its heap, where the C library is glibc and the user has set no thresholds.

    By default glibc returns large blocks to the system, which then clears every page of the activations of each update
    anew: 5 % of the time of training on images.
    """
    if platform.libc_ver()[0] != "glibc" or {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(mmap_threshold, 2**25)  # the most that glibc accepts; larger blocks are few and live long
