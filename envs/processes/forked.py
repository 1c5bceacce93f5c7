"""Protection of forked child processes. A child has only the thread that forked; thread pools (torch's OpenMP, EnvPool)
do not notice and wait for the missing threads for ever. A child of a process with threads is therefore limited to one
thread, and cannot use environments that were simulated by threads of the parent.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ..errors import UserError

_threads = 1  # number in the parent at the time of the fork
_child = False


def is_child() -> bool:
    """Return whether this process was forked from one with several threads."""
    return _child


def most(threads: int) -> int:
    """Limit ``threads`` to one if this process is such a child."""
    return 1 if _child else threads


def refuse(process: int, name: str) -> None:
    """Raise UserError if the simulator of ``name`` was made in another ``process`` than this one."""
    if os.getpid() != process:
        raise UserError(
            f"{name} was made before this process was forked, and its simulator is the parent's: make it "
            "here, or start processes with 'spawn'"
        )


def refuse_cuda() -> None:
    """Raise UserError if CUDA was in use before this process was forked, which CUDA does not support."""
    torch: Any = sys.modules.get("torch")
    if _child and torch is not None and torch.cuda._is_in_bad_fork():
        raise UserError(
            "CUDA was in use before this process was forked, which CUDA does not support: use --device cpu "
            "here, or start processes with 'spawn'"
        )


def _before() -> None:
    global _threads
    try:
        _threads = len(list(Path("/proc/self/task").iterdir()))
    except OSError:  # not Linux: the number is unknown
        _threads = 2


def _in_child() -> None:
    global _child
    if _threads > 1:
        _child = True
        set_num_threads = getattr(sys.modules.get("torch"), "set_num_threads", None)
        if set_num_threads is not None:
            set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_in_child)
