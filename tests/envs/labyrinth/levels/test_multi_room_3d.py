"""Chains of rooms with turns: as many rooms as asked for, apart but for one opening each, new in every episode."""

import numpy as np
import pytest
import torch

import morello
from morello.envs.errors import UserError
from morello.envs.labyrinth.kernels.items import KIND
from morello.envs.labyrinth.labyrinth import Labyrinth
from morello.envs.labyrinth.level import Blocks, DrawnGoal, Level, RoomChain
from morello.envs.labyrinth.levels import LEVELS
from morello.envs.labyrinth.levels.multi_room_3d import ROOM_WALLS
from morello.envs.labyrinth.textures import TEXTURES

from ....support.levels import cells, distances, labyrinth, put, wait

SIZES = ((2, 4), (4, 5), (6, 5), (7, 4))
B = 200


def name(rooms: int, size: int) -> str:
    return f"multi_room_3d_{rooms}_{size}"


def room_of(walls: np.ndarray, start: tuple[int, int]) -> set[tuple[int, int]]:
    """Cells that one gets to from ``start`` without setting foot on an opening, which has walls on two opposite sides
    and only there.
    """
    inner, found = [start], {start}
    while inner:
        i, j = inner.pop()
        for a, b, wall in (
            (i, j - 1, walls[0, i, j]),
            (i, j + 1, walls[0, i, j + 1]),
            (i - 1, j, walls[1, i, j]),
            (i + 1, j, walls[1, i + 1, j]),
        ):
            if not wall and (a, b) not in found and not is_opening(walls, (a, b)):
                found.add((a, b))
                inner.append((a, b))
    return found


def is_opening(walls: np.ndarray, cell: tuple[int, int]) -> bool:
    i, j = cell
    pair = TEXTURES["plaster_pink"]
    return bool((walls[0, i, j] == walls[0, i, j + 1] == pair) or (walls[1, i, j] == walls[1, i + 1, j] == pair))


@pytest.mark.parametrize(("rooms", "size"), SIZES)
def test_chains_have_their_rooms_and_one_opening_between_any_two(rooms: int, size: int) -> None:
    env = labyrinth(name(rooms, size), B, seed=3)
    starts, goals = cells(env.world.position, 80), cells(env.world.item_position[:, 0], 80)
    turned = 0
    for b in range(B):
        walls = env.world.walls[b].numpy()
        way = distances(walls, starts[b])
        free = way >= 0
        assert not free[[0, -1]].any()
        assert not free[:, [0, -1]].any()
        left = {(int(i), int(j)) for i, j in np.argwhere(free)}
        openings = {cell for cell in left if is_opening(walls, cell)}
        assert len(openings) == rooms - 1
        left -= openings
        found = []
        while left:
            found.append(room_of(walls, min(left)))
            left -= found[-1]
        assert len(found) == rooms
        for room in found:
            rows, columns = ({cell[axis] for cell in room} for axis in (0, 1))
            assert len(room) == len(rows) * len(columns), "a rectangle"
            assert 2 <= min(len(rows), len(columns)) <= max(len(rows), len(columns)) <= size - 2
            textures = {int(t) for i, j in room for t in (*walls[0, i, j : j + 2], *walls[1, i : i + 2, j]) if t}
            assert len(textures) == 1, "walls of one kind"
            assert textures <= {TEXTURES[wall] for wall in ROOM_WALLS}
        order = sorted(found, key=lambda room: min(way[cell] for cell in room))
        assert starts[b] in order[0]
        assert goals[b] in order[-1], "in the last"
        turned += len({(walls[0, i, j] > 0) for i, j in openings}) == 2
    assert turned > (B / 4 if rooms > 2 else -1), "some chains go on in another direction"


@pytest.mark.parametrize(("rooms", "size"), SIZES)
def test_every_chain_is_complete(rooms: int, size: int) -> None:
    """In so many draws that one which the attempts did not suffice for would show."""
    env = labyrinth(name(rooms, size), 2000, seed=11)
    side = LEVELS[name(rooms, size)].layout.height
    numbers = env._scratch[:, : side * side]
    assert (numbers.amax(1) == rooms + 1).all()
    assert all((numbers == n).any(1).all() for n in range(1, rooms + 2))
    assert ((numbers == rooms + 1).sum(1) == rooms - 1).all()


def test_the_vest_ends_the_episode_and_the_next_has_other_rooms() -> None:
    env = labyrinth(name(4, 5), 50)
    assert (env.world.item_kind[:, 0] == KIND["vest"]).all()
    before = env.world.walls.clone()
    put(env, env.world.item_position[:, 0])
    now = wait(env, 0)
    assert (now.reward == 1).all()
    assert now.last.all()
    assert (now.discount == 0).all()
    assert wait(env, 0).first.all()
    assert (env.world.walls != before).flatten(1).any(1).all()
    assert len({walls.numpy().tobytes() for walls in env.world.walls}) == 50


def test_a_chain_depends_neither_on_company_nor_on_what_shares_the_batch() -> None:
    many = labyrinth(name(6, 5), 5, seed=7)
    alone = morello.make(f"labyrinth:{name(6, 5)}", 1, seed=7, env_offset=4, frame_size=(1, 1))
    mixed = morello.make(f"labyrinth:{name(6, 5)}+{name(7, 4)}", 5, seed=7, frame_size=(1, 1))
    for env in (alone, mixed):
        assert isinstance(env, Labyrinth)
        env.reset()
        assert torch.equal(env.world.walls[-1], many.world.walls[4])
        assert torch.equal(env.world.position[-1], many.world.position[4])
        assert torch.equal(env.world.item_position[-1], many.world.item_position[4])


@pytest.mark.parametrize(("rooms", "size"), SIZES)
def test_the_oracle_gets_there(rooms: int, size: int) -> None:
    env = morello.make(f"labyrinth:{name(rooms, size)}", 8, seed=2, frame_size=(1, 1))
    player, now = env.oracle(), env.reset()
    found, over = torch.zeros(8), torch.zeros(8, dtype=torch.bool)
    while not over.all():
        now = env.step(player(now))
        found += torch.where(over, 0, now.reward)
        over |= now.last
    assert found.mean() > 0.8


def test_walls_of_rooms_are_consecutive_textures() -> None:
    numbers = [TEXTURES[wall] for wall in ROOM_WALLS]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_impossible_chains_are_refused() -> None:
    chain, goal = RoomChain(9, 9, 3), DrawnGoal("vest")
    options = {"name": "mine", "summary": "", "seconds": 1}
    Level(**options, layout=chain, goal=goal, decals=ROOM_WALLS)
    with pytest.raises(UserError, match="mine: a RoomChain needs a goal"):
        Level(**options, layout=chain, decals=ROOM_WALLS)
    with pytest.raises(UserError, match="two decals"):
        Level(**options, layout=chain, goal=goal, decals=ROOM_WALLS[:1])
    with pytest.raises(UserError, match="mine: a RoomChain ignores items"):
        Level(**options, layout=chain, goal=goal, decals=ROOM_WALLS, starts=((50, 50, 0),))
    with pytest.raises(UserError, match="rock"):
        Level(**options, layout=Blocks("###"), goal=goal)
    for wrong in ({"room_max": 8}, {"room_min": 4}, {"rooms": 0}, {"room_min": 0}):
        with pytest.raises(ValueError, match="rooms must fit"):
            RoomChain(**{"height": 9, "width": 9, "rooms": 3} | wrong)
