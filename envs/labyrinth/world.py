"""The state of B worlds as plain tensors, and the numbers of a level as rows of tables.

Units: lengths in map units (a DeepMind-Lab cell is 100, an agent box 30 wide), time in ticks of the simulator
(``hz`` a second), angles in radians, counter-clockwise from +x, y pointing up (north) on the map. The agent looks
along ``(cos heading, sin heading)``; its right is ``(sin heading, -cos heading)``.

A map is a grid of H x W square cells whose *edges* carry walls, so that thin-walled mazes and solid blocks are one
thing. ``walls[b, 0, i, j]`` is the texture of the wall on the line ``x = j * cell`` along row i, between cells
``(i, j - 1)`` and ``(i, j)``; ``walls[b, 1, i, j]`` that on the line ``y = i * cell`` along column j, between cells
``(i - 1, j)`` and ``(i, j)``; 0 is no wall. Cell ``(i, j)`` spans ``x`` in ``[j, j + 1] * cell`` and ``y`` in
``[i, i + 1] * cell``. Both planes are (H + 1) x (W + 1); the unused last row of plane 0 and last column of
plane 1 stay 0. Smaller maps of a mixed batch sit in the low corner.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class World(NamedTuple):
    """Everything that decides the future of B environments. Batch-first; thread parts are slices of it."""

    position: Tensor  # [B, 2] float32, map units
    velocity: Tensor  # [B, 2] float32, map units a second
    heading: Tensor  # [B] float32, radians in [-pi, pi)
    walls: Tensor  # [B, 2, H + 1, W + 1] uint8, texture, 0 open
    item_position: Tensor  # [B, I, 2] float32
    item_kind: Tensor  # [B, I] uint8, index into items.KINDS; 0 nothing there (now)
    home_kind: Tensor  # [B, I] uint8, what a map restart puts back there
    goal_cell: Tensor  # [B] int32, i * W + j, -1 none
    goal_distance: Tensor  # [B, H, W] int32, path length in cells to the goal, -1 unreachable
    spawn_cell: Tensor  # [B, S] int32, generated levels' start cells, -1 unused
    object_cell: Tensor  # [B, O] int32, generated levels' object cells, -1 unused
    tick: Tensor  # [B] int32, simulator ticks since the episode began
    episode: Tensor  # [B] int64, episodes begun by this environment
    draw: Tensor  # [B] int32, random numbers drawn in this episode
    seed: Tensor  # [B] int64
    index: Tensor  # [B] int64, global environment index: keys the random stream with seed, episode and draw
    task: Tensor  # [B] int64
    last: Tensor  # [B] bool
