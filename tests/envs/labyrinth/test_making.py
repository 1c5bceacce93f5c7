"""Levels with a television: where noise is, when it changes, what it leaves alone, and that it can be resumed."""

import pytest
import torch

import morello
from morello.envs.errors import UserError
from morello.envs.labyrinth.labyrinth import Labyrinth
from morello.envs.labyrinth.level import Blocks, Level, Television
from morello.envs.labyrinth.levels import LEVELS
from morello.envs.labyrinth.making import make_levels
from morello.envs.wrappers import unwrapped

from ...support.timesteps import actions, assert_same, copy

NOISY = {
    "nine_rooms_tv": ("nine_rooms", 5),
    "nine_rooms_remote": ("nine_rooms", 5),
    **{f"my_way_home_{name}_noise": (f"my_way_home_{name}", 8) for name in ("dense", "sparse", "very_sparse")},
}
"""The level without noise, and the columns of 20 that are noise: a quarter, or 40 %."""
SIZE = {"frame_size": (11, 20)}


def test_these_levels_have_a_television() -> None:
    assert {name for name, level in LEVELS.items() if level.television} == set(NOISY)


@pytest.mark.parametrize("name", NOISY)
def test_noise_is_in_its_region_and_everything_else_is_the_plain_levels(name: str) -> None:
    plain, columns = NOISY[name]
    env, twin = (morello.make(f"labyrinth:{level}", 3, seed=5, **SIZE) for level in (name, plain))
    assert isinstance(unwrapped(env), Labyrinth)
    assert env.spec.tasks == (name,)
    remote = env.spec.num_actions - twin.spec.num_actions
    assert env.spec.action_names[-1] == ("remote" if name.endswith("remote") else twin.spec.action_names[-1])
    now, other = env.reset(), twin.reset()
    for action in actions(twin, 40):
        a, b = now.observation["image"], other.observation["image"]
        assert torch.equal(a[:, :, :-columns], b[:, :, :-columns])
        assert all((a[n, :, w] != b[n, :, w]).any() for n in range(3) for w in range(20 - columns, 20))
        same = {"image": a}
        assert_same(now._replace(observation=same), other._replace(observation=same))
        before, (now, other) = a.clone(), (env.step(action), twin.step(action))
        still = (now.observation["image"] == before)[:, :, -columns:].flatten(1).all(1)
        assert still.tolist() == [bool(remote)] * 3, "new noise at each step, or when asked for only"


def test_only_its_own_action_changes_the_remote_picture_and_it_does_nothing_else() -> None:
    env = morello.make("labyrinth:nine_rooms_remote", 3, seed=5, **SIZE)
    world = unwrapped(env)
    assert isinstance(world, Labyrinth)
    assert env.spec.action_names == ("noop", "forward", "turn_left", "turn_right", "remote")
    before = copy(env.reset())
    now = env.step(torch.tensor([4, 0, 4]))
    changed = (now.observation["image"] != before.observation["image"]).flatten(2).any(2).any(1)
    assert changed.tolist() == [True, False, True]
    assert torch.equal(now.observation["image"][:, :, :-5], before.observation["image"][:, :, :-5])
    assert torch.equal(now.info["position"], before.info["position"])
    assert torch.equal(now.info["heading"], before.info["heading"])


@pytest.mark.parametrize("name", ["nine_rooms_tv", "nine_rooms_remote", "my_way_home_sparse_noise"])
def test_noise_is_resumed_bit_for_bit_and_does_not_depend_on_company(name: str) -> None:
    env = morello.make(f"labyrinth:{name}", 5, seed=7, **SIZE)
    env.reset()
    for action in actions(env, 30):
        env.step(action)
    state = {key: tensor.clone() for key, tensor in env.state_dict().items()}
    fresh = morello.make(f"labyrinth:{name}", 5, seed=99, **SIZE)
    fresh.load_state_dict(state)
    for action in actions(env, 30, seed=1):
        assert_same(env.step(action), fresh.step(action))
    alone, many = (morello.make(f"labyrinth:{name}", n, seed=7, env_offset=5 - n, **SIZE) for n in (1, 5))
    assert torch.equal(alone.reset().observation["image"][0], many.reset().observation["image"][4])
    for action in actions(many, 30):
        one, five = alone.step(action[4:]), many.step(action)
        assert torch.equal(one.observation["image"][0], five.observation["image"][4])


def test_the_oracle_sees_past_the_noise() -> None:
    env = morello.make("labyrinth:my_way_home_sparse_noise", 2, **SIZE)
    player, now, total = env.oracle(), env.reset(), torch.zeros(2)
    while not now.last.any():
        now = env.step(player(now))
        total += now.reward
    assert (total > 0.9).all()


def test_levels_of_one_batch_have_the_same_television() -> None:
    mixed = make_levels(["my_way_home_dense_noise", "my_way_home_sparse_noise"], 2, **SIZE)
    assert mixed.spec.tasks == ("my_way_home_dense_noise", "my_way_home_sparse_noise")
    with pytest.raises(UserError, match="nine_rooms and nine_rooms_tv have different televisions"):
        morello.make("labyrinth:nine_rooms+nine_rooms_tv", 2)


def test_a_remote_needs_an_action_that_does_nothing() -> None:
    options = {"name": "mine", "summary": "", "layout": Blocks("###\n#P#\n###"), "seconds": 1}
    assert Level(**options, television=Television(0.5, remote=True)).idle == 8
    moves = {"forward": (1, 0, 0), "turn": (0, 0, 1)}
    with pytest.raises(UserError, match="mine: a remote takes the place of an action"):
        Level(**options, actions=moves, television=Television(0.5, remote=True))
    assert Level(**options, actions=moves, television=Television(0.5)).idle is None
