"""Levels as rows of `world.Tables`, and worlds before their first episode."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .kernels.items import END, KIND, KINDS
from .level import REPEAT, DrawnGoal, Level, MazeGenerator, RoomChain
from .maps import plan
from .textures import TEXTURES
from .world import Field, Tables, World, declared

START_POINTS, START_FAR, START_ROOMS = 0, 1, 2
"""Where an agent starts: at one of the given points, in a cell far from the goal, in a generated start cell."""

GOAL_FIXED, GOAL_ANYWHERE, GOAL_ROOMS = 0, 1, 2
"""Where the goal is: where the items say, in any cell (drawn each episode), in a generated object cell."""


def compile_levels(levels: list[Level], device: torch.device) -> Tables:
    """Write down ``levels`` in the rows of `Tables`, padded to the largest of them."""
    rows, fields = [_row(level) for level in levels], declared(Tables)
    columns = {name: _padded([np.asarray(row[name], fields[name].dtype) for row in rows]) for name in rows[0]}
    return Tables(**{name: torch.from_numpy(column).to(device) for name, column in columns.items()})


def have_goals(tables: Tables) -> tuple[bool, ...]:
    """For each level whether something in it ends the episode and pays, even for a whole step's ticks."""
    ends = torch.tensor([kind.effect == END for kind in KINDS], device=tables.tick_reward.device)
    pays = torch.tensor([kind.reward for kind in KINDS], device=tables.tick_reward.device)
    drawn = torch.where(tables.goal == GOAL_FIXED, 0, tables.goal_kind)
    kinds = torch.cat([tables.item_kind.long(), drawn.long().unsqueeze(-1)], dim=-1)  # [K, I]; 0 is nothing
    goal = ends[kinds] & (pays[kinds] + REPEAT * tables.tick_reward.unsqueeze(-1) > 0)
    return tuple(goal.any(-1).tolist())


def new_world(tables: Tables, num_envs: int, seed: int, env_offset: int) -> World:
    """Make worlds before their first episode; environment i plays level ``(env_offset + i) % K``."""
    device = tables.cell_size.device
    cells = tables.height * tables.width
    far = tables.start == START_FAR
    drawn = (tables.goal != GOAL_FIXED) * (1 + (cells * tables.apple_share).int())
    sizes = {
        "H + 1": tables.walls.shape[2],
        "W + 1": tables.walls.shape[3],
        "items": max(tables.item_kind.shape[1], int(drawn.max())),
        "cells": max(1, int((cells * far).max())),
        "starts": max(1, int((tables.rooms * tables.room_starts).max())),
        "objects": max(1, int((tables.rooms * tables.room_objects).max())),
    }

    def zeros(field: Field) -> Tensor:
        shape = [sizes[size] if isinstance(size, str) else size for size in field.shape]
        return torch.zeros(num_envs, *shape, dtype=getattr(torch, field.dtype), device=device)

    world = World(**{name: zeros(field) for name, field in declared(World).items()})
    world.env_index.copy_(torch.arange(env_offset, env_offset + num_envs))
    world.task.copy_(world.env_index % len(cells))
    world.walls.copy_(tables.walls[world.task])
    world.discount.fill_(1)
    world.seed.add_(seed)
    for cell in (world.goal_cell, world.spawn_cell, world.object_cell):
        cell.fill_(-1)
    return world


def _row(level: Level) -> dict[str, Any]:
    """List what `Tables` holds of one level."""
    layout, physics, it = level.layout, level.physics, plan(level)
    rooms = layout if isinstance(layout, MazeGenerator | RoomChain) else None
    maze = layout if isinstance(layout, MazeGenerator) else None
    goal = level.goal or DrawnGoal()
    return {
        "cell_size": layout.cell,
        "height": it.open.shape[0],
        "width": it.open.shape[1],
        "walls": it.walls,
        "visit_size": level.visit_size or layout.cell,
        "tick_seconds": 1 / physics.hz,
        "radius": physics.radius,
        "speed": physics.speed,
        "friction": physics.friction,
        "acceleration": physics.acceleration,
        "stop_speed": physics.stop_speed,
        "actions": [(forward, strafe, np.deg2rad(turn)) for forward, strafe, turn in level.actions.values()],
        "max_ticks": level.max_ticks,
        "tick_reward": level.tick_reward,
        "restart_when_cleared": level.restart_when_cleared,
        "start": _start_rule(level),
        "starts": np.reshape(it.starts, (-1, 3)),
        "num_starts": len(it.starts),
        "exit": it.exit,
        "start_distance": level.start_distance,
        "goal": _goal_rule(level),
        "goal_kind": KIND[goal.kind],
        "apple_share": goal.apple_share,
        "item_position": np.reshape([place for _, *place in it.items], (-1, 2)),
        "item_kind": [KIND[kind] for kind, *_ in it.items],
        "rooms": rooms.rooms if rooms else 0,
        "room_min": rooms.room_min if rooms else 0,
        "room_max": rooms.room_max if rooms else 0,
        "chain": isinstance(layout, RoomChain),
        "extra_connections": maze.extra_connections if maze else 0,
        "room_starts": maze.room_starts if maze else 0,
        "room_objects": maze.room_objects if maze else 0,
        "wall_texture": TEXTURES[level.wall],
        "decal_share": level.decal_share,
        "first_decal": TEXTURES[level.decals[0]] if level.decals else 0,
        "num_decals": len(level.decals),
    }


def _start_rule(level: Level) -> int:
    if isinstance(level.layout, MazeGenerator | RoomChain):
        return START_ROOMS
    return START_FAR if level.start_distance else START_POINTS


def _goal_rule(level: Level) -> int:
    if level.goal is None:
        return GOAL_FIXED
    return GOAL_ROOMS if isinstance(level.layout, MazeGenerator | RoomChain) else GOAL_ANYWHERE


def _padded(rows: list[NDArray[Any]]) -> NDArray[Any]:
    """Stack arrays of different sizes, each in the low corner of its own row."""
    shape = np.max([row.shape for row in rows], axis=0, initial=1)
    out = np.zeros((len(rows), *shape), rows[0].dtype)
    for k, row in enumerate(rows):
        inside: tuple[int | slice, ...] = (k, *map(slice, row.shape))
        out[inside] = row
    return out
