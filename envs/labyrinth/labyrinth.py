"""Labyrinth: thousands of first-person worlds, stepped and drawn at once by Warp kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import warp as wp
from numpy.typing import NDArray
from torch import Tensor

from ..arguments import as_action, as_mask
from ..cell_map import CellMap
from ..errors import UserError, suggest
from ..experience import Spec, Timestep
from ..rows import empty_timestep, leaves, matching_rows, write_rows
from ..vector_env import Player, VectorEnv
from .kernels.arrays import Levels, Worlds, view, view_all
from .kernels.items import kinds_table
from .kernels.pixels import MAX_PIXELS
from .kernels.render import look_row, render, render_depth
from .kernels.rules import step_worlds
from .launcher import Launcher
from .level import REPEAT, Level
from .levels import LEVELS
from .maps import visit_map
from .tables import compile_levels, have_goals, new_world
from .textures import TEXTURES, texture_table
from .topdown import topdown

ROWS = ("reward", "discount", "first", "last", "task", "position", "heading", "cell")
"""What `step_worlds` answers, in its order."""


class Labyrinth(VectorEnv):
    """B environments of one level, or of several: environment i plays ``levels[i % K]``, i being its global index.

    ``threads`` parts of the batch run side by side on a CPU (default: torch's threads). ``env_offset`` is the global
    index of environment 0; with the seed it decides every episode, whatever else shares the batch. ``info`` holds
    ``position`` [B, 2] in map units, ``heading`` [B] in radians, and ``cell`` [B], the number below ``num_cells`` of
    the square of the floor the agent stands on. ``depth`` adds an observation: map units along the view direction.
    ``time_limit``, in steps, takes the place of the levels' own. A level's television is added by `making.make_levels`.
    """

    capturable = True  # on CUDA, step may be recorded in a graph: it neither waits nor allocates

    def __init__(
        self,
        levels: list[str],
        num_envs: int = 1,
        device: str | torch.device = "cpu",
        seed: int = 0,
        *,
        frame_size: tuple[int, int] = (84, 84),
        threads: int | None = None,
        env_offset: int = 0,
        depth: bool = False,
        time_limit: int | None = None,
    ) -> None:
        for name in levels:
            if name not in LEVELS:
                raise UserError(f"labyrinth has no level {name!r}; {suggest(name, LEVELS)}")
        height, width = frame_size
        if min(num_envs, height, width, 1 if threads is None else threads) < 1:
            raise UserError("num_envs, frame_size and threads must be at least 1")
        if height * width > MAX_PIXELS:
            raise UserError(f"a frame of {height} x {width} has more than {MAX_PIXELS} pixels; make it smaller")
        self.levels = [_lasting(LEVELS[name], time_limit) for name in levels]
        actions = tuple(self.levels[0].actions)
        for level in self.levels:
            if tuple(level.actions) != actions:
                raise UserError(f"{levels[0]} and {level.name} have different actions and cannot share a batch")
        self.num_envs = num_envs
        self.device = torch.device(device)
        self.tables = compile_levels(self.levels, self.device)
        self.spec = Spec(
            observation={"image": ((height, width, 3), torch.uint8)}
            | ({"depth": ((height, width), torch.float32)} if depth else {}),
            num_actions=len(actions),
            action_names=actions,
            tasks=tuple(levels),
            frames_per_step=REPEAT,
            max_steps=max(level.max_steps for level in self.levels),
            resumable=True,
            success=have_goals(self.tables),
        )
        self._maps = [visit_map(level) for level in self.levels]
        self.num_cells = max(plan.rows * plan.columns for plan in self._maps)
        self.world = new_world(self.tables, num_envs, seed, env_offset)
        cells = int((self.tables.height * self.tables.width).max())
        self._scratch = torch.zeros(num_envs, 2 * cells, dtype=torch.int32, device=self.device)
        self._look = torch.tensor([_look(level) for level in self.levels], device=self.device)
        self._kinds = torch.from_numpy(kinds_table()).to(self.device)
        self._textures = torch.from_numpy(texture_table().copy()).to(self.device)
        self._action = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        self._chosen = torch.zeros(num_envs, dtype=torch.bool, device=self.device)
        zeros = torch.zeros(num_envs, device=self.device)
        info = {"position": zeros.new_zeros(num_envs, 2), "heading": zeros, "cell": zeros.long()}
        self._own = empty_timestep(self.spec, num_envs, self.device, **info)
        self._launcher = Launcher(num_envs, self.device, threads)
        self._started = False

    def reset(self, seed: int | Tensor | None = None, mask: Tensor | None = None) -> Timestep:
        """Begin episodes: everywhere, or where ``mask`` [B] is True. ``seed``, one for all or one each [B], restarts
        the random streams there.
        """
        if mask is None:
            self._chosen.fill_(True)
        else:
            mask = as_mask(mask, self.num_envs, self.device)
            if not self._started and not mask.all():
                raise UserError("reset every environment before resetting only some")
            self._chosen.copy_(mask)
        if seed is not None:
            seeds = torch.as_tensor(seed, device=self.device).expand(self.num_envs)
            self.world.seed.copy_(torch.where(self._chosen, seeds, self.world.seed))
            self.world.episode.masked_fill_(self._chosen, 0)
        self._started = True
        self._run(self._own, resetting=True)
        return write_rows(self._own, None, self.device)

    def step(self, action: Tensor, out: Timestep | None = None) -> Timestep:
        """Act: ``action`` [B] int64. Environments that ended begin a new episode instead."""
        if not self._started:
            raise UserError("reset the environment before its first step")
        self._action.copy_(as_action(action, self.num_envs, self.spec.num_actions, self.device))
        self._run(self._own if out is None else out, resetting=False)  # into fresh memory it would be recorded again
        return write_rows(self._own, None, self.device) if out is None else out

    def stagger(self) -> None:
        """Advance the clocks of the current episodes by 0 to B - 1 parts in B of their level's time limit."""
        limit = self.tables.max_ticks[self.world.task] // REPEAT
        steps = torch.arange(self.num_envs, device=self.device) * limit // self.num_envs
        self.world.tick.copy_(steps * REPEAT)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that decides the future."""
        return {name: tensor.clone() for name, tensor in self.world._asdict().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from ``state_dict`` of an environment made with the same levels and number of environments."""
        for name, tensor in self.world._asdict().items():
            if state[name].shape != tensor.shape:
                raise UserError(f"saved {name} is {list(state[name].shape)}, this environment's {list(tensor.shape)}")
        for name, tensor in self.world._asdict().items():
            tensor.copy_(state[name])
        self._started = bool((self.world.episode > 0).all())

    def top_view(self, height: int, width: int, trail: NDArray[np.float32], heat: bool = False) -> NDArray[np.uint8]:
        """Draw the map of environment 0 and where it has been."""
        return topdown(self.world, self.tables, 0, height, width, trail, heat)

    def cell_map(self, task: int = 0) -> CellMap:
        """Return the squares of a level's floor, and its walls if they are the same in every episode."""
        return self._maps[task]

    def oracle(self) -> Player:
        """Return the scripted player, which sees the map."""
        from .oracle.player import Oracle

        return Oracle(self).act

    def close(self) -> None:
        """End the worker threads."""
        self._launcher.close()

    def _run(self, out: Timestep, resetting: bool) -> None:
        outputs = leaves(out)

        def record(part: slice) -> list[Any]:
            own_rows = leaves(self._own)
            matching_rows(own_rows, out)
            for name, own in own_rows.items():
                if outputs[name].device != own.device:
                    raise UserError(f"out needs {name} as {own.dtype} {list(own.shape)} on {own.device}")
            w = view_all(Worlds, self.world, part)
            kinds = view(self._kinds)
            rows = [view(outputs[name][part]) for name in ROWS]
            image, *depth = (view(outputs[name][part]) for name in self.spec.observation)
            step = [w, view_all(Levels, self.tables), kinds, view(self._scratch[part]), view(self._action[part])]
            step += [view(self._chosen[part]), int(resetting), REPEAT, *rows]
            seen = [w.position, w.heading, w.walls, w.item_position, w.item_kind, w.task, view(self._look), kinds]
            count, device = part.stop - part.start, wp.device_from_torch(self.device)
            columns = (count, image.shape[2])
            drawn = [(render, [*seen, view(self._textures), image]), *((render_depth, [*seen, d]) for d in depth)]
            return [
                wp.launch(step_worlds, count, step, device=device, record_cmd=True),
                *(wp.launch(kernel, columns, given, device=device, record_cmd=True) for kernel, given in drawn),
            ]

        self._launcher.run((int(resetting), *(tensor.data_ptr() for tensor in outputs.values())), record)


def _lasting(level: Level, steps: int | None) -> Level:
    """``level`` with episodes of so many steps of the agent at the most."""
    return level if steps is None else replace(level, seconds=steps * REPEAT / level.physics.hz)


def _look(level: Level) -> list[float]:
    ceiling = TEXTURES[level.ceiling] if level.ceiling else 0
    return look_row(level.layout.cell, level.wall_height, level.eye_height, TEXTURES[level.floor], ceiling)
