"""Copies of worlds in which the oracle evaluates its plans."""

from __future__ import annotations

from typing import Protocol

import torch
import warp as wp
from torch import Tensor

from ..kernels.arrays import Levels, Worlds, view, view_all
from ..kernels.items import kinds_table
from ..kernels.rules import step_worlds
from ..level import REPEAT, Level
from ..world import Tables, World


class Simulated(Protocol):
    """The parts of Labyrinth that an oracle reads."""

    num_envs: int
    device: torch.device
    levels: list[Level]
    tables: Tables
    world: World


class Imagination:
    """Copies of an environment's worlds, ``plans`` of each, to evaluate plans on."""

    def __init__(self, env: Simulated, plans: int) -> None:
        self.copies = plans
        self.world = World(*(x.repeat_interleave(plans, 0) for x in env.world))
        count = len(self.world.task)
        cells = int((env.tables.height * env.tables.width).max())
        self._scratch = torch.zeros(count, 2 * cells, dtype=torch.int32)
        self._kinds = torch.from_numpy(kinds_table())
        self._action = torch.zeros(count, dtype=torch.int64)
        self._flags = torch.zeros(count, dtype=torch.bool)
        self._numbers, self._pairs = torch.zeros(count), torch.zeros(count, 2)
        inputs = [view_all(Worlds, self.world), view_all(Levels, env.tables), view(self._kinds), view(self._scratch)]
        inputs += [view(self._action), view(self._flags), 0, REPEAT]
        unused = [self._numbers, self._numbers, self._flags, self._flags, self.world.task, self._pairs]
        unused += [self._numbers, torch.zeros_like(self._action)]
        self._unused = unused  # not read, but written by the kernel
        self.begin(env.world)
        self._step = wp.launch(step_worlds, count, inputs + [view(x) for x in unused], device="cpu", record_cmd=True)

    def begin(self, world: World, target: Tensor | None = None, half: float = 0) -> None:
        """Copy the current state of ``world``. A plan is also over, with reward 1, once it has led into the square
        around ``target`` [B * C, 2] of side 2 * ``half``.
        """
        self._target, self._half = target, half
        for copy, original in zip(self.world, world, strict=True):
            copy.view(-1, self.copies, *original.shape[1:]).copy_(original[:, None])
        self._restarts = world.restarts.repeat_interleave(self.copies)
        self.gain = torch.zeros(len(self._restarts))
        self.over = self.world.last.clone()
        self.since = torch.zeros(len(self._restarts))

    def play(self, plans: Tensor) -> None:
        """Continue with ``plans`` [C, H]. Updates ``gain``, the reward until the map restarted or the episode ended;
        ``over``, whether it did; ``since``, the number of steps since then: all [B * C].
        """
        now = self.world
        for actions in plans.T:
            self._action.view(-1, self.copies).copy_(actions)
            self._step.launch()
            self.gain += torch.where(self.over, 0, now.reward)
            self.since += self.over
            if self._target is not None:
                arrived = ((now.position - self._target).abs() < self._half).all(-1)
                self.gain += arrived & ~self.over
                self.over |= arrived
            self.over |= now.last | (now.restarts != self._restarts)
