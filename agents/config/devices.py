"""Devices by name, and their hardware capabilities."""

from __future__ import annotations

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
