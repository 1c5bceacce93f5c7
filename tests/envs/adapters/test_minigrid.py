"""MiniGrid's long corridors and the noisy TV: their rooms, what optimal play earns, and what is random."""

import collections
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch

pytest.importorskip("minigrid")

import morello
from morello.envs.adapters.gridworld import MULTI_ROOMS
from morello.envs.adapters.minigrid import ROOMS_AND_SIZE, register
from morello.envs.errors import UserError

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
AHEAD = ((1, 0), (0, 1), (-1, 0), (0, -1))  # of the four directions, y pointing down
NAMES = [f"MiniGrid-{task}-N{n}-S{s}-v0" for task in ("MultiRoom", "MultiRoomNoisyTV") for n, s in ROOMS_AND_SIZE]
SMALL = "MiniGrid-MultiRoom-N7-S4-v0", "MiniGrid-MultiRoomNoisyTV-N7-S4-v0"


def make(name, seed):
    register()
    env = gymnasium.make(name)
    env.reset(seed=seed)
    return env


def shortest(env):
    """The fewest actions to the goal, by breadth-first search over cell, direction and what has been cleared."""
    world = env.unwrapped
    start = (*map(int, world.agent_pos), int(world.agent_dir)), frozenset()
    before, queue = {start: None}, collections.deque([start])
    while queue:
        here = queue.popleft()
        (x, y, d), cleared = here
        ahead = x + AHEAD[d][0], y + AHEAD[d][1]
        cell = world.grid.get(*ahead)
        kind = None if cell is None or ahead in cleared else cell.type
        moves = [(LEFT, ((x, y, (d - 1) % 4), cleared)), (RIGHT, ((x, y, (d + 1) % 4), cleared))]
        if kind in ("door", "ball"):
            moves.append((TOGGLE if kind == "door" else PICKUP, ((x, y, d), cleared | {ahead})))
        if kind in (None, "goal"):
            moves.append((FORWARD, ((*ahead, d), cleared)))
        for action, there in moves:
            if there not in before:
                before[there] = here, action
                queue.append(there)
        if kind == "goal":
            actions, at = [FORWARD], here
            while before[at]:
                at, action = before[at]
                actions.append(action)
            return actions[::-1]
    raise AssertionError("the goal cannot be reached")


@pytest.mark.parametrize("name", NAMES)
def test_there_are_as_many_rooms_as_the_name_says_and_a_way_through_them(name):
    rooms, size = (int(part[1:]) for part in name.split("-")[2:4])
    for seed in (11,) if rooms == 12 else (1, 2, 3):
        env = make(name, seed)
        world = env.unwrapped
        assert len(world.rooms) == rooms
        assert all(4 <= side <= size for room in world.rooms for side in room.size)
        assert max(side for room in world.rooms for side in room.size) > 4 or size == 4
        kinds = collections.Counter(cell.type for cell in world.grid.grid if cell)
        assert (kinds["door"], kinds["goal"]) == (rooms - 1, 1)
        assert kinds["ball"] == ("NoisyTV" in name)
        actions = shortest(env)
        assert actions.count(TOGGLE) == rooms - 1  # they stand in a row
        for step, action in enumerate(actions, 1):
            _, reward, terminated, truncated, _ = env.step(action)
            assert (terminated, truncated) == (step == len(actions), False)
            assert reward == pytest.approx(1 - 0.9 * step / (20 * rooms) if terminated else 0)


@pytest.mark.parametrize("task", MULTI_ROOMS[:4])
def test_every_level_can_be_solved_as_its_family_makes_it(task):
    """In EnvPool's MultiRooms a third of the doors lead into a wall."""
    env = morello.make(f"minigrid:{task}", 12, seed=5)
    env.reset()
    ways, paid = [shortest(one) for one in env._envs], torch.zeros(12)
    for step in range(max(map(len, ways))):
        now = env.step(torch.tensor([way[step] if step < len(way) else DONE for way in ways]))
        paid += torch.where(torch.tensor([step + 1 == len(way) for way in ways]), now.reward, 0)
    best = [1 - 0.9 * len(way) / env.spec.max_steps for way in ways]
    assert torch.allclose(paid, torch.tensor(best))


@pytest.mark.parametrize(("task", "best"), [("MultiRoom-N7-S4", 0.77), ("MultiRoom-N7-S8", 0.66)])
def test_optimal_play_earns_what_is_published(task, best):
    returns = [1 - 0.9 * len(shortest(make(f"MiniGrid-{task}-v0", seed))) / 140 for seed in range(40)]
    assert np.mean(returns) == pytest.approx(best, abs=0.03)
    assert np.std(returns) < 0.05


@pytest.mark.slow
def test_optimal_play_of_twelve_rooms_earns_what_is_published():
    name = "MiniGrid-MultiRoom-N12-S10-v0"
    assert np.mean([1 - 0.9 * len(shortest(make(name, s))) / 240 for s in range(10)]) == pytest.approx(0.65, abs=0.03)


@pytest.mark.parametrize("name", SMALL)
def test_time_is_up_after_twenty_steps_a_room(name):
    env = morello.make(f"gym:{name}", 1, seed=3)
    assert env.spec.max_steps == 140
    env.reset()
    for step in range(1, 141):
        now = env.step(torch.tensor([LEFT]))
        assert bool(now.last) == (step == 140)
    assert (now.reward, now.discount) == (0, 1)


def test_only_its_action_changes_the_noisy_tv():
    env = make(SMALL[1], 5)
    world, generator = env.unwrapped, np.random.default_rng(0)
    drawn, left = collections.Counter(), []
    for _ in range(900):
        before, action = world.noisy_tv.color, int(generator.choice([LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE]))
        _, _, terminated, truncated, _ = env.step(action)
        if action == DROP:
            drawn[world.noisy_tv.color] += 1
        else:
            left.append(world.noisy_tv.color == before)
        if terminated or truncated:
            env.reset()
    assert all(left)
    assert len(left) > 500
    assert len(drawn) == 6
    assert min(drawn.values()) > 8


def test_the_noisy_tv_is_in_the_first_room_and_can_be_carried_but_not_put_down():
    for seed in range(8):
        world = make(SMALL[1], seed).unwrapped
        (left, top), (width, height) = world.rooms[0].top, world.rooms[0].size
        x, y = world.noisy_tv.cur_pos
        assert left < x < left + width - 1
        assert top < y < top + height - 1
        assert world.grid.get(x, y) is world.noisy_tv
    # Beside the ball, facing it.
    direction = next(d for d, (dx, dy) in enumerate(AHEAD) if world.grid.get(x - dx, y - dy) is None)
    world.agent_pos, world.agent_dir = (x - AHEAD[direction][0], y - AHEAD[direction][1]), direction
    world.step(PICKUP)
    assert world.carrying is world.noisy_tv
    seen = []
    for _ in range(30):
        observation, *_ = world.step(DROP)
        assert world.grid.get(x, y) is None
        seen.append(tuple(observation["image"][3, 6]))  # where the agent stands in its own view
    assert {kind for kind, _, _ in seen} == {6}
    assert {colour for _, colour, _ in seen} == set(range(6))


def test_without_the_tv_the_action_changes_nothing():
    world = make(SMALL[0], 5).unwrapped
    before = world.grid.encode()
    state = world.np_random.bit_generator.state
    for _ in range(20):
        world.step(DROP)
    np.testing.assert_array_equal(world.grid.encode(), before)
    assert world.np_random.bit_generator.state == state


def test_seeds_decide_all():
    def played(seed):
        env, rows = morello.make(f"gym:{SMALL[1]}", 2, seed=seed), []
        now, generator = env.reset(), torch.Generator().manual_seed(0)
        for _ in range(150):  # into the second episode
            rows.append(torch.cat([now.observation["image"].flatten(1), now.observation["vector"]], 1).clone())
            now = env.step(torch.randint(7, (1,), generator=generator).repeat(2))
        return torch.stack(rows)

    once = played(7)
    assert torch.equal(once, played(7))
    assert torch.equal(once[:, 1], played(8)[:, 0])
    assert not torch.equal(once[:, 0], once[:, 1])


def test_a_seed_has_the_same_rooms_with_and_without_the_ball():
    plain, noisy = (make(name, 9).unwrapped for name in SMALL)
    noisy.grid.set(*noisy.noisy_tv.cur_pos, None)
    assert noisy.grid == plain.grid
    assert (noisy.agent_pos, noisy.agent_dir) == (plain.agent_pos, plain.agent_dir)


def test_registering_twice_keeps_what_is_there():
    register()
    before = {name: gymnasium.spec(name) for name in NAMES}
    register()
    assert all(gymnasium.spec(name) is spec for name, spec in before.items())


def test_ids_of_packages_are_found_without_naming_the_package():
    # In a process of its own, where nothing has imported minigrid.
    code = """
import sys, morello
for name in ("MiniGrid-DoorKey-5x5-v0", "BabyAI-GoToLocal-v0", "MiniGrid-MultiRoomNoisyTV-N10-S4-v0"):
    assert "minigrid" in sys.modules or name.endswith("5x5-v0")
    print(morello.make(f"gym:{name}").spec.action_names)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == 3 * "('left', 'right', 'forward', 'pickup', 'drop', 'toggle', 'done')\n"


def test_a_near_miss_finds_our_tasks_too():
    with pytest.raises(UserError, match="did you mean MiniGrid-MultiRoom-N7-S4-v0"):
        morello.make("gym:MiniGrid-MultiRoom-N7-S4-v3")
