"""The agent's box moves as Quake's and Doom's do, and never into a wall."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import morello
from morello.envs.labyrinth.labyrinth import Labyrinth
from morello.envs.labyrinth.level import DOOM, LAB_ACTIONS, QUAKE, Action, Level, Physics, ThinWalls
from morello.envs.labyrinth.levels import LEVELS
from morello.envs.labyrinth.levels.nav_maze import MAZE_1
from morello.envs.labyrinth.maps import plan

Segments = list[tuple[int, float, float, float]]  # axis the wall stands across, where, from, to


def labyrinth(name: str, num_envs: int, seed: int = 0) -> Labyrinth:
    env = morello.make(f"labyrinth:{name}", num_envs, seed=seed, frame_size=(1, 1))
    assert isinstance(env, Labyrinth)
    env.reset()
    return env


def segments(walls: NDArray[np.uint8], cell: float) -> Segments:
    found = []
    for axis, i, j in np.argwhere(walls):
        line, along = (j, i) if axis == 0 else (i, j)
        found.append((int(axis), line * cell, along * cell, (along + 1) * cell))
    return found


def tick(
    position: NDArray, velocity: NDArray, heading: float, action: Action, p: Physics, walls: Segments
) -> tuple[NDArray, NDArray, float, bool]:
    """One tick, written from the rules: turn, friction, acceleration, then each axis on its own; and whether it met a
    wall.
    """
    heading += math.radians(action[2])
    wish = action[0] * np.array([math.cos(heading), math.sin(heading)])
    wish = wish + action[1] * np.array([math.sin(heading), -math.cos(heading)])
    wish_speed = p.speed if np.linalg.norm(wish) > 0 else 0.0
    wish = wish / (np.linalg.norm(wish) or 1)
    speed = float(np.linalg.norm(velocity))
    velocity = velocity * (0 if speed < 1 else max(0, speed - max(speed, p.stop_speed) * p.friction / p.hz) / speed)
    missing = wish_speed - velocity @ wish
    velocity = velocity + wish * max(0, min(missing, p.acceleration * p.speed / p.hz))
    position, met = position.copy(), False
    for axis in (0, 1):
        step, other = velocity[axis] / p.hz, position[1 - axis]
        limit = abs(step)
        for across, where, start, stop in walls:
            if across == axis:
                ahead = (where - position[axis]) * np.sign(step)
                meets = start < other + p.radius and other - p.radius < stop
            else:
                tip = start if step > 0 else stop
                ahead, meets = (tip - position[axis]) * np.sign(step), abs(where - other) < p.radius - 1e-4
            if meets and ahead - p.radius > -1e-3:
                limit = min(limit, max(0.0, ahead - p.radius))
        position[axis] += np.sign(step) * limit
        if limit < abs(step) - 1e-9:
            velocity[axis], met = 0, True
    return position, velocity, heading, met


@pytest.mark.parametrize("name", ["nav_maze_static_01", "seekavoid_arena_01", "my_way_home_dense"])
def test_a_step_equals_four_ticks_of_the_plain_rules(name: str) -> None:
    B, env, level = 5, labyrinth(name, 5, seed=3), LEVELS[name]
    walls = segments(plan(level).walls, level.layout.cell)
    table = list(level.actions.values())
    rng = np.random.default_rng(1)
    env.world.home_kind.zero_()  # nothing to pick up: only motion
    env.world.item_kind.zero_()
    hits, actions = 0, rng.integers(len(table), size=B)
    for _ in range(150):
        actions = np.where(rng.random(B) < 0.2, rng.integers(len(table), size=B), actions)
        before = [x.double().numpy().copy() for x in (env.world.position, env.world.velocity, env.world.heading)]
        env.step(torch.from_numpy(actions))
        for b in range(B):
            position, velocity, heading, touched = before[0][b], before[1][b], float(before[2][b]), False
            for _ in range(4):
                position, velocity, heading, met = tick(
                    position, velocity, heading, table[actions[b]], level.physics, walls
                )
                touched |= met
            np.testing.assert_allclose(env.world.position[b], position, atol=3e-3)
            np.testing.assert_allclose(env.world.velocity[b], velocity, atol=0.05)
            assert math.isclose(math.cos(env.world.heading[b] - heading), 1, abs_tol=1e-6)
            hits += touched
    assert hits > 20, "the test should run into walls"


def test_quakes_first_step_and_top_speed_by_hand() -> None:
    env = labyrinth("seekavoid_arena_01", 1)
    env.world.home_kind.zero_()
    env.world.item_kind.zero_()
    env.world.position[:] = torch.tensor([400.0, 60.0])
    env.step(torch.tensor([0]))
    # 53.33 a tick; friction takes 10 of what is slower than 100, a tenth of what is faster
    speeds = [160 / 3, 160 / 3 - 10 + 160 / 3, 140.0, 140 * 0.9 + 160 / 3]
    assert env.world.velocity[0].tolist() == pytest.approx([0, speeds[-1]], abs=1e-3)
    assert env.world.position[0].tolist() == pytest.approx([400, 60 + sum(speeds) / 60], abs=1e-3)
    for _ in range(6):
        env.step(torch.tensor([0]))
    assert env.world.velocity[0].tolist() == pytest.approx([0, 320], abs=0.01)
    y = float(env.world.position[0, 1])
    env.step(torch.tensor([0]))
    assert float(env.world.position[0, 1]) - y == pytest.approx(4 * 320 / 60, abs=1e-3)
    env.step(torch.tensor([8]))  # firing is no move: friction alone
    assert float(env.world.velocity[0, 1]) == pytest.approx(320 * 0.9**4, abs=1e-2)


def test_dooms_thrust_by_hand() -> None:
    env = labyrinth("my_way_home_sparse", 1)
    env.step(torch.tensor([1]))
    thrust, keep = 25 * 2048 / 65536, 0.90625
    momenta = [thrust * sum(keep**i for i in range(n)) for n in (1, 2, 3, 4)]
    assert env.world.position[0].tolist() == pytest.approx([80 + sum(momenta), 528], abs=1e-3)
    for _ in range(30):
        env.world.position[0, 0] = 80.0
        env.step(torch.tensor([1]))
    assert env.world.velocity[0].tolist() == pytest.approx([thrust / (1 - keep) * 35, 0], abs=1e-2)
    env.step(torch.tensor([2]))
    assert float(env.world.heading[0]) == pytest.approx(math.radians(14), abs=1e-5)


def test_look_turns_8_8_degrees_a_step_and_wraps() -> None:
    env = labyrinth("seekavoid_arena_01", 1)
    for n in range(1, 50):
        env.step(torch.tensor([4]))
        expected = math.radians(90 + n * 8.8)
        assert -math.pi <= float(env.world.heading[0]) < math.pi
        assert math.cos(float(env.world.heading[0]) - expected) == pytest.approx(1, abs=1e-6)
    assert list(LAB_ACTIONS)[4] == "look_left"


def overlaps(position: NDArray, walls: NDArray, cell: NDArray, radius: NDArray) -> NDArray[np.bool_]:
    """Whether a box reaches more than rounding into a wall, by testing every wall of the map."""
    B = len(position)
    low, high = position - radius[:, None] + 2e-3, position + radius[:, None] - 2e-3
    hit = np.zeros(B, bool)
    for axis in (0, 1):
        which, i, j = np.nonzero(walls[:, axis])
        line, along = (j, i) if axis == 0 else (i, j)
        c = cell[which]
        across = (low[which, axis] < line * c) & (line * c < high[which, axis])
        beside = (low[which, 1 - axis] < (along + 1) * c) & (along * c < high[which, 1 - axis])
        np.logical_or.at(hit, which, across & beside)
    return hit


@pytest.mark.parametrize(
    ("levels", "num_envs", "steps"),
    [
        ("seekavoid_arena_01+nav_maze_static_01+nav_maze_random_goal_02+explore_goal_locations_small", 1000, 900),
        ("my_way_home_dense", 200, 530),
    ],
)
def test_walls_are_never_entered_in_a_million_steps(levels: str, num_envs: int, steps: int) -> None:
    env = labyrinth(levels, num_envs, seed=5)
    cell, radius = env.tables.cell_size[env.world.task].numpy(), env.tables.radius[env.world.task].numpy()
    generator = torch.Generator().manual_seed(0)
    n, action = env.spec.num_actions, torch.zeros(num_envs, dtype=torch.int64)
    crossed, seen = env.world.position.clone(), set()
    for t in range(steps):
        change = torch.rand(num_envs, generator=generator) < 0.15
        action = torch.where(change, torch.randint(n, (num_envs,), generator=generator), action)
        now = env.step(action)
        if t % 9 == 0:  # every ninth is tested against every wall; in between a box cannot pass a wall unseen ...
            assert not overlaps(env.world.position.numpy(), env.world.walls.numpy(), cell, radius).any()
        stride = (now.info["position"] - crossed).abs().amax(1)  # ... as its side is longer than a step
        moved = ~now.first & (env.world.restarts == 0)
        assert stride[moved].max() < 2 * QUAKE.radius + 4
        crossed = now.info["position"].clone()
        seen.update(zip(now.task.tolist(), now.info["cell"].tolist(), strict=True))
    assert len(seen) > 150, "the test should get about"


SIZES = (16.1, 33.3, 62.4, 70.1, 77.7, 90.5, 110.2, 123.456, 125.3)  # none is exact in binary


def sized(monkeypatch: pytest.MonkeyPatch, text: str, cell: float, num_envs: int) -> Labyrinth:
    physics = replace(QUAKE, radius=15 if cell > 30 else 5)
    level = Level("sized", "", ThinWalls(text, cell), 90, physics=physics, start_marks=" A")
    monkeypatch.setitem(LEVELS, "sized", level)
    return labyrinth("sized", num_envs)


@pytest.mark.parametrize("cell", SIZES)
def test_walls_hold_in_random_play_whatever_a_cells_size(monkeypatch: pytest.MonkeyPatch, cell: float) -> None:
    env = sized(monkeypatch, MAZE_1, cell, 200)
    generator, action = torch.Generator().manual_seed(0), torch.zeros(200, dtype=torch.int64)
    cells, radius = env.tables.cell_size.expand(200).numpy(), env.tables.radius.expand(200).numpy()
    for t in range(600):
        change = torch.rand(200, generator=generator) < 0.1
        action = torch.where(change, torch.randint(9, (200,), generator=generator), action)
        now = env.step(action)
        assert now.info["cell"].max() < env.num_cells
        if t % 4 == 0:
            assert not overlaps(env.world.position.numpy(), env.world.walls.numpy(), cells, radius).any()


@pytest.mark.parametrize("cell", SIZES)
def test_a_wall_on_any_line_stops_the_box_and_lets_it_slide(monkeypatch: pytest.MonkeyPatch, cell: float) -> None:
    N = 20
    room = "+-" * N + "+\n" + ("|" + " " * (2 * N - 1) + "|\n" + "+ " * N + "+\n") * (N - 1)
    env = sized(monkeypatch, room + "|" + " " * (2 * N - 1) + "|\n" + "+-" * N + "+", cell, 8 * (N - 1))
    radius = float(env.tables.radius)
    # by environment: the axis it moves along, upwards or downwards, straight or aslant, towards which line
    axis, down, aslant, line = torch.cartesian_prod(*map(torch.arange, (2, 2, 2, N - 1))).unbind(1)
    line = line + 1
    rows, sign = torch.arange(len(line)), 1 - 2 * down
    for e in rows.tolist():
        plane = env.world.walls[e, axis[e]]
        (plane[:N, line[e]] if axis[e] == 0 else plane[line[e], :N]).fill_(1)
    env.world.position.fill_(2.5 * cell)
    env.world.position[rows, axis] = (line - 0.5 * sign) * cell
    env.world.velocity.zero_()
    ahead = torch.stack([1 - axis, axis], 1) * sign[:, None] + aslant[:, None] * torch.stack([axis, 1 - axis], 1)
    env.world.heading[:] = torch.atan2(ahead[:, 1].double(), ahead[:, 0].double()).float()
    for _ in range(60):
        env.step(torch.zeros(len(rows), dtype=torch.int64))
        assert (sign * (line * cell - env.world.position[rows, axis]) > radius - 2e-3).all()
    assert (sign * (line * cell - env.world.position[rows, axis]) < radius + 5e-3).all()
    along = env.world.position[rows, 1 - axis] - 2.5 * cell
    assert (along[aslant == 0].abs() < 0.01).all()
    assert (along[aslant == 1] > 500).logical_or(along[aslant == 1] > (N - 3) * cell - radius).all()


def test_the_tip_of_a_thin_wall_stops_the_box() -> None:
    env = labyrinth("nav_maze_static_01", 2)
    env.world.walls.zero_()
    env.world.walls[:, 1, 2, 3] = 1  # along y = 200, x from 300 to 400
    env.world.item_kind.zero_()
    env.world.velocity.zero_()
    env.world.heading.zero_()
    env.world.position[:] = torch.tensor([[250.0, 209.0], [250.0, 216.0]])
    for _ in range(8):
        env.step(torch.tensor([0, 0]))
    assert env.world.position[0].tolist() == [285.0, 209.0]
    assert env.world.velocity[0, 0] < 60  # pressed against it: no more than a tick's acceleration
    assert env.world.position[1, 0] > 330


def test_constants_of_both_games() -> None:
    assert (QUAKE.speed, QUAKE.friction, QUAKE.acceleration, QUAKE.stop_speed, QUAKE.hz, QUAKE.radius) == (
        320,
        6,
        10,
        100,
        60,
        15,
    )
    assert DOOM.friction / DOOM.hz == DOOM.acceleration / DOOM.hz == 0.09375
    assert DOOM.speed * DOOM.acceleration / DOOM.hz**2 == pytest.approx(25 * 2048 / 65536)
    assert DOOM.radius == 16
