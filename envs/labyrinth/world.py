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
    heading: Tensor  # [B] float32, radians in [-pi, pi]
    walls: Tensor  # [B, 2, H + 1, W + 1] uint8, texture, 0 open
    item_position: Tensor  # [B, I, 2] float32
    item_kind: Tensor  # [B, I] uint8, index into items.KINDS; 0 nothing there (now)
    home_kind: Tensor  # [B, I] uint8, what a map restart puts back there
    goal_cell: Tensor  # [B] int32, i * W + j with the map's own W; -1 none
    goal_distance: Tensor  # [B, cells] int32, path length in cells to the goal, -1 unreachable (levels that ask)
    spawn_cell: Tensor  # [B, S] int32, generated levels' start cells, -1 unused
    object_cell: Tensor  # [B, O] int32, generated levels' object cells, -1 unused
    tick: Tensor  # [B] int32, simulator ticks since the episode began
    restarts: Tensor  # [B] int32, times the map restarted in this episode
    reward: Tensor  # [B] float32, of the last step
    discount: Tensor  # [B] float32, of the last step
    first: Tensor  # [B] bool, the last step began an episode
    last: Tensor  # [B] bool, the last step ended one
    episode: Tensor  # [B] int64, episodes begun by this environment
    draw: Tensor  # [B] int32, random numbers drawn in this episode
    seed: Tensor  # [B] int64
    env_index: Tensor  # [B] int64, global environment index: keys the random stream with seed, episode and draw
    task: Tensor  # [B] int64, row of Tables


class Tables(NamedTuple):
    """The numbers of K levels, one row each. Never changes; every environment reads the row of its task."""

    # the map
    cell_size: Tensor  # [K] float32, map units
    height: Tensor  # [K] int32, cells
    width: Tensor  # [K] int32, cells
    walls: Tensor  # [K, 2, H + 1, W + 1] uint8
    visit_size: Tensor  # [K] float32, side of the squares that info["cell"] counts, map units
    # motion
    tick_seconds: Tensor  # [K] float32
    radius: Tensor  # [K] float32, half the side of the agent's box
    speed: Tensor  # [K] float32, wished for by a move, units a second
    friction: Tensor  # [K] float32, a second
    acceleration: Tensor  # [K] float32, a second
    stop_speed: Tensor  # [K] float32, units a second, below which friction no longer weakens
    actions: Tensor  # [K, A, 3] float32: forward, strafe to the right, turn to the left in radians a tick
    # rules
    max_ticks: Tensor  # [K] int32
    tick_reward: Tensor  # [K] float32, for being alive
    restart_when_cleared: Tensor  # [K] int32, 1: the map restarts when nothing worth having is left
    start: Tensor  # [K] int32, one of tables.START_*
    starts: Tensor  # [K, S, 3] float32: x, y, heading (RANDOM_HEADING: drawn)
    num_starts: Tensor  # [K] int32
    exit: Tensor  # [K, 3] float32: x, y, heading, where portals lead
    start_distance: Tensor  # [K] int32, path length in cells to the goal that a start must exceed
    goal: Tensor  # [K] int32, one of tables.GOAL_*
    goal_kind: Tensor  # [K] int32, what stands in a drawn goal cell
    apple_share: Tensor  # [K] float32, share of the other cells that get an apple (drawn goals)
    item_position: Tensor  # [K, I, 2] float32, fixed items
    item_kind: Tensor  # [K, I] uint8
    # the maze generator, used where rooms > 0
    rooms: Tensor  # [K] int32, at most
    room_min: Tensor  # [K] int32, cells, odd
    room_max: Tensor  # [K] int32, cells, odd
    extra_connections: Tensor  # [K] float32, probability of opening a connector that nothing needs
    room_starts: Tensor  # [K] int32, start cells a room
    room_objects: Tensor  # [K] int32, object cells a room
    wall_texture: Tensor  # [K] int32
    decal_share: Tensor  # [K] float32, share of the walls that wear a decal
    first_decal: Tensor  # [K] int32, texture
    num_decals: Tensor  # [K] int32
