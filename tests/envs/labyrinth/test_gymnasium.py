"""Labyrinth keeps Gymnasium's rules."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from morello.envs.labyrinth.gymnasium import register
from morello.envs.labyrinth.levels import LEVELS

register()
SIZE = {"frame_size": (13, 17)}


@pytest.mark.parametrize("level", ["seekavoid_arena_01", "nav_maze_random_goal_01", "my_way_home_dense_noise"])
def test_check_env_has_no_complaints(level: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(f"Labyrinth/{level}-v0", **SIZE).unwrapped)


def test_every_level_is_registered_once() -> None:
    register()
    assert {f"Labyrinth/{name}-v0" for name in LEVELS} == {i for i in gymnasium.registry if i.startswith("Labyrinth/")}


def test_a_vector_environment_plays_the_single_ones_in_lockstep() -> None:
    level = "Labyrinth/nav_maze_random_goal_01-v0"
    vector = gymnasium.make_vec(level, num_envs=3, **SIZE)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert vector.spec is not None
    singles = [gymnasium.make(level, **SIZE).unwrapped for _ in range(3)]
    seen, _ = vector.reset(seed=40)
    for i, single in enumerate(singles):
        np.testing.assert_array_equal(seen[i], single.reset(seed=40 + i)[0])
    ended = np.zeros(3, bool)
    for t, actions in enumerate(np.random.default_rng(0).integers(vector.single_action_space.n, size=(907, 3))):
        seen, reward, terminated, truncated, info = vector.step(actions)
        assert seen in vector.observation_space
        assert info["_cell"].all()
        for i, single in enumerate(singles):
            expected = (single.reset()[0], 0.0, False, False) if ended[i] else single.step(actions[i])[:4]
            np.testing.assert_array_equal(seen[i], expected[0])
            assert (reward[i], terminated[i], truncated[i]) == expected[1:]
        ended = terminated | truncated
        assert ended.all() == (t == 899)
    vector.close()


def test_seeds_also_decide_the_noise_of_a_television() -> None:
    level = "Labyrinth/nine_rooms_tv-v0"
    vector, single = gymnasium.make_vec(level, num_envs=3, **SIZE), gymnasium.make(level, **SIZE).unwrapped
    seen, _ = vector.reset(seed=[7, 5, 7])
    assert (seen[0] == seen[2]).all()
    assert (seen[0, :, -4:] != seen[1, :, -4:]).any()
    np.testing.assert_array_equal(seen[1], single.reset(seed=5)[0])
    for action in (1, 2, 3):
        np.testing.assert_array_equal(vector.step(np.full(3, action))[0][1], single.step(action)[0])
    vector.close()


def test_a_masked_reset_keeps_the_other_observations() -> None:
    vector = gymnasium.make_vec("Labyrinth/explore_goal_locations_small-v0", num_envs=3, **SIZE)
    vector.reset(seed=3)
    for _ in range(5):
        before = vector.step(np.array([6, 7, 0]))[0]
    mask = np.array([True, False, False])
    after, _ = vector.reset(options={"reset_mask": mask})
    assert (after[1:] == before[1:]).all()
    assert (after[0] != before[0]).any()
    with pytest.raises(ValueError, match="reset_mask"):
        vector.reset(options={"reset_mask": np.zeros(3, bool)})


def test_seeds_of_any_size_and_none() -> None:
    level = "Labyrinth/nav_maze_random_goal_03-v0"
    vector, single = gymnasium.make_vec(level, num_envs=3, **SIZE), gymnasium.make(level, **SIZE).unwrapped
    with pytest.raises(ValueError, match="every environment"):
        vector.reset(options={"reset_mask": np.array([True, False, False])})
    for seed in (2**63 - 2, 10**30):
        seen, _ = vector.reset(seed=seed)
        for i in range(3):
            np.testing.assert_array_equal(seen[i], single.reset(seed=seed + i)[0])
        assert (seen[0] != seen[1]).any()
    fresh = gymnasium.make_vec(level, num_envs=3, **SIZE)
    for _ in range(2):
        mixed, _ = fresh.reset(seed=[1, None, 3])
        for i in (0, 2):
            np.testing.assert_array_equal(mixed[i], single.reset(seed=i + 1)[0])
    vector.reset(seed=5)
    single.reset(seed=6)
    np.testing.assert_array_equal(vector.reset(seed=[1, None, 3])[0][1], single.reset()[0])  # its stream goes on
    with pytest.raises(ValueError, match="2 seeds"):
        vector.reset(seed=[1, 2])


def test_arrays_are_fresh_and_unseeded_streams_differ() -> None:
    a = gymnasium.make_vec("Labyrinth/nav_maze_static_01-v0", num_envs=2, **SIZE)
    b = gymnasium.make_vec("Labyrinth/nav_maze_static_01-v0", num_envs=2, **SIZE)
    first, _ = a.reset()
    kept = first.copy()
    a.step(np.array([4, 5]))
    assert (first == kept).all()
    assert (first != b.reset()[0]).any()


@pytest.mark.parametrize("order", ["gymnasium, announce", "announce, gymnasium"])
def test_levels_are_announced_in_either_order_without_importing_torch(order: str) -> None:
    lines = {
        "gymnasium": "import gymnasium",
        "announce": "from morello.envs.labyrinth.registration import announce; announce()",
    }
    code = [*(lines[word] for word in order.split(", "))]
    code += ["import sys", "assert not {'torch', 'warp'} & set(sys.modules)"]
    code += ["env = gymnasium.make('Labyrinth/seekavoid_arena_01-v0', frame_size=(5, 7))"]
    code += ["assert env.reset(seed=0)[0].shape == (5, 7, 3)"]
    subprocess.run([sys.executable, "-W", "error", "-c", "\n".join(code)], check=True)
