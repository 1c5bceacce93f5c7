"""Each level's items, rewards, timers, starts and restarts are those of its specification."""

import dataclasses
import math
from collections import Counter, deque
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import morello
from morello.envs.errors import UserError
from morello.envs.labyrinth.kernels.items import KIND, KINDS, kinds_table
from morello.envs.labyrinth.labyrinth import Labyrinth
from morello.envs.labyrinth.level import DOOM, LAB_ACTIONS, Blocks, DrawnGoal, Level, MazeGenerator, ThinWalls
from morello.envs.labyrinth.levels import LEVELS
from morello.envs.labyrinth.levels.my_way_home import DENSE_STARTS, VEST
from morello.envs.labyrinth.maps import plan

NOTHING = 8  # firing


def labyrinth(name: str, num_envs: int = 1, seed: int = 0) -> Labyrinth:
    env = morello.make(f"labyrinth:{name}", num_envs, seed=seed, height=1, width=1)
    assert isinstance(env, Labyrinth)
    env.reset()
    return env


def put(env: Labyrinth, position: torch.Tensor) -> None:
    env.world.position[:] = position
    env.world.velocity.zero_()


def wait(env: Labyrinth, action: int = NOTHING):
    return env.step(torch.full((env.num_envs,), action))


def distances(walls: NDArray[np.uint8], start: tuple[int, int]) -> NDArray[np.int64]:
    """Path lengths in cells, by flood fill; -1 unreachable."""
    height, width = walls.shape[1] - 1, walls.shape[2] - 1
    far = np.full((height, width), -1)
    far[start] = 0
    queue = deque([start])
    while queue:
        i, j = queue.popleft()
        ways = [(i, j - 1, walls[0, i, j]), (i, j + 1, walls[0, i, j + 1])]
        ways += [(i - 1, j, walls[1, i, j]), (i + 1, j, walls[1, i + 1, j])]
        for a, b, wall in ways:
            if not wall and far[a, b] < 0:
                far[a, b] = far[i, j] + 1
                queue.append((a, b))
    return far


def cells(position: torch.Tensor, size: float = 100) -> list[tuple[int, int]]:
    return [(int(y // size), int(x // size)) for x, y in position.tolist()]


def test_kinds_pay_and_do_what_the_facts_say() -> None:
    facts = {
        "apple": (1, 0), "lemon": (-1, 0), "strawberry": (2, 0), "fungi": (-10, 0), "goal": (10, 2),
        "watermelon": (20, 2), "mango": (100, 2), "vest": (1, 3), "mirage": (0, 3), "portal": (0, 1),
    }  # fmt: skip
    assert {k.name: (k.reward, k.effect) for k in KINDS[1:]} == facts
    table = kinds_table()
    assert table.dtype == np.float32
    assert table[KIND["lemon"], :6].tolist() == [2, 14, 28, 244, 222, 42]


@pytest.mark.parametrize(
    ("name", "seconds", "hz", "steps"),
    [
        ("seekavoid_arena_01", 20, 60, 300),
        ("nav_maze_static_01", 60, 60, 900),
        ("nav_maze_static_02", 150, 60, 2250),
        ("nav_maze_static_03", 300, 60, 4500),
        ("nav_maze_random_goal_01", 60, 60, 900),
        ("nav_maze_random_goal_02", 150, 60, 2250),
        ("nav_maze_random_goal_03", 300, 60, 4500),
        ("explore_goal_locations_small", 90, 60, 1350),
        ("my_way_home_dense", 60, 35, 525),
        ("my_way_home_sparse", 60, 35, 525),
        ("my_way_home_very_sparse", 60, 35, 525),
        ("recall_left", 20, 60, 300),
        ("recall_right", 20, 60, 300),
    ],
)
def test_episodes_last_as_long_as_specified(name: str, seconds: int, hz: int, steps: int) -> None:
    level = LEVELS[name]
    assert (level.seconds, level.physics.hz, level.max_steps) == (seconds, hz, steps)
    env = labyrinth(name, 2)
    assert env.spec.max_steps == steps
    still = NOTHING if env.spec.num_actions == 9 else 0
    for t in range(1, steps + 1):
        now = wait(env, still)
        assert now.last.all() == (t == steps)
    assert now.discount.tolist() == [1, 1]  # a time limit is no termination


def test_every_level_was_listed_above_and_has_its_actions() -> None:
    assert len(LEVELS) == 13
    own = {"my": ["noop", "forward", "turn_left", "turn_right"], "recall": ["forward", "turn_left", "turn_right"]}
    for name, level in LEVELS.items():
        assert list(level.actions) == own.get(name.partition("_")[0], list(LAB_ACTIONS))
        assert level.name == name
    assert len(LAB_ACTIONS) == 9


def test_seekavoid_pays_takes_away_and_restarts() -> None:
    env = labyrinth("seekavoid_arena_01")
    names = [KINDS[k].name for k in env.world.item_kind[0].tolist()]
    assert Counter(names) == {"apple": 15, "lemon": 8}
    places = env.world.item_position[0].clone()
    gaps = torch.cdist(places, places) + 1e4 * torch.eye(23)
    assert gaps.min() >= 50
    assert gaps.min(1).values.max() <= 130
    assert env.world.position[0].tolist() == [450, 95]
    assert env.world.heading[0] == pytest.approx(math.pi / 2)
    total = 0.0
    for n, (name, place) in enumerate(zip(names, places, strict=True)):
        if name == "lemon":
            continue
        put(env, place + 20)
        now = wait(env)
        assert now.reward[0] == 1
        total += 1
        assert now.discount[0] == 1
        assert not now.last[0]
        if total < 15:
            assert env.world.item_kind[0, n] == 0
            put(env, place)
            assert wait(env).reward[0] == 0  # it is gone
    assert env.world.restarts[0] == 1
    assert [KINDS[k].name for k in env.world.item_kind[0].tolist()] == names  # all back
    assert env.world.position[0].tolist() == [450, 95]
    lemon = places[names.index("lemon")]
    put(env, lemon + torch.tensor([0.0, 31.0]))
    assert wait(env).reward[0] == 0  # out of reach
    put(env, lemon + torch.tensor([0.0, 29.0]))
    assert wait(env).reward[0] == -1
    assert env.world.tick[0] == 4 * (15 + 14 + 2)


@pytest.mark.parametrize(
    ("number", "shape", "apples", "starts"), [(1, (5, 10), 5, 43), (2, (9, 15), 13, 128), (3, (13, 20), 26, 251)]
)
def test_static_mazes_restart_at_the_goal(number: int, shape: tuple[int, int], apples: int, starts: int) -> None:
    name = f"nav_maze_static_{number:02}"
    p = plan(LEVELS[name])
    assert p.open.shape == shape
    assert Counter(kind for kind, *_ in p.items) == {"apple": apples, "goal": 1}
    assert len(set(p.starts)) == starts
    assert (distances(p.walls, (0, 0)) >= 0).all()
    inner = np.count_nonzero(p.walls[0, :-1, 1:-1]) + np.count_nonzero(p.walls[1, 1:-1, :-1])
    ways = 2 * shape[0] * shape[1] - sum(shape) - inner
    assert ways > shape[0] * shape[1] - 1, "a few loops: more ways than a tree has"
    env = labyrinth(name, 300)
    begun = Counter(cells(env.world.position))
    goal = int((env.world.item_kind[0] == KIND["goal"]).nonzero())
    apple = int((env.world.item_kind[0] == KIND["apple"]).nonzero()[0])
    assert cells(env.world.item_position[0, [goal]])[0] not in begun
    put(env, env.world.item_position[:, apple])
    assert (wait(env).reward == 1).all()
    assert (env.world.item_kind[:, apple] == 0).all()
    put(env, env.world.item_position[:, goal])
    now = wait(env)
    assert ((now.reward == 10) | (now.reward == 11)).all()  # an apple may lie at the new start
    assert (now.discount == 1).all()
    assert not now.last.any()
    assert (env.world.restarts == 1).all()
    again = Counter(cells(env.world.position))
    assert begun != again
    everywhere = {(int(y // 100), int(x // 100)) for x, y, _ in p.starts}
    assert set(begun) | set(again) <= everywhere
    assert (env.world.item_kind[:, goal] == KIND["goal"]).all()
    missing = (env.world.item_kind == 0).any(1)
    assert torch.equal(missing, now.reward == 11)  # apples back


@pytest.mark.parametrize(("number", "apples"), [(1, 4), (2, 13), (3, 25)])
def test_random_goal_mazes(number: int, apples: int) -> None:
    B, name = 600, f"nav_maze_random_goal_{number:02}"
    env = labyrinth(name, B, seed=number)
    walls = plan(LEVELS[name]).walls
    assert (walls > 0).tolist() == (plan(LEVELS[f"nav_maze_static_{number:02}"]).walls > 0).tolist()
    height, width = walls.shape[1] - 1, walls.shape[2] - 1
    home = env.world.home_kind.clone()
    goals = cells(env.world.item_position[:, 0])
    assert (home[:, 0] == KIND["goal"]).all()
    assert (home[:, 1:] == KIND["apple"]).sum(1).tolist() == [apples] * B
    assert apples == (height * width - 1) // 10
    if number == 1:  # uniform: chi-square with 49 degrees of freedom, p = 0.001
        counts = np.bincount([i * width + j for i, j in goals], minlength=height * width)
        assert ((counts - B / 50) ** 2 / (B / 50)).sum() < 85.4
    far = {goal: distances(walls, goal) for goal in set(goals)}
    apple_count: Counter[tuple[int, int]] = Counter()
    for b in range(B):
        fruit = cells(env.world.item_position[b, 1:][home[b, 1:] > 0])
        assert len(set(fruit)) == apples
        assert goals[b] not in fruit
        apple_count.update(fruit)
        assert far[goals[b]][cells(env.world.position[[b]])[0]] > 4
    mean = B * apples / (height * width)
    counts = [apple_count[i, j] for i in range(height) for j in range(width)]
    assert mean - 6 * mean**0.5 < min(counts) <= max(counts) < mean + 6 * mean**0.5
    before, places = env.world.position.clone(), env.world.item_position.clone()
    put(env, env.world.item_position[:, 0])
    now = wait(env)
    assert (now.reward >= 10).all()
    assert (env.world.restarts == 1).all()
    assert torch.equal(env.world.item_position, places)  # goal and apples stay for the episode
    assert torch.equal(env.world.home_kind, home)
    assert (env.world.position != before).any(1).float().mean() > 0.8
    for b in range(B):
        assert far[goals[b]][cells(env.world.position[[b]])[0]] > 4


def test_a_new_episode_draws_a_new_goal() -> None:
    env = labyrinth("nav_maze_random_goal_02", 50)
    first = env.world.goal_cell.clone()
    env.reset()
    assert (env.world.goal_cell != first).float().mean() > 0.9


def test_the_vest_ends_my_way_home() -> None:
    env = labyrinth("my_way_home_dense", 400)
    vest = env.world.item_position[:, 0]
    assert vest[0].tolist() == [VEST[0] - 160, VEST[1] + 704]
    drawn = Counter(map(tuple, (env.world.position + torch.tensor([160.0, -704.0])).tolist()))
    assert set(drawn) == {(float(x), float(y)) for x, y in DENSE_STARTS}
    assert len(drawn) == 17
    assert max(drawn.values()) < 3 * min(drawn.values())
    assert env.world.heading.min() < -3
    assert env.world.heading.max() > 3
    still = wait(env, 0)
    assert still.reward.tolist() == pytest.approx([-0.0004] * 400)
    put(env, vest - torch.tensor([35.0, 0.0]))
    now = wait(env, 0)
    assert now.reward.tolist() == pytest.approx([1 - 0.0001] * 400)  # the first tick ends it
    assert (now.discount == 0).all()
    assert now.last.all()
    after = wait(env, 1)
    assert after.first.all()
    assert (after.reward == 0).all()
    assert (after.discount == 1).all()


def test_sparse_starts_are_fixed() -> None:
    for name, x, y, heading in (("sparse", 240, -176, 0.0), ("very_sparse", 544, -672, math.pi)):
        env = labyrinth(f"my_way_home_{name}", 3)
        assert env.world.position.tolist() == [[x - 160, y + 704]] * 3
        assert [math.cos(h) for h in env.world.heading] == pytest.approx([math.cos(heading)] * 3)


def test_my_way_homes_map_is_the_published_one() -> None:
    level = LEVELS["my_way_home_dense"]
    p = plan(level)
    assert p.open.shape == (52, 60)
    openings, corridors, alcove, bent = 6 * 16, 48 + 32, 60, 40 + 36 - 16  # cells of 16 x 16
    assert p.open.sum() == 8 * 100 + openings + corridors + alcove + bent
    assert (distances(p.walls, (32, 5))[p.open] >= 0).all()
    assert (level.physics, level.wall_height, level.eye_height) == (DOOM, 128, 41)
    textures = {int(t) for t in np.unique(p.walls)} - {0}
    assert len(textures) == 9  # eight rooms and the brick of the corridors
    inside = lambda x, y: bool(p.open[(y + 704) // 16, (x - 160) // 16])  # noqa: E731
    assert all(inside(x, y) for x, y in (*DENSE_STARTS, VEST))
    assert not inside(350, -100)
    assert not inside(576, 100)


IN = [0] * 6
"""From the start of a recall level into its portal."""
ALONG = [0] * 12
"""From its exit to the fork."""


@pytest.mark.parametrize(("turn", "arm"), [(1, "left"), (2, "right")])
def test_one_arm_pays_and_either_ends_the_episode(turn: int, arm: str) -> None:
    env = labyrinth("recall_left+recall_right", 2)
    for action in IN + ALONG + [turn] * 4:
        now = wait(env, action)
    assert not now.last.any()
    while not now.last.any():
        now = wait(env, 0)
    assert now.last.tolist() == [True, True]
    assert now.discount.tolist() == [0, 0]
    assert now.reward.tolist() == ([1, 0] if arm == "left" else [0, 1])


def test_behind_the_portal_nothing_tells_the_recall_levels_apart_nor_how_one_came() -> None:
    env = morello.make("labyrinth:recall_left+recall_right", 200, height=18, width=24, seed=0)
    image = env.reset().observation["image"]
    assert (image[0] != image[1]).any(-1).float().mean() > 0.6, "a cue"
    generator = torch.Generator().manual_seed(0)
    inside = torch.zeros(200, dtype=torch.bool)
    ways = torch.zeros(200, dtype=torch.int64)
    for _ in range(250):  # each its own way, and there it turns about until all are there
        action = torch.randint(3, (200,), generator=generator)
        env.step(torch.where(inside, 1, action))
        came = ~inside & (env.world.position[:, 0] > 300)
        ways[came] = env.world.tick[came].long()
        for name, at in (("position", [450, 250]), ("velocity", [0, 0]), ("heading", 0)):
            assert (getattr(env.world, name)[came] == torch.tensor(at)).all(), name
        inside |= came
    assert len(ways[inside].unique()) > 20
    assert inside.sum() > 100
    chosen = inside.nonzero()[:, 0]
    env.world.heading[chosen] = 0.0  # they waited for each other, turning on the spot
    for action in [0] * 6 + [1] * 4 + [2] * 4 + [0] * 6 + [1] * 4 + [0] * 3 + [2] * 8:  # to the fork, and about there
        seen = env.step(torch.full((200,), action)).observation["image"]
        assert (seen[chosen] == seen[chosen[0]]).all()
    assert not env.world.last.any()


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
        ({"start_distance": 1}, "drawn goal"),
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


def test_mixed_tasks_share_a_batch() -> None:
    env = labyrinth("seekavoid_arena_01+nav_maze_random_goal_01", 5)
    now = wait(env)
    assert now.task.tolist() == [0, 1, 0, 1, 0]
    alone = labyrinth("nav_maze_random_goal_01", 2)
    assert torch.equal(env.world.goal_cell[1], alone.world.goal_cell[1])  # mixing does not change an episode
    assert torch.equal(env.world.position[1], alone.world.position[1])
    for _ in range(299):
        now = wait(env)
    assert now.last.tolist() == [True, False, True, False, True]
    offset = morello.make("labyrinth:seekavoid_arena_01+nav_maze_random_goal_01", 2, env_offset=3, height=1, width=1)
    assert offset.reset().task.tolist() == [1, 0]
