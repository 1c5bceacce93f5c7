"""State of the global random number generators, which code may use implicitly, as one tree for a checkpoint."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def state_dict() -> dict[str, Any]:
    """Return the states of Python's, NumPy's, torch's and each CUDA device's generator."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": (version, torch.tensor(words), gauss),
        "numpy": (str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],  # type: ignore[no-untyped-call]
    }


def load_state_dict(state: dict[str, Any]) -> None:
    """Continue from ``state_dict``; if the number of CUDA devices differs, their generators stay unchanged."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
