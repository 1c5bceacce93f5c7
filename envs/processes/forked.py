"""A forked child has no thread of its parent's but the one that forked. Pools do not know that and wait for theirs for
ever (torch's OpenMP, EnvPool): so a child of a process with threads goes on with one, and environments whose simulation
ran on others are not its.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ..errors import UserError

_threads = 1  # of the process that forks, at that moment
_child = False


def is_child() -> bool:
    """Whether this process was forked from one with threads."""
    return _child


def most(threads: int) -> int:
    """How many of ``threads`` this process may have: one, where it is such a child."""
    return 1 if _child else threads


def refuse(process: int, name: str) -> None:
    """UserError if what simulates ``name`` was made in another ``process`` than this one."""
    if os.getpid() != process:
        raise UserError(f"{name} was made before this process was forked, and what simulates it stayed behind: make it "
                        "here, or start processes with 'spawn'")  # fmt: skip


def refuse_cuda() -> None:
    """UserError where CUDA was in use before this process was forked: it does not survive that."""
    torch: Any = sys.modules.get("torch")
    if _child and torch is not None and torch.cuda._is_in_bad_fork():
        raise UserError("CUDA was in use before this process was forked, which it does not survive: use --device cpu "
                        "here, or start processes with 'spawn'")  # fmt: skip


def _before() -> None:
    global _threads
    try:
        _threads = len(list(Path("/proc/self/task").iterdir()))
    except OSError:  # not Linux: there may be some
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
