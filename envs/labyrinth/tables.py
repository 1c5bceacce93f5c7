"""Levels as rows of `world.Tables`, and worlds before their first episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .kernels.items import END, KIND, KINDS
from .level import REPEAT, DrawnGoal, Level, MazeGenerator
from .maps import plan
from .textures import TEXTURES
from .world import Tables, World

START_POINTS, START_FAR, START_ROOMS = 0, 1, 2
"""Where an agent starts: at one of the given points, in a cell far from the goal, in a generated start cell."""

GOAL_FIXED, GOAL_ANYWHERE, GOAL_ROOMS = 0, 1, 2
"""Where the goal is: where the items say, in any cell (drawn each episode), in a generated object cell."""


def compile_levels(levels: list[Level], device: torch.device) -> Tables:
    """The rows of `Tables`, padded to the largest of ``levels``."""
    plans = [plan(level) for level in levels]
    physics = [level.physics for level in levels]
    mazes = [level.layout if isinstance(level.layout, MazeGenerator) else None for level in levels]
    goals = [level.goal or DrawnGoal() for level in levels]

    def floats(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    def ints(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int32, device=device)

    def padded(rows: Sequence[NDArray[Any]]) -> Tensor:
        shape = np.maximum(np.max([row.shape for row in rows], axis=0), 1)
        out = np.zeros((len(rows), *shape), rows[0].dtype)
        for k, row in enumerate(rows):
            inside: tuple[slice, ...] = tuple(map(slice, row.shape))
            out[k][inside] = row
        return torch.from_numpy(out).to(device)

    return Tables(
        cell_size=floats([level.layout.cell for level in levels]),
        height=ints([p.open.shape[0] for p in plans]),
        width=ints([p.open.shape[1] for p in plans]),
        walls=padded([p.walls for p in plans]),
        visit_size=floats([level.visit_size or level.layout.cell for level in levels]),
        tick_seconds=floats([1 / p.hz for p in physics]),
        radius=floats([p.radius for p in physics]),
        speed=floats([p.speed for p in physics]),
        friction=floats([p.friction for p in physics]),
        acceleration=floats([p.acceleration for p in physics]),
        stop_speed=floats([p.stop_speed for p in physics]),
        actions=padded([_actions(level) for level in levels]),
        max_ticks=ints([level.max_ticks for level in levels]),
        tick_reward=floats([level.tick_reward for level in levels]),
        restart_when_cleared=ints([int(level.restart_when_cleared) for level in levels]),
        start=ints([_start_rule(level) for level in levels]),
        starts=padded([np.array(p.starts, np.float32).reshape(-1, 3) for p in plans]),
        num_starts=ints([len(p.starts) for p in plans]),
        exit=padded([np.array(p.exit, np.float32) for p in plans]),
        start_distance=ints([level.start_distance for level in levels]),
        goal=ints([_goal_rule(level) for level in levels]),
        goal_kind=ints([KIND[goal.kind] for goal in goals]),
        apple_share=floats([goal.apple_share for goal in goals]),
        item_position=padded([np.array([i[1:] for i in p.items], np.float32).reshape(-1, 2) for p in plans]),
        item_kind=padded([np.array([KIND[i[0]] for i in p.items], np.uint8) for p in plans]),
        rooms=ints([m.rooms if m else 0 for m in mazes]),
        room_min=ints([m.room_min if m else 0 for m in mazes]),
        room_max=ints([m.room_max if m else 0 for m in mazes]),
        extra_connections=floats([m.extra_connections if m else 0 for m in mazes]),
        room_starts=ints([m.room_starts if m else 0 for m in mazes]),
        room_objects=ints([m.room_objects if m else 0 for m in mazes]),
        wall_texture=ints([TEXTURES[level.wall] for level in levels]),
        decal_share=floats([level.decal_share for level in levels]),
        first_decal=ints([TEXTURES[level.decals[0]] if level.decals else 0 for level in levels]),
        num_decals=ints([len(level.decals) for level in levels]),
    )


def have_goals(tables: Tables) -> tuple[bool, ...]:
    """For each level whether something in it ends the episode and pays, even for a whole step's ticks."""
    ends = torch.tensor([kind.effect == END for kind in KINDS], device=tables.tick_reward.device)
    pays = torch.tensor([kind.reward for kind in KINDS], device=tables.tick_reward.device)
    drawn = torch.where(tables.goal == GOAL_FIXED, 0, tables.goal_kind)
    kinds = torch.cat([tables.item_kind.long(), drawn.long().unsqueeze(-1)], dim=-1)  # [K, I]; 0 is nothing
    goal = ends[kinds] & (pays[kinds] + REPEAT * tables.tick_reward.unsqueeze(-1) > 0)
    return tuple(goal.any(-1).tolist())


def new_world(tables: Tables, num_envs: int, seed: int, env_offset: int) -> World:
    """Worlds before their first episode; environment i plays level ``(env_offset + i) % K``."""
    device = tables.cell_size.device
    cells = tables.height * tables.width
    far = tables.start == START_FAR
    drawn = (tables.goal != GOAL_FIXED) * (1 + (cells * tables.apple_share).int())
    index = torch.arange(env_offset, env_offset + num_envs, device=device)
    task = index % len(cells)

    def zeros(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
        return torch.zeros(num_envs, *shape, dtype=dtype, device=device)

    items = max(tables.item_kind.shape[1], int(drawn.max()))
    return World(
        position=zeros(2, dtype=torch.float32),
        velocity=zeros(2, dtype=torch.float32),
        heading=zeros(dtype=torch.float32),
        walls=tables.walls[task].contiguous(),
        item_position=zeros(items, 2, dtype=torch.float32),
        item_kind=zeros(items, dtype=torch.uint8),
        home_kind=zeros(items, dtype=torch.uint8),
        goal_cell=zeros() - 1,
        goal_distance=zeros(max(1, int((cells * far).max()))),
        spawn_cell=zeros(max(1, int((tables.rooms * tables.room_starts).max()))) - 1,
        object_cell=zeros(max(1, int((tables.rooms * tables.room_objects).max()))) - 1,
        tick=zeros(),
        restarts=zeros(),
        reward=zeros(dtype=torch.float32),
        discount=zeros(dtype=torch.float32) + 1,
        first=zeros(dtype=torch.bool),
        last=zeros(dtype=torch.bool),
        episode=zeros(dtype=torch.int64),
        draw=zeros(),
        seed=zeros(dtype=torch.int64) + seed,
        env_index=index,
        task=task,
    )


def _actions(level: Level) -> NDArray[np.float32]:
    return np.array([(f, s, np.deg2rad(t)) for f, s, t in level.actions.values()], np.float32)


def _start_rule(level: Level) -> int:
    if isinstance(level.layout, MazeGenerator):
        return START_ROOMS
    return START_FAR if level.start_distance else START_POINTS


def _goal_rule(level: Level) -> int:
    if level.goal is None:
        return GOAL_FIXED
    return GOAL_ROOMS if isinstance(level.layout, MazeGenerator) else GOAL_ANYWHERE
