"""Worker process: builds its share of the environments and steps them in memory shared with the parent."""

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
"""Signals left to the parent to handle; blocked while a worker starts."""
ALIGNMENT = 64  # bytes: a cache line: no two tensors share one


class Share(NamedTuple):
    """The environments ``begin`` to ``end`` of ``num_envs`` in total, assigned to one worker."""

    worker: int
    workers: int
    begin: int
    end: int
    num_envs: int
    offset: int  # global index of the first of all environments
    seed: int
    restart: bool
    again: bool  # True if the worker replaces a dead one


class Memory:
    """Anonymous memory: spawned processes receive it as an open file, and it is freed with the last of them."""

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
        """Return the tensors of ``num_envs`` environments in this memory, initially zero."""
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
    """Tensors visible to parent and workers."""

    name: str
    rows: Timestep
    action: Tensor  # [B] int64
    chosen: Tensor  # [B] bool, those that begin an episode in this command
    faults: Tensor  # [columns, B] int64
    turn: Tensor  # [W] int64, among the environments of each worker

    def of(self, share: Share) -> tuple[Timestep, Faults]:
        """Return rows and faults of one worker's environments; views."""
        here = slice(share.begin, share.end)
        rows = tree_map(lambda x: x[here], self.rows)
        faults, turn = self.faults[:, here].numpy(), self.turn[share.worker : share.worker + 1].numpy()
        return rows, Faults(faults, turn, self.name, share.offset + share.begin)


def serve(pipe: Connection, memory: Memory, build: Callable[..., VectorEnv], share: Share, bound: bool) -> None:
    """Run a worker until the parent closes it or has ended. ``bound``: the parent's main thread started it, so that
    Linux can be asked to kill the worker when that thread ends.
    """
    os.setsid()  # a new group: child processes end with the worker, and Ctrl-C only reaches the parent
    if bound and sys.platform == "linux":  # works even if no Python thread can run
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    for number in SIGNALS:  # schedulers signal all processes, but the parent decides when to stop
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which child processes would inherit
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_follow_parent, daemon=True).start()
    torch.set_num_threads(1)
    said: list[tuple[type[Warning], str]] = []

    def hear(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        known = next(c for c in category.__mro__ if c.__module__ == "builtins")  # the parent may not have its module
        said.append((known, str(message)))

    warnings.showwarning = hear
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent has ended
        try:
            env = build(
                num_envs=share.end - share.begin,
                device=torch.device("cpu"),
                seed=share.seed,
                env_offset=share.offset + share.begin,
                restart_envs=share.restart,
            )
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
    """Serve commands until "close". ``own``: the environments' own rows, if they are in the shared memory."""
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
    """Exit as soon as the parent has ended, regardless of the environments."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
