"""Maps of cells: where walls are, and what of a map is shown."""

import numpy as np
import pytest
import torch

import morello
from morello.envs.cell_map import CellMap


def crossed(plan, start, end):
    """Whether the way between two points (x, y) meets a wall."""
    for (x0, y0), (x1, y1) in plan.walls:
        upright = x0 == x1
        along, across, place = ((y0, y1), 0, x0) if upright else ((x0, x1), 1, y0)
        a, b = start[across], end[across]
        if min(a, b) < place < max(a, b):
            met = start[1 - across] + (end[1 - across] - start[1 - across]) * (place - a) / (b - a)
            if along[0] <= met <= along[1]:
                return True
    return False


@pytest.mark.parametrize("level", ["nine_rooms", "my_way_home_dense", "nav_maze_random_goal_01"])
def test_agents_walk_where_there_are_no_walls(level):
    """In all directions, and against some walls: each cell is the square that the position is in."""
    env = morello.make(f"labyrinth:{level}", 16, seed=3, frame_size=(20, 20))
    plan = env.cell_map()
    assert plan.rows * plan.columns == env.num_cells
    generator = torch.Generator().manual_seed(0)
    now, last = env.reset(), None
    unit = None
    for t in range(150):
        action = torch.randint(env.spec.num_actions, (16,), generator=generator) if t % 5 == 0 else action
        now = env.step(action)
        x = now.info["position"].numpy()
        cell = now.info["cell"].numpy()
        if unit is None:
            unit = env.tables.visit_size.item()
        assert (cell == (x[:, 1] // unit) * plan.columns + x[:, 0] // unit).all()
        if last is not None:
            near = np.abs(x - last).max(1) < 100  # not a new episode
            assert not any(crossed(plan, a / unit, b / unit) for a, b in zip(last[near], x[near], strict=True))
        last = x.copy()
    assert len(plan.walls) > 20


def test_new_maps_have_no_walls():
    assert len(morello.make("labyrinth:multi_room_3d_4_5", frame_size=(20, 20)).cell_map().walls) == 0
    for name in ("Empty-5x5", "MultiRoomNoisyTV-N7-S4"):
        plan = morello.make(f"minigrid:{name}").cell_map()
        assert (plan.rows, plan.columns, plan.upwards, len(plan.walls)) == (25, 25, False, 0)
    assert morello.make("gym:CartPole-v1").cell_map() is None


def test_what_is_shown_holds_all_walls_and_visits():
    walls = np.array([[[2, 3], [2, 4]], [[2, 4], [5, 4]]], np.float32)
    nothing, corner = np.zeros((7, 11), bool), np.zeros((7, 11), bool)
    corner[1, 8] = True
    assert CellMap(7, 11).within(nothing) == (0, 11, 0, 7)
    assert CellMap(7, 11).within(corner) == (8, 9, 1, 2)
    assert CellMap(7, 11, walls=walls).within(nothing) == (2, 5, 3, 4)
    assert CellMap(7, 11, walls=walls).within(corner) == (2, 9, 1, 4)
