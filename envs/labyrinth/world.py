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

from typing import Annotated, NamedTuple, TypeAlias, get_type_hints

from torch import Tensor

# Of numbers that torch, NumPy and Warp call by the same name.
Floats: TypeAlias = Annotated[Tensor, "float32"]
Ints: TypeAlias = Annotated[Tensor, "int32"]
Longs: TypeAlias = Annotated[Tensor, "int64"]
Bools: TypeAlias = Annotated[Tensor, "bool"]
Bytes: TypeAlias = Annotated[Tensor, "uint8"]


class World(NamedTuple):
    """Everything that decides the future of B environments. Batch-first; thread parts are slices of it.

    A field is declared here and nowhere else: ``Annotated[Floats, "items", 2]`` is [B, items, 2] float32. `new_world`
    makes tensors of these, and kernels see arrays of them, by the same names.
    """

    position: Annotated[Floats, 2]  # map units
    velocity: Annotated[Floats, 2]  # map units a second
    heading: Floats  # radians in [-pi, pi]
    walls: Annotated[Bytes, 2, "H + 1", "W + 1"]  # texture, 0 open
    item_position: Annotated[Floats, "items", 2]
    item_kind: Annotated[Bytes, "items"]  # index into items.KINDS; 0 nothing there (now)
    home_kind: Annotated[Bytes, "items"]  # what a map restart puts back there
    goal_cell: Ints  # i * W + j with the map's own W; -1 none
    goal_distance: Annotated[Ints, "cells"]  # path length in cells to the goal, -1 unreachable (levels that ask)
    spawn_cell: Annotated[Ints, "starts"]  # generated levels' start cells, -1 unused
    object_cell: Annotated[Ints, "objects"]  # generated levels' object cells, -1 unused
    tick: Ints  # simulator ticks since the episode began
    restarts: Ints  # times the map restarted in this episode
    reward: Floats  # of the last step
    discount: Floats  # of the last step
    first: Bools  # the last step began an episode
    last: Bools  # the last step ended one
    episode: Longs  # episodes begun by this environment
    draw: Ints  # random numbers drawn in this episode
    seed: Longs
    env_index: Longs  # global environment index: keys the random stream with seed, episode and draw
    task: Longs  # row of Tables


class Tables(NamedTuple):
    """The numbers of K levels, one row each. Never changes; every environment reads the row of its task.

    ``Annotated[Floats, "starts", 3]`` is [K, starts, 3] float32. `compile_levels` says what is in a row.
    """

    # the map
    cell_size: Floats  # map units
    height: Ints  # cells
    width: Ints  # cells
    walls: Annotated[Bytes, 2, "H + 1", "W + 1"]
    visit_size: Floats  # side of the squares that info["cell"] counts, map units
    # motion
    tick_seconds: Floats
    radius: Floats  # half the side of the agent's box
    speed: Floats  # wished for by a move, units a second
    friction: Floats  # a second
    acceleration: Floats  # a second
    stop_speed: Floats  # units a second, below which friction no longer weakens
    actions: Annotated[Floats, "actions", 3]  # forward, strafe to the right, turn to the left in radians a tick
    # rules
    max_ticks: Ints
    tick_reward: Floats  # for being alive
    restart_when_cleared: Ints  # 1: the map restarts when nothing worth having is left
    start: Ints  # one of tables.START_*
    starts: Annotated[Floats, "starts", 3]  # x, y, heading (RANDOM_HEADING: drawn)
    num_starts: Ints
    exit: Annotated[Floats, 3]  # x, y, heading, where portals lead
    start_distance: Ints  # path length in cells to the goal that a start must exceed
    goal: Ints  # one of tables.GOAL_*
    goal_kind: Ints  # what stands in a drawn goal cell
    apple_share: Floats  # share of the other cells that get an apple (drawn goals)
    item_position: Annotated[Floats, "items", 2]  # fixed items
    item_kind: Annotated[Bytes, "items"]
    # the generators, used where rooms > 0
    rooms: Ints  # at most
    room_min: Ints  # cells; in mazes odd
    room_max: Ints  # cells; in mazes odd
    chain: Ints  # 1: rooms in a chain, which use what is above, wall_texture and decals; 0: a maze
    extra_connections: Floats  # probability of opening a connector that nothing needs
    room_starts: Ints  # start cells a room
    room_objects: Ints  # object cells a room
    wall_texture: Ints
    decal_share: Floats  # share of the walls that wear a decal
    first_decal: Ints  # texture
    num_decals: Ints


class Field(NamedTuple):
    """Dtype and shape of a field for each environment, or level."""

    dtype: str
    shape: tuple[int | str, ...]  # a name where the levels decide the size


def declared(tensors: type[World] | type[Tables]) -> dict[str, Field]:
    """Read the fields of ``tensors`` from their annotations."""
    hints = get_type_hints(tensors, include_extras=True)
    return {name: Field(hint.__metadata__[0], hint.__metadata__[1:]) for name, hint in hints.items()}
