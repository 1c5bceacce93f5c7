"""Environments that EnvPool simulates on its own threads: ViZDoom, Atari, MiniGrid."""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arguments import as_action, as_mask
from ..cell_map import CellMap
from ..errors import UserError, suggest
from ..experience import Spec, Timestep
from ..processes import forked
from ..processes.alternating import Alternating, Pool
from ..processes.process_folder import Folder, end, working_in
from ..rows import empty_timestep, leaves, matching_rows, write_rows
from ..trees import tree_map

Info = Mapping[str, NDArray[Any]]
NICER = 5
"""Nice value added for simulators (measured with ViZDoom on two cores: 7 % more steps a second with 5, 4 % with 15)."""


class Rewards(Protocol):
    """Corrected rewards and discounts of B environments, computed from EnvPool's answers."""

    def __call__(
        self, reward: NDArray[Any], terminated: NDArray[Any], first: NDArray[Any], info: Info
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return reward [B] and discount [B] of the next row from arguments of shape [B]."""
        ...

    def begin(self, chosen: NDArray[Any], info: Info) -> None:
        """Begin new episodes where ``chosen``, after a ``reset``."""
        ...


class Task(NamedTuple):
    """One EnvPool task and the interpretation of its answers."""

    id: str  # EnvPool's
    name: str  # ours
    settings: dict[str, Any]  # of ``envpool.make``
    actions: tuple[str, ...]
    frames_per_step: int
    variables: tuple[str, ...] = ()  # entries of EnvPool's info to read
    buttons: NDArray[np.float64] | None = None  # [A, buttons]: buttons of each action; None: EnvPool's numbering
    rewards: Callable[[int], Rewards] | None = None  # made for B environments; None: EnvPool's
    side: int | None = None  # side of the grid in which "agent_pos" is a cell
    # Maximum steps of an episode. If EnvPool's own limit is reached on the step on which the task ends an episode, the
    # episode appears truncated unless it was paid: None, EnvPool's limit, is for tasks that never end unpaid.
    limit: int | None = None
    goal: bool = False  # True if termination on a positive reward is a success
    processes: bool = False  # True if simulators are processes of their own, for which EnvPool's threads only wait
    # For simulators that run in a folder: a function that prepares the folder and returns additional settings.
    prepare: Callable[[Path], dict[str, Any]] | None = None


class EnvPool(Pool):
    """B environments of one EnvPool task, stepped together by its thread pool.

    Environment i has seed ``seed + env_offset + i``, modulo 2^31. EnvPool takes seeds only when it is made: another
    ``reset(seed)`` recreates the pool, and is not available for some environments alone. An image is uint8 [H, W, C];
    its frames are stacked oldest first; numbers are one-hot in "vector"; text is omitted. Time limits leave discount 1.

    ``send`` and ``recv`` are the two halves of ``step``: in between, the simulation runs and the caller is free. They
    call EnvPool's compiled part directly, since its Python layer takes as long as the simulation on small steps.
    """

    def __init__(
        self,
        task: Task,
        num_envs: int,
        device: torch.device,
        seed: int,
        *,
        threads: int | None = None,
        env_offset: int = 0,
        render: bool = False,
    ) -> None:
        self.task, self.num_envs, self.device = task, num_envs, device
        self.codes = task.side is not None  # True if the image is a grid of codes rather than colours
        self.num_cells = None if task.side is None else task.side**2
        threads = (threads or torch.get_num_threads()) * (2 if task.processes else 1)
        self._settings = task.settings | {"num_threads": min(num_envs, threads)}
        if task.limit is not None:
            self._settings["max_episode_steps"] = task.limit + 2  # never reached
        if render:
            self._settings["render_mode"] = "rgb_array"
        self._offset = env_offset
        self._held: list[Any] = []  # the only reference to the pool
        self._end: Callable[[], object] = lambda: None
        self._make(seed)
        space = self.pool.observation_space
        self._parts = space.spaces if hasattr(space, "spaces") else {"image": space}
        self._numbers = {k: int(part.n) for k, part in self._parts.items() if hasattr(part, "n")}
        self.spec = Spec(
            observation=self._observation(),
            num_actions=len(task.actions),
            action_names=task.actions,
            tasks=(task.name,),
            frames_per_step=task.frames_per_step,
            max_steps=task.limit or int(self.pool.config["max_episode_steps"]),
            resumable=False,
            stacked=task.settings.get("stack_num", 1),
            success=(task.goal,),
        )
        places = {"position": torch.zeros(num_envs, 2), "cell": torch.zeros(num_envs, dtype=torch.int64)}
        info = {} if task.side is None else places
        self._own = empty_timestep(self.spec, num_envs, "cpu", **info)  # written by numpy for other devices
        self._leaves = leaves(self._own)
        self._pending = False  # True while an answer is awaited
        self._ids = np.arange(num_envs, dtype=np.int32)
        # Indices of all parts of an answer by EnvPool's names, and EnvPool's names of the parts read by our names.
        self._keys = {key: i for i, key in enumerate(self.pool._state_keys)}
        self._looked = {name: f"obs:{name}" for name in ("image", *self._numbers)}
        if len(self._parts) == 1:
            self._looked = {"image": "obs"}
        self._looked |= {name: f"info:{name}" for name in task.variables}
        if task.limit is not None:
            self._looked["elapsed"] = "elapsed_step"
        self._pressed = np.arange(len(task.actions), dtype=np.int32) if task.buttons is None else task.buttons
        self._hot = {name: np.eye(count, dtype=np.float32) for name, count in self._numbers.items()}
        self._rewards = task.rewards(num_envs) if task.rewards else None
        self._seen: dict[str, NDArray[Any]] = {}  # EnvPool's answer for the current row
        self._reward, self._discount = np.zeros(num_envs), np.ones(num_envs, bool)
        self._first = self._last = np.zeros(num_envs, bool)
        self._cut: NDArray[np.bool_] | None = None  # ended by the limit but still running in EnvPool; None: none
        self._quiet_steps = 0  # steps in which no environment can reach the limit

    def _make(self, seed: int) -> None:
        if seed < 0:
            raise UserError(f"EnvPool's seeds are 0 or more, not {seed}")
        seeds = [(seed + self._offset + i) % 2**31 for i in range(self.num_envs)]
        self._seed = seed
        self._end()
        self._process = os.getpid()
        held, folder = list[Any](), None if self.task.prepare is None else Folder()
        self._held, self._end = held, weakref.finalize(self, end, held, folder, os.getpid())
        settings = {"env_seed": seeds, **self._settings}
        if self.task.prepare is not None and folder is not None:
            settings |= self.task.prepare(folder.path)
        with nullcontext() if folder is None else working_in(folder.path):
            held.append(self._made(settings))

    def _made(self, settings: dict[str, Any]) -> Any:
        """Make EnvPool's object. Simulators that are processes, and the threads that wait for them, let the agent go
        first. They inherit that from the thread that makes them, whose priority cannot be raised again: one that ends.
        """
        make = functools.partial(package().make, self.task.id, env_type="gymnasium", num_envs=self.num_envs, **settings)
        if not self.task.processes or sys.platform != "linux":  # where a thread has a priority of its own
            return make()
        with ThreadPoolExecutor(1, initializer=yielding) as apart:
            return apart.submit(make).result()

    @property
    def pool(self) -> Any:
        """EnvPool's object. UserError once closed, and in a forked child, where it would never answer."""
        forked.refuse(self._process, self.task.name)
        if not self._held:
            raise UserError(f"{self.task.name} is closed; create a new one")
        return self._held[0]

    def _observation(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        shape = self._parts["image"].shape
        if len(self._parts) == 1:  # a stack of frames
            shape = (*shape[1:], shape[0])
        numbers = {"vector": ((sum(self._numbers.values()),), torch.float32)} if self._numbers else {}
        return {"image": (shape, torch.uint8), **numbers}

    def reset(self, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Begin episodes: everywhere, or where ``mask`` [B] is True. ``seed`` recreates the pool."""
        chosen = as_mask(mask, self.num_envs).numpy()
        if not chosen.all() and not self._seen:
            raise UserError("reset every environment before resetting only some")
        if not chosen.all() and seed is not None:
            raise UserError("EnvPool gives a new seed to all environments or to none")
        self._expect(False)
        if seed is not None and (self._seen or seed != self._seed):  # an unused pool is already in that state
            self._make(seed)
        if chosen.any():
            self.pool._reset(self._ids[chosen])
            self._look(self.pool._recv(), chosen)
            self._first, self._last = self._first | chosen, self._last & ~chosen
            self._cut = None if self._cut is None else self._cut & ~chosen
            if self._rewards is not None:
                self._rewards.begin(chosen, self._seen)
            self._reward, self._discount = np.where(chosen, 0, self._reward), self._discount | chosen
        return self._write(self._rows(None), None)

    def step(self, action: Tensor, out: Timestep | None = None) -> Timestep:
        """Act: ``action`` [B] int64. Ended environments begin a new episode instead."""
        rows = self._rows(out)  # validated before any state changes
        self.send(action)
        return self._receive(rows, out)

    def send(self, action: Tensor) -> None:
        """Start a step; ``recv`` returns the answer."""
        if not self._seen:
            raise UserError("reset the environment before its first step")
        self._expect(False)
        if isinstance(action, Tensor) and action.dtype == torch.int64 and action.shape == (self.num_envs,):
            numbers = action.cpu().numpy()
            if numbers.view(np.uint64).max() >= len(self._pressed):  # one pass: negative numbers become large ones
                raise UserError(f"actions must lie in [0, {self.spec.num_actions}), got {numbers.tolist()}")
        else:
            numbers = as_action(action, self.num_envs, self.spec.num_actions).numpy()
        if self._cut is not None:  # ignored actions must not have an effect
            numbers = np.where(self._cut, 0, numbers)
        self.pool._send([self._ids, self._ids, self._pressed[numbers]])
        self._pending = True

    def recv(self, out: Timestep | None = None) -> Timestep:
        """Return the answer to the actions sent."""
        self._expect(True)
        return self._receive(self._rows(out), out)

    def _rows(self, out: Timestep | None) -> Timestep:
        """Return the rows for numpy to write: on a CPU the caller's own. UserError for rows that do not match."""
        if out is not None:
            matching_rows(self._leaves, out)
        if self.device.type != "cpu":
            return self._own
        fresh: Timestep = tree_map(torch.empty_like, self._own) if out is None else out
        return fresh

    def _receive(self, rows: Timestep, out: Timestep | None) -> Timestep:
        said = self.pool._recv()
        self._pending = False
        self._look(said)
        done, reward = said[self._keys["done"]], said[self._keys["reward"]]
        if self.task.limit is None:
            late = said[self._keys["trunc"]] & (reward == 0)
            done = done ^ late  # truncated episodes are also "done"
        else:
            cut = self._cut
            if cut is not None and cut.any():  # they took one more step, which is discarded
                self.pool._reset(self._ids[cut])
                self._look(self.pool._recv(), cut)
                done, reward = done & ~cut, np.where(cut, 0, reward)
            self._cut = late = self._late(self.task.limit, done)
        # A copy: keeping EnvPool's own memory for two steps would make it allocate more.
        self._first, self._last = self._last, done.copy() if late is None else done | late
        self._reward, self._discount = reward, ~done
        if self._rewards is not None:
            self._reward, self._discount = self._rewards(reward, done, self._first, self._seen)
        return self._write(rows, out)

    def _late(self, limit: int, done: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Return [B], the environments at the limit whose task continues; None if there are none. Checked only if
        needed.
        """
        if self._quiet_steps > 0:
            self._quiet_steps -= 1
            return None
        elapsed = self._seen["elapsed"]
        late = (elapsed >= limit) & ~done
        if late.any():
            return late
        self._quiet_steps = max(0, limit - int(elapsed.max()) - 1)
        return None

    def _expect(self, pending: bool) -> None:
        """Raise UserError unless an answer is ``pending``, or unless none is."""
        if self._pending != pending:
            raise UserError("send actions first" if pending else "receive the answer to the last actions first")

    def _look(self, said: list[NDArray[Any]], chosen: NDArray[Any] | None = None) -> None:
        """Store the answer: for all environments, or for those ``chosen``, whose rows alone are given."""
        seen = {name: said[self._keys[key]] for name, key in self._looked.items()}
        if chosen is not None and not chosen.all():
            some, seen = seen, {k: v.copy() for k, v in self._seen.items()}
            for k, v in seen.items():
                v[chosen] = some[k]
        self._seen = seen

    def _write(self, step: Timestep, out: Timestep | None) -> Timestep:
        """Fill ``step`` and return it, or its copy on another device."""
        rows = {name: tensor.numpy() for name, tensor in leaves(step).items()}  # the same memory
        rows["reward"][:], rows["discount"][:] = self._reward, self._discount
        rows["first"][:], rows["last"][:], rows["task"][:] = self._first, self._last, 0
        if len(self._parts) == 1:
            for channel in range(rows["image"].shape[-1]):  # five times faster than moving the axis of all at once
                rows["image"][..., channel] = self._seen["image"][:, channel]
        else:
            rows["image"][:] = self._seen["image"]
        begin = 0
        for name, hot in self._hot.items():
            rows["vector"][:, begin : begin + len(hot)] = hot[self._seen[name]]
            begin += len(hot)
        if self.task.side is not None:
            place = self._seen["agent_pos"]
            rows["position"][:], rows["cell"][:] = place, place @ np.array([1, self.task.side])
        return step if self.device.type == "cpu" else write_rows(step, out, self.device)

    def render(self) -> NDArray[np.uint8] | None:
        """Draw environment 0 for human viewers, uint8 [H, W, 3]; None unless made with ``render``."""
        return self.pool.render(0)[0] if "render_mode" in self._settings else None

    def cell_map(self, task: int = 0) -> CellMap | None:
        """Return the grid in which "agent_pos" is a cell, without walls; None where there is none."""
        return None if self.task.side is None else CellMap(self.task.side, self.task.side)

    def close(self) -> None:
        """End EnvPool's threads and simulators."""
        self._end()


def yielding() -> None:
    """Lower the priority of the calling thread, and of the threads and processes that it starts."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICER)


def pools(
    task: Task, num_envs: int, device: torch.device, seed: int, *, pools: int, env_offset: int = 0, **options: Any
) -> Alternating | EnvPool:
    """Make two alternating ``pools``, so that slow simulators and the agent work at the same time; or one."""

    def make(count: int, offset: int) -> EnvPool:
        return EnvPool(task, count, device, seed, env_offset=offset, **options)

    if pools not in (1, 2):
        raise UserError(f"there are 1 or 2 pools, not {pools}")
    return Alternating(make, num_envs, env_offset) if min(pools, num_envs) > 1 else make(num_envs, env_offset)


def package() -> Any:
    """Import EnvPool. UserError where it is not installed."""
    try:
        # Importing it keeps a traceback alive, and with it the frames of all callers and their local variables, such as
        # environments with their simulators. In a separate thread there are no such callers.
        with ThreadPoolExecutor(1) as apart:
            return apart.submit(import_module, "envpool").result()
    except ImportError as error:
        raise UserError("EnvPool is not installed: pip install 'morello[envs]'") from error


def tasks(module: str) -> list[str]:
    """Return the ids that EnvPool's ``module`` ("atari", ...) registers."""
    specs = package().registration.registry.specs
    return [name for name, (path, *_) in specs.items() if path == f"envpool.{module}"]


def known(name: str, names: Iterable[str], family: str) -> str:
    """Return ``name``. UserError with close matches if ``names`` lacks it."""
    if name not in names:
        raise UserError(f"no environment {family}:{name}; {suggest(name, names)}")
    return name
