"""Any registered Gymnasium environment with discrete actions, in this process (`Workers` distributes them)."""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arguments import as_action, chosen
from ..errors import BrokenEnvironmentError, UserError, beyond_limit, suggest
from ..experience import Spec, Timestep
from ..goals import has_goal
from ..observation_reader import Reader, actions, one_line
from ..processes.restart_log import ATTEMPTS, Faults
from ..rows import empty_timestep, leaves, write_rows
from ..vector_env import VectorEnv
from .gym_interface import episode_limit, first_observation, old_interface, step_answer

FLAGS = (bool, np.bool_, int)
LARGEST = float(np.finfo(np.float32).max)
"""Largest reward that float32 can hold; comparisons with NaN are false."""
OURS = (KeyboardInterrupt, GeneratorExit)
"""Exceptions that are not the environment's. All others may come from it: some call ``sys.exit`` or panic in Rust."""

PACKAGES = {
    "MiniGrid-": ("minigrid", "pip install 'morello[envs]'"),
    "BabyAI-": ("minigrid", "pip install 'morello[envs]'"),
    "MiniWorld-": ("miniworld", "pip install 'morello[envs]'"),
    "ALE/": ("ale_py", "pip install ale-py"),
}
"""Prefixes of ids that only a package registers: the module to import, and how to install it."""


class Gymnasium(VectorEnv):
    """B environments ``gymnasium.make(name)``, stepped one after the other.

    Environment i begins with seed ``seed + env_offset + i`` and then continues with its own generator, as vector
    environments of Gymnasium do. Termination sets discount 0, truncation leaves 1.

    An environment that raises, or returns values that are not finite or differ in shape or type from its space, leads
    to a `BrokenEnvironmentError` that names it; with ``restart_envs`` it is recreated instead and its episode counts as
    truncated where it broke, with reward 0 (``restarts`` [B] counts). An environment that breaks `EPISODES` times
    without a complete episode is abandoned. One that never answers hangs the process, and one that crashes ends it:
    `Workers` survives both. Finite numbers beyond the bounds of their Box are accepted, with one warning that names
    environment, seed and step.

    ``time_limit`` replaces the limit an environment was registered with; UserError if it exceeds the environment's own
    internal limit. With ``render`` environment 0 is made so that it can be drawn, if possible.
    """

    adopts = True

    def __init__(
        self,
        name: str,
        num_envs: int,
        device: torch.device,
        seed: int,
        *,
        env_offset: int = 0,
        restart_envs: bool = False,
        render: bool = False,
        time_limit: int | None = None,
        **arguments: Any,
    ) -> None:
        if not 0 <= seed < 2**62:
            raise UserError(f"Gymnasium's seeds are 0 or more (and below 2 ** 62), not {seed}")
        self.name, self.num_envs, self.device = name, num_envs, device
        self.codes = name.rpartition(":")[2].startswith(("MiniGrid-", "BabyAI-"))  # codes, not colours
        if time_limit is not None:
            arguments["max_episode_steps"] = time_limit
        self._arguments, self._restart, self._drawn = arguments, restart_envs, render
        self._envs = [self._new(i) for i in range(num_envs)]
        one = self._envs[0]
        self._reader = Reader(one.observation_space, name)
        self._start, names = actions(one.action_space, one, name)
        limit = episode_limit(one)
        if time_limit is not None and limit != time_limit:  # it has another internal limit
            raise UserError(beyond_limit(name, limit))
        self.spec = Spec(
            observation=self._reader.observation,
            num_actions=len(names),
            action_names=names,
            tasks=(name,),
            frames_per_step=1,
            max_steps=limit,
            resumable=False,
            success=(has_goal(name),),
        )
        self._told = False  # whether the warning about exceeded bounds was issued
        self._seeded = [False] * num_envs  # whether each generator has received its seed
        self.adopt(empty_timestep(self.spec, num_envs), Faults.new(seed, num_envs, name, env_offset), started=False)

    def adopt(self, rows: Timestep, faults: Faults, started: bool) -> Timestep:
        """Store answers and faults in the given memory from now on; see `VectorEnv.adopt`."""
        self._own, self.faults, self._started = rows, faults, started
        self._rows = {k: v.numpy() for k, v in leaves(rows).items()}  # the same memory
        self._observations = [{k: self._rows[k][i] for k in self.spec.observation} for i in range(self.num_envs)]
        return rows

    @property
    def restarts(self) -> list[int]:
        """Number of times each environment [B] was recreated."""
        return [int(x) for x in self.faults.restarts]

    def reset(self, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Begin episodes: everywhere, or where ``mask`` [B] is True; ``seed`` restarts the random streams there."""
        begin = chosen(mask, self.num_envs)
        if not self._started and len(begin) < self.num_envs:
            raise UserError("reset every environment before resetting only some")
        if seed is not None:
            self.faults.begin(begin, seed)
        for i in begin:
            self._seeded[i] = self._seeded[i] and seed is None
            self._begin(i)
        self._started = True
        self.faults.turn[0] = -1
        return self._give(None)

    def step(self, action: Tensor, out: Timestep | None = None) -> Timestep:
        """Act: ``action`` [B] int64. Ended environments begin a new episode instead."""
        if not self._started:
            raise UserError("reset the environment before its first step")
        numbers = as_action(action, self.num_envs, self.spec.num_actions).tolist()
        ended = self._rows["last"].tolist()
        for i, a in enumerate(numbers):
            if ended[i]:
                self._begin(i)
            else:
                self._act(i, a)
        self.faults.turn[0] = -1
        return self._give(out)

    def _begin(self, i: int) -> None:
        """Begin a new episode of environment i."""
        faults = self.faults
        faults.turn[0] = i
        for attempt in range(1, ATTEMPTS + 1):
            faults.step[i] = 0
            try:
                answer = self._envs[i].reset(seed=None if self._seeded[i] else int(faults.seed[i]))
                self._see(i, first_observation(answer))
                break
            except OURS:
                raise
            except BaseException as error:
                self._repair(i, error, last=attempt == ATTEMPTS)
        self._seeded[i] = True
        self._fill(i, 0.0, 1.0, first=True, last=False)

    def _act(self, i: int, action: int) -> None:
        """Step environment i."""
        faults = self.faults
        faults.turn[0] = i
        faults.step[i] += 1
        try:
            answer = self._envs[i].step(np.int64(action + self._start))
            observation, reward, terminated, truncated, _ = step_answer(answer)
            paid = np.nan if isinstance(reward, str) else float(reward)
            if not abs(paid) <= LARGEST:
                raise ValueError(f"its reward is {reward!r}")
            if not isinstance(terminated, FLAGS) or not isinstance(truncated, FLAGS):
                raise ValueError(f"it returns terminated {terminated!r} and truncated {truncated!r}, not True or False")
            discount, last = float(not terminated), bool(terminated or truncated)
            self._see(i, observation)
            if last:
                faults.broken[i] = 0
        except OURS:
            raise
        except BaseException as error:
            self._repair(i, error)
            paid, discount, last = 0.0, 1.0, True  # the observation stays unchanged
        self._fill(i, paid, discount, first=False, last=last)

    def _see(self, i: int, observation: Any) -> None:
        """Write the observation of environment i; ValueError for values outside its space."""
        beyond = self._reader.write(observation, self._observations[i])
        if beyond is not None and not self._told:
            self._told = True
            what = self.faults.describe(i, "leaves its space")
            warnings.warn(f"{what}: {beyond}; the episode goes on; warned only once", RuntimeWarning, stacklevel=2)

    def _repair(self, i: int, error: BaseException, last: bool = False) -> None:
        """Recreate environment i, or abandon it. UserError for one that uses Gym's old interface."""
        if (old := old_interface(error)) is not None:
            raise UserError(f"{self.name} {old}") from error
        reason = f"{type(error).__name__}: {one_line(error)}"
        what = self.faults.blame(i, reason, self._restart, last=last, error=error)
        self._close(i)
        try:
            self._envs[i] = self._new(i)
        except UserError as failure:
            raise BrokenEnvironmentError(f"{what}; and it could not be recreated: {failure}") from failure
        self.faults.made_anew(i)
        self._seeded[i] = False
        warnings.warn(f"{what}; recreated, {sum(self.restarts)} so far", RuntimeWarning, stacklevel=2)

    def _make(self, **more: Any) -> gymnasium.Env[Any, Any]:
        return make_one(self.name, self._arguments | more)

    def _fill(self, i: int, reward: float, discount: float, *, first: bool, last: bool) -> None:
        rows = self._rows
        rows["reward"][i], rows["discount"][i], rows["first"][i], rows["last"][i] = reward, discount, first, last

    def _give(self, out: Timestep | None) -> Timestep:
        return write_rows(self._own, out, self.device)

    def _new(self, i: int) -> gymnasium.Env[Any, Any]:
        """Make environment i; the first with rendering, if requested and available."""
        if i or not self._drawn:
            return self._make()
        _allow_no_screen()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*render_mode")
                return self._make(render_mode="rgb_array")
        except UserError as error:  # it may still work without rendering
            reason = one_line(error)
        env = self._make()
        self._draw_no_more(reason)
        return env

    def render(self) -> NDArray[np.uint8] | None:
        """Draw environment 0 for human viewers, uint8 [H, W, 3]. None without the option ``render``, before its first
        episode, and where drawing fails, which is reported once.
        """
        if not self._drawn or not self._seeded[0]:
            return None
        try:
            drawn = self._envs[0].render()
            if drawn is None:
                raise ValueError("its render returns None")
            picture = np.array(drawn)
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
                raise ValueError(f"it draws {picture.dtype} {list(picture.shape)}, not uint8 [H, W, 3]")
            return picture
        except OURS:
            raise
        except BaseException as error:
            self._draw_no_more(f"{type(error).__name__}: {one_line(error)}")
            return None

    def _draw_no_more(self, reason: str) -> None:
        self._drawn = False
        warnings.warn(f"{self.name} has no picture for people: {reason}", RuntimeWarning, stacklevel=3)

    def close(self) -> None:
        """Close all environments, ignoring their errors."""
        for i in range(self.num_envs):
            self._close(i)

    def _close(self, i: int) -> None:
        try:
            self._envs[i].close()
        except OURS:
            raise
        except BaseException as error:
            what = f"{self.name}: environment {self.faults.offset + i} failed to close"
            warnings.warn(f"{what}: {type(error).__name__}: {one_line(error)}", RuntimeWarning, stacklevel=3)


def make_one(name: str, arguments: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """Call ``gymnasium.make``; UserError, with a remedy, for what it cannot make."""
    try:
        _register(name.rpartition(":")[2])
        return gymnasium.make(name, disable_env_checker=True, **arguments)
    except UserError:
        raise
    except gymnasium.error.UnregisteredEnv as error:
        plain = name.partition(":")[2] or name
        raise UserError(f"Gymnasium has no environment {name!r}; {suggest(plain, gymnasium.registry)}") from error
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise UserError(f"{name} needs something that is not installed: {one_line(error)}") from error
    except OURS:
        raise
    except BaseException as error:
        raise UserError(f"Gymnasium cannot make {name!r}: {type(error).__name__}: {one_line(error)}") from error


def _allow_no_screen() -> None:
    """Configure pyglet and pygame, before they are imported: no screen is needed, and no greeting is printed."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("PYGLET_HEADLESS", "true")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def _register(name: str) -> None:
    """Import the package that registers ``name``, if one is known. UserError if it is not installed."""
    for beginning, (module, install) in PACKAGES.items():
        if name.startswith(beginning):
            _allow_no_screen()
            try:
                import_module(module)
            except ModuleNotFoundError as error:
                if error.name != module:
                    raise
                raise UserError(f"{name} is in the package {module}, which is not installed: {install}") from error
            if module == "minigrid":
                import_module(".minigrid", __package__).register()
