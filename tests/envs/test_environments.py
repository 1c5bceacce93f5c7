"""What every environment must keep, whatever family it comes from."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch

import morello
from morello.envs import FAMILIES
from morello.envs.errors import UserError
from morello.envs.experience import Timestep
from morello.envs.labyrinth.levels import LEVELS
from morello.envs.rows import empty_rollout
from morello.envs.vector_env import VectorEnv
from morello.envs.wrappers import (
    FrameStack,
    Grey,
    NoisyTV,
    Resize,
    Rewards,
    StickyActions,
    TimeLimit,
    VisitCounts,
)

from ..support import gymnasium_worlds  # noqa: F401 (registers)
from ..support.opengl import opengl
from ..support.timesteps import actions, assert_same, copy, leaves


class Case(NamedTuple):
    make: Callable[[int, int], VectorEnv]  # (num_envs, seed)
    steps: int  # within which some episode ends, whatever the actions
    seeded: bool = True  # another seed gives another episode


def miniworld(num_envs: int, seed: int) -> VectorEnv:
    opengl()
    return morello.make("miniworld:OneRoomS6Fast", num_envs, seed=seed, frame_size=(20, 28), env_workers=0)


def labyrinth_case(name: str) -> Case:
    def make(num_envs: int, seed: int) -> VectorEnv:
        return morello.make(f"labyrinth:{name}", num_envs, seed=seed, frame_size=(5, 7))

    one_place = len(LEVELS[name].starts) == 1
    return Case(make, LEVELS[name].max_steps + 2, seeded=not one_place)


def wrapped(wrap: Callable[[VectorEnv, int], VectorEnv], name: str = "counting:steps", **options: int) -> Case:
    return Case(lambda n, seed: wrap(morello.make(name, n, seed=seed, **options), seed), 23)


def everything(env: VectorEnv, seed: int) -> VectorEnv:
    """Each wrapper once, but for a time limit."""
    env = NoisyTV(StickyActions(env, 0.5, seed=seed), channel="action", seed=seed)
    env = FrameStack(Resize(Grey(env), 3, 4), 2)
    return VisitCounts(Rewards(env, "clip"), 1009)


CASES: dict[str, Case] = {
    "counting:steps": Case(lambda n, seed: morello.make("counting:steps", n, seed=seed), 23),
    "gym:Parts-v0": Case(lambda n, seed: morello.make("gym:Parts-v0", n, seed=seed), 23),
    "gym:Parts-v0 in 2 workers": Case(
        lambda n, seed: morello.make("gym:tests.support.gymnasium_worlds:Parts-v0", n, seed=seed, env_workers=2), 23
    ),
    "miniworld:OneRoomS6Fast": Case(miniworld, 53),
    "gym:CartPole-v1": Case(lambda n, seed: morello.make("gym:CartPole-v1", n, seed=seed), 131),
    "minigrid:DoorKey-5x5": Case(lambda n, seed: morello.make("minigrid:DoorKey-5x5", n, seed=seed), 252),
    "minigrid:MultiRoom-N7-S4": Case(lambda n, seed: morello.make("minigrid:MultiRoom-N7-S4", n, seed=seed), 142),
    "vizdoom:Basic": Case(lambda n, seed: morello.make("vizdoom:Basic", n, seed=seed, frame_size=(5, 7)), 77),
    "atari:Breakout": Case(
        lambda n, seed: morello.make("atari:Breakout", n, seed=seed, frame_size=(5, 7)), 400, seeded=False
    ),
    **{name: labyrinth_case(name) for name in LEVELS},
    "wrapped:noisy-tv": wrapped(lambda env, seed: NoisyTV(env, seed=seed)),
    "wrapped:remote": wrapped(lambda env, seed: NoisyTV(env, 0.6, "action", noop=1, seed=seed)),
    "wrapped:sticky": wrapped(lambda env, seed: StickyActions(env, 0.5, seed=seed)),
    "wrapped:stack": wrapped(lambda env, seed: FrameStack(env, 3)),
    "wrapped:grey": wrapped(lambda env, seed: Grey(env)),
    "wrapped:resize": wrapped(lambda env, seed: Resize(env, 3, 2)),
    "wrapped:rewards": wrapped(lambda env, seed: Rewards(env, "asymmetric")),
    "wrapped:limit": wrapped(lambda env, seed: TimeLimit(env, 3)),
    "wrapped:visits": wrapped(lambda env, seed: VisitCounts(env, 11)),
    "wrapped:all, limit inside": wrapped(lambda env, seed: everything(TimeLimit(env, 3), seed)),
    "wrapped:all, limit outside": wrapped(lambda env, seed: TimeLimit(everything(env, seed), 3)),
    "wrapped:gym:CartPole-v1": wrapped(lambda env, seed: TimeLimit(env, 7), "gym:CartPole-v1"),
    "wrapped:labyrinth": wrapped(
        lambda env, seed: TimeLimit(everything(env, seed), 5), "labyrinth:nav_maze_random_goal_01", frame_size=(5, 7)
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def differs(a: list[Timestep], b: list[Timestep]) -> bool:
    pairs = [pair for s, t in zip(a, b, strict=True) for pair in zip(leaves(s).values(), leaves(t).values())]
    return any(not torch.equal(x, y) for x, y in pairs)


def play(env: VectorEnv, steps: int, seed: int = 0) -> list[Timestep]:
    return [copy(env.reset()), *(copy(env.step(a)) for a in actions(env, steps, seed))]


def test_shapes_dtypes_and_device_match_the_spec(case: Case) -> None:
    env = case.make(3, 0)
    for answer in play(env, 2):
        assert answer.observation.keys() == env.spec.observation.keys()
        for name, (shape, dtype) in env.spec.observation.items():
            assert answer.observation[name].shape == (3, *shape)
            assert answer.observation[name].dtype == dtype
        kinds = {"reward": torch.float32, "discount": torch.float32, "first": torch.bool, "last": torch.bool}
        for name, dtype in {**kinds, "task": torch.int64}.items():
            assert getattr(answer, name).shape == (3,)
            assert getattr(answer, name).dtype == dtype
        assert all(v.shape[0] == 3 for v in answer.info.values())
        assert 0 <= answer.task.min() <= answer.task.max() < len(env.spec.tasks)
    assert len(env.spec.action_names) == env.spec.num_actions
    assert "image" not in env.spec.observation or env.spec.observation["image"][1] == torch.uint8


def test_same_seed_same_episode_other_seed_another(case: Case) -> None:
    a, b = play(case.make(3, 5), 7), play(case.make(3, 5), 7)
    for x, y in zip(a, b, strict=True):
        assert_same(x, y)
    assert not case.seeded or differs(a, play(case.make(3, 6), 7))


def test_reset_with_a_seed_starts_the_stream_over(case: Case) -> None:
    env = case.make(3, 5)
    a = [copy(env.reset(seed=11)), *(copy(env.step(x)) for x in actions(env, 5))]
    env.reset()
    b = [copy(env.reset(seed=11)), *(copy(env.step(x)) for x in actions(env, 5))]
    for x, y in zip(a, b, strict=True):
        assert_same(x, y)


def test_an_ended_episode_is_reset_by_the_next_step(case: Case) -> None:
    env = case.make(3, 1)
    rows = [env.reset()]
    assert rows[0].first.all()
    assert not rows[0].last.any()
    previous, ends = copy(rows[0]), 0
    for a in actions(env, case.steps):
        now = env.step(a)
        assert torch.equal(now.first, previous.last)
        crossing = previous.last
        assert (now.reward[crossing] == 0).all()
        assert (now.discount[crossing] == 1).all()
        assert not now.last[crossing].any()
        assert ((now.discount == 1) | (now.discount == 0)).all()
        ends += int(now.last.sum())
        previous = copy(now)
    assert ends > 0


def test_the_action_that_crosses_a_reset_is_ignored(case: Case) -> None:
    a, b = case.make(2, 1), case.make(2, 1)
    a.reset()
    b.reset()
    last = torch.zeros(2, dtype=torch.bool)
    crossings = 0
    for action in actions(a, case.steps):
        other = torch.where(last, (action + 1) % a.spec.num_actions, action)
        x, y = a.step(action), b.step(other)
        assert_same(x, y)
        crossings += int(last.sum())
        last = x.last.clone()
    assert crossings > 0


def test_a_masked_reset_leaves_the_others_alone(case: Case) -> None:
    env, twin = case.make(3, 2), case.make(3, 2)
    play(env, 5)
    before = play(twin, 5)[-1]
    rollout = empty_rollout(env.spec, before, 1, ())
    last = actions(env, 1, seed=8)[0]
    before = twin.step(last)
    env.step(last, out=rollout.row(1))  # into rows of the caller's: the environment has to know its own
    mask = torch.tensor([False, True, False])
    now = copy(env.reset(mask=mask))
    assert now.first.equal(before.first | mask)
    assert_same(now, before, ~mask)
    for a in actions(env, 3, seed=9):
        assert_same(env.step(a), twin.step(a), ~mask)


def test_rows_written_in_place_equal_rows_allocated(case: Case) -> None:
    env, twin = case.make(3, 3), case.make(3, 3)
    first = env.reset()
    rollout = empty_rollout(env.spec, first, 5, ())
    twin.reset()
    expected = []
    for t, a in enumerate(actions(env, 5)):
        answer = env.step(a, out=rollout.row(t + 1))
        assert answer.reward.data_ptr() == rollout.reward[t].data_ptr()
        expected.append(copy(twin.step(a)))
    for t, x in enumerate(expected):  # later steps leave earlier rows as they were
        assert_same(rollout.row(t + 1), x)


def test_answers_are_the_callers_to_keep_and_to_change(case: Case) -> None:
    env, twin = case.make(3, 3), case.make(3, 3)
    mask = torch.tensor([False, True, False])
    kept, seen = [env.reset()], [copy(twin.reset())]
    for t, a in enumerate(actions(env, 7)):
        if t == 5:
            kept.append(env.reset(mask=mask))
            seen.append(copy(twin.reset(mask=mask)))
        kept.append(env.step(a))
        seen.append(copy(twin.step(a)))
    kept.append(env.reset())
    seen.append(copy(twin.reset()))
    for x, y in zip(kept, seen, strict=True):
        assert_same(x, y)
    places = [x.data_ptr() for step in kept for x in leaves(step).values()]
    assert len({*places}) == len(places)
    for step in kept:
        for x in leaves(step).values():
            x.fill_(1)
    for a in actions(env, 3, seed=1):
        assert_same(env.step(a), twin.step(a))


def test_a_saved_state_continues_bit_for_bit(case: Case) -> None:
    env = case.make(3, 4)
    if not env.spec.resumable:
        pytest.skip("not resumable")
    play(env, case.steps // 2)
    state = {k: v.clone() for k, v in env.state_dict().items()}
    ahead = actions(env, case.steps // 2 + 3, seed=1)
    expected = [copy(env.step(a)) for a in ahead]
    fresh = case.make(3, 99)
    fresh.load_state_dict(state)
    for a, x in zip(ahead, expected, strict=True):
        assert_same(fresh.step(a), x)


def test_an_environment_does_not_depend_on_its_company() -> None:
    for name in ("labyrinth:nav_maze_random_goal_01", "labyrinth:explore_goal_locations_small"):
        alone = morello.make(name, 1, seed=7, frame_size=(5, 7), env_offset=4)
        many = morello.make(name, 7, seed=7, frame_size=(5, 7), threads=1)
        more = morello.make(name, 7, seed=7, frame_size=(5, 7), threads=2)
        assert_same_place(alone.reset(), many.reset(), more.reset())
        for a in actions(many, 950 if "nav" in name else 1360):
            assert_same_place(alone.step(a[4:5]), many.step(a), more.step(a))


def assert_same_place(alone: Timestep, many: Timestep, more: Timestep) -> None:
    assert_same(many, more)
    for (name, x), y in zip(leaves(alone).items(), leaves(many).values(), strict=True):
        assert torch.equal(x[0], y[4]), name


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("seekavoid_arena_01", {}, "family:name"),
        ("labyrynth:seekavoid_arena_01", {}, "labyrinth"),
        ("labyrinth:seekavoid_arena", {}, "seekavoid_arena_01"),
        ("labyrinth:seekavoid_arena_01", {"frame_sise": 3}, "frame_size"),
        ("labyrinth:seekavoid_arena_01", {"frame_size": (5, 0)}, "from 1 to"),
        ("labyrinth:seekavoid_arena_01", {"num_envs": 0}, "at least 1"),
        ("labyrinth:seekavoid_arena_01", {"device": "tpu"}, "cpu"),
        ("labyrinth:seekavoid_arena_01+my_way_home_dense", {}, "different actions"),
        ("counting:step", {}, "steps"),
    ],
)
def test_a_mistake_gets_one_sentence_with_the_way_out(name: str, options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        morello.make(name, **options)
    assert "\n" not in str(caught.value)


def test_every_family_is_covered() -> None:
    families = {name.partition(":")[0] for name in CASES if ":" in name} - {"wrapped"}
    assert families | {"labyrinth"} == set(FAMILIES), "add a Case"
