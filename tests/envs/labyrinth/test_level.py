"""Levels of one's own: what they can be, and what is refused."""

import dataclasses
import math
from typing import Any

import pytest
import torch

from morello.envs.errors import UserError
from morello.envs.labyrinth.kernels.items import KIND
from morello.envs.labyrinth.level import Blocks, DrawnGoal, Level, MazeGenerator, ThinWalls
from morello.envs.labyrinth.levels import LEVELS
from morello.envs.labyrinth.maps import plan

from ...support.levels import cells, labyrinth, put, wait


def test_a_portal_stays_takes_effect_at_the_end_of_a_step_and_needs_an_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = Blocks("#####\n#.#.#\n#####")
    mine = level(layout=rooms, items=(("portal", 150, 150),), exit=(350, 150, -90), starts=((150, 150, 0),))
    monkeypatch.setitem(LEVELS, "mine", mine)
    env = labyrinth("mine")
    for _ in range(2):
        now = wait(env, 0)
        assert env.world.position[0].tolist() == [350, 150]
        assert env.world.velocity[0].tolist() == [0, 0]
        assert env.world.heading[0] == pytest.approx(-math.pi / 2)
        assert (now.reward[0], now.discount[0], bool(now.last[0])) == (0, 1, False)
        assert env.world.item_kind[0].tolist() == [KIND["portal"]]
        put(env, torch.tensor([150.0, 160.0]))
    with pytest.raises(UserError, match="mine has a portal that leads nowhere; set exit="):
        plan(dataclasses.replace(mine, exit=None))


THIN = """
+-+-+-+
|P    |
+ + + +
|     |
+-+-+-+
"""


def test_a_drawn_goal_needs_no_start_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEVELS, "near", Level("near", "", ThinWalls(THIN), 60, goal=DrawnGoal()))
    env = labyrinth("near", 300)
    assert env.world.goal_distance.shape == (300, 1)
    assert not env.world.goal_distance.any(), "distances that nobody asked for would not fit"
    assert env.world.goal_cell.unique().tolist() == list(range(6))
    assert cells(env.world.position) == [(1, 0)] * 300


def level(**options: Any) -> Level:
    return Level(**{"name": "mine", "summary": "", "layout": ThinWalls(THIN), "seconds": 60, **options})


MAZE = MazeGenerator(11, 11, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"goal": DrawnGoal(), "layout": ThinWalls(THIN.replace("P  ", "P A"))}, "overwrite"),
        ({"goal": DrawnGoal(), "items": (("lemon", 50, 50),)}, "overwrite"),
        ({"goal": DrawnGoal(), "layout": Blocks("####\n#P #\n####")}, "rock"),
        ({"goal": DrawnGoal(apple_share=0.5), "layout": MAZE}, "ignores"),
        ({"goal": DrawnGoal(), "layout": MAZE, "items": (("lemon", 50, 50),)}, "ignores"),
        ({"start_distance": 1}, "random goal"),
        ({"layout": ThinWalls(THIN.replace("P", " "))}, "no start"),
        ({"layout": ThinWalls(THIN.replace("    |", "     "))}, "gap"),
        ({"layout": ThinWalls(THIN.replace("+-+-+-+", "+-+ +-+"))}, "gap"),
        ({"layout": Blocks("P "), "wall": "none"}, "gap"),
    ],
)
def test_levels_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        plan(level(**options))
    assert str(caught.value).startswith("mine")
    assert "\n" not in str(caught.value)


def test_levels_that_look_alike_are_not() -> None:
    for options in ({}, {"goal": DrawnGoal()}, {"layout": MAZE}, {"layout": Blocks("P ")}):
        plan(level(**options))
    plan(level(goal=DrawnGoal(apple_share=0.5), layout=ThinWalls(THIN.replace("P", " ")), start_distance=2))


def test_headings_are_wrapped() -> None:
    headings = {0.0: 0.0, 90.0: 90.0, 180.0: 180.0, -180.0: 180.0, 270.0: -90.0, -270.0: 90.0, 720.0: 0.0}
    starts = plan(level(starts=tuple((50, 50, h) for h in headings), start_marks="")).starts
    assert [math.degrees(h) for *_, h in starts] == pytest.approx(list(headings.values()))
