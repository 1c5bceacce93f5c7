"""What a worker process does: builds its share of the environments and steps them in memory shared with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from multiprocessing import parent_process, reduction
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import BrokenEnvironmentError
from ..experience import Spec, Timestep
from ..observation_reader import one_line
from ..rows import empty_timestep, leaves, write_rows
from ..trees import tree_map
from ..vector_env import VectorEnv
from . import wire
from .restart_log import Faults
from .wire import Command, Reply

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Meant for the parent, who decides; blocked while a worker starts."""
ALIGNMENT = 64  # bytes: a cache line, so that no two tensors share one


class Share(NamedTuple):
    """The environments of one worker: those from ``begin`` to ``end`` of ``num_envs`` in all."""

    worker: int
    workers: int
    begin: int
    end: int
    num_envs: int
    offset: int  # the global index of the first environment of all
    seed: int
    restart: bool
    again: bool  # it takes over from a worker that is gone


class Memory:
    """Memory without a name: it reaches spawned processes as an open file and is gone with the last of them."""

    def __init__(self, file: int | None = None) -> None:
        if file is not None:
            self.file = file
        elif sys.platform == "linux":
            self.file = os.memfd_create("morello")
        else:
            with tempfile.TemporaryFile() as temporary:
                self.file = os.dup(temporary.fileno())

    def __reduce__(self) -> Any:
        return _arrived, (reduction.DupFd(self.file),)

    def tensors(self, spec: Spec, num_envs: int, workers: int) -> Shared:
        """The tensors of ``num_envs`` environments in it; zeros at first."""
        shapes = {k: (v.shape, v.dtype) for k, v in leaves(empty_timestep(spec, num_envs, "meta")).items()}
        shapes |= {
            "faults of each": (torch.Size((Faults.COLUMNS, num_envs)), torch.int64),
            "turn of each": (torch.Size((workers,)), torch.int64),
            "action": (torch.Size((num_envs,)), torch.int64),
            "chosen": (torch.Size((num_envs,)), torch.bool),
        }
        places, size = {}, 0
        for name, (shape, dtype) in shapes.items():
            places[name] = (size, shape.numel() * dtype.itemsize)
            size += -(-places[name][1] // ALIGNMENT) * ALIGNMENT
        os.ftruncate(self.file, size)
        block = torch.frombuffer(mmap.mmap(self.file, size), dtype=torch.uint8)
        named = {
            name: block[start : start + length].view(shapes[name][1]).view(shapes[name][0])
            for name, (start, length) in places.items()
        }
        observation = {k: named[k] for k in spec.observation}
        reward, discount, first, last, task = (named[k] for k in ("reward", "discount", "first", "last", "task"))
        rows = Timestep(observation, reward, discount, first, last, task, info={})
        faults, turn = named["faults of each"], named["turn of each"]
        return Shared(spec.tasks[0], rows, named["action"], named["chosen"], faults, turn)


def _arrived(file: Any) -> Memory:
    return Memory(file.detach())


class Shared(NamedTuple):
    """What parent and workers both see."""

    name: str
    rows: Timestep
    action: Tensor  # [B] int64
    chosen: Tensor  # [B] bool, those that begin an episode in this command
    faults: Tensor  # [columns, B] int64
    turn: Tensor  # [W] int64, among the environments of each worker

    def of(self, share: Share) -> tuple[Timestep, Faults]:
        """Rows and faults of one worker's environments; views."""
        here = slice(share.begin, share.end)
        rows = tree_map(lambda x: x[here], self.rows)
        faults, turn = self.faults[:, here].numpy(), self.turn[share.worker : share.worker + 1].numpy()
        return rows, Faults(faults, turn, self.name, share.offset + share.begin)


def serve(pipe: Connection, memory: Memory, build: Callable[..., VectorEnv], share: Share, bound: bool) -> None:
    """The life of a worker: until the parent says so, or is gone. ``bound``: the parent's main thread started it, and
    Linux may be asked to kill it with that thread.
    """
    os.setsid()  # a group of our own: what environments start ends with us, and Ctrl-C is for the parent
    if bound and sys.platform == "linux":  # even where no thread of Python's gets its turn any more
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    for number in SIGNALS:  # a scheduler signals to all of us, but when to stop is for the parent to say
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which what environments start would inherit
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_follow_parent, daemon=True).start()
    torch.set_num_threads(1)
    said: list[tuple[type[Warning], str]] = []

    def hear(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        known = next(c for c in category.__mro__ if c.__module__ == "builtins")  # the parent may not have its module
        said.append((known, str(message)))

    warnings.showwarning = hear
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent is gone
        try:
            env = build(
                num_envs=share.end - share.begin, device=torch.device("cpu"), seed=share.seed,
                env_offset=share.offset + share.begin, restart_envs=share.restart,
            )  # fmt: skip
        except BaseException as error:
            wire.send(pipe, Reply(0, _in_words(error), said[: wire.MOST]))
            return
        wire.send(pipe, Reply(0, None, said[: wire.MOST], env.spec, env.adopts))
        said.clear()
        shared = memory.tensors(wire.receive(pipe, Spec), share.num_envs, share.workers)
        rows, faults = shared.of(share)
        own = env.adopt(rows, faults, started=share.again) if env.adopts else None
        _answer_commands(pipe, env, shared, share, said, own)
    env.close()


def _answer_commands(
    pipe: Connection, env: VectorEnv, shared: Shared, share: Share, said: list[Any], own: Timestep | None
) -> None:
    """``own``: the environments' own rows, if they lie in the shared memory."""
    here = slice(share.begin, share.end)
    rows, _ = shared.of(share)
    action, chosen = shared.action[here], shared.chosen[here]
    while True:
        command = wire.receive(pipe, Command)
        if command.what == "close":
            return
        problem = None
        try:
            if command.what == "step":
                answer = env.step(action, own)
            else:
                answer = env.reset(command.seed, None if chosen.all() else chosen.clone())
            if own is None:
                write_rows(answer._replace(info={}), rows)
        except BaseException as error:
            problem = _in_words(error)
        wire.send(pipe, Reply(command.number, problem, said[: wire.MOST]))
        said.clear()


def _in_words(error: BaseException) -> tuple[type[Exception], str]:
    for kind in wire.NAMES[Exception].values():
        if isinstance(error, kind):
            return kind, str(error)
    return BrokenEnvironmentError, f"{type(error).__name__}: {one_line(error)}"


def _follow_parent() -> None:
    """End with the parent, whatever the environments are doing."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
