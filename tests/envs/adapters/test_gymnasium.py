"""Gymnasium's environments in our words."""

import re
import warnings

import gymnasium
import numpy as np
import pytest
import torch

import morello
from morello.envs.adapters.gymnasium import Gymnasium
from morello.envs.errors import BrokenEnvironmentError, UserError, suggest
from morello.envs.processes.restart_log import ATTEMPTS, EPISODES

from ...support.faulty import CPU, faulty, play
from ...support.gymnasium_worlds import Faulty, Unruly


def test_every_part_of_an_observation_is_where_the_spec_says():
    env = morello.make("gym:Parts-v0", 2, seed=4)
    assert env.spec.observation == {"image": ((5, 7, 3), torch.uint8), "vector": ((8 + 2 + 2,), torch.float32)}
    assert (env.spec.num_actions, env.spec.max_steps, env.spec.resumable) == (3, None, False)
    twin = gymnasium.make("Parts-v0")
    seen, _ = twin.reset(seed=5)  # environment 1
    now = env.reset()
    for action in (2, 0, 1):
        image = torch.from_numpy(np.moveaxis(seen["picture"], 0, -1).copy())
        clock = np.eye(8)[seen["clock"] - 1]
        assert torch.equal(now.observation["image"][1], image)
        np.testing.assert_allclose(now.observation["vector"][1], np.concatenate([clock, *seen["where"]]), atol=1e-7)
        seen, reward, *_ = twin.step(action + 5)
        now = env.step(torch.tensor([0, action]))
        assert now.reward[1] == reward


def test_termination_and_truncation_differ_in_the_discount():
    env = morello.make("gym:Parts-v0", 5, seed=1)
    now, ends = env.reset(), []
    for _ in range(40):
        now = env.step(torch.zeros(5, dtype=torch.int64))
        clock = now.observation["image"][:, 0, 0, 0]
        ends += [(int(clock[i]) % 2, float(now.discount[i])) for i in range(5) if now.last[i]]
        assert (now.discount[~now.last] == 1).all()
    assert set(ends) == {(1, 0.0), (0, 1.0)}


def test_cart_pole_is_what_gymnasium_plays():
    env, twin = morello.make("gym:CartPole-v1", 1, seed=7), gymnasium.make("CartPole-v1")
    assert env.spec.max_steps == 500
    seen, _ = twin.reset(seed=7)
    env.reset()
    generator, over = torch.Generator().manual_seed(0), False
    for _ in range(200):
        action = torch.randint(2, (1,), generator=generator)
        if over:
            (seen, _), reward, over = twin.reset(), 0.0, False
        else:
            seen, reward, terminated, truncated, _ = twin.step(int(action))
            over = terminated or truncated
        now = env.step(action)
        np.testing.assert_array_equal(now.observation["vector"][0], seen)
        assert now.reward[0] == reward
        assert bool(now.last[0]) == over


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gym:CartPol-v1", "did you mean CartPole"),
        ("gym:Continuous-v0", "only Discrete"),
        ("gym:FloatImage-v0", "uint8"),
        ("gym:Graph-v0", "no fixed size"),
        ("gym:Nothing-v0", "has no observation that a network can read"),
        ("gym:FourAxes-v0", r"uint8 \[4, 5, 7, 3\]; images are uint8 of two or three axes"),
        ("gym:TwoImages-v0", "'left'.*'right'"),
        ("gym:no_such_module:Thing-v0", "no_such_module"),
        ("gym:", "Malformed environment ID"),
    ],
)
def test_what_cannot_be_played_is_refused_by_name(name, words):
    with pytest.raises(UserError, match=words) as caught:
        morello.make(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("raise", "step 2 .*ZeroDivisionError: the world ended"),
        ("exit", "step 2 .*SystemExit: 3"),
        ("nan", "step 2 .*not finite"),
        ("reward", "step 2 .*reward is inf"),
        ("shape", r"step 2 .*shape \[4\], not \[3\]"),
        ("type", "step 2 .*complex128, not float32"),
        ("reset", "in reset .*OSError: no world to be had"),
    ],
)
def test_a_broken_environment_is_named_or_made_anew(fault, words):
    named = rf"Faulty-v0: environment 1 \(seed 1\) failed .*{words}.*--restart-envs"
    with pytest.raises(BrokenEnvironmentError, match=named):
        play(faulty(fault), 3)
    made = Faulty.made
    env = faulty(fault, restart_envs=True)
    with pytest.warns(RuntimeWarning, match="recreated, 1 so far"):
        rows = play(env, 12)
    assert env.restarts == [0, 1, 0]
    assert Faulty.made == made + 4
    image = torch.stack([r["seen"] for r in rows])
    assert image.isfinite().all()
    assert torch.stack([r["reward"] for r in rows]).isfinite().all()
    if fault != "reset":  # its episode ends where it broke, truncated, showing what it had last shown
        broken = rows[2]
        assert broken["last"].tolist() == [False, True, False]
        assert (broken["reward"][1], broken["discount"][1]) == (0, 1)
        assert broken["seen"][:, 0].tolist() == [2, 1, 2]
        assert rows[3]["first"].tolist() == [False, True, False]
    firsts, lasts = (torch.stack([r[k] for r in rows]) for k in ("first", "last"))
    assert torch.equal(firsts[1:], lasts[:-1])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("panic", "step 2 .*Panic: the rust is gone"),
        ("mute", "step 2 .*MuteError: a MuteError that cannot be printed"),
        ("text", "step 2 .*terminated 'False' and truncated False"),
        ("price", "step 2 .*reward is '1.5'"),
    ],
)
def test_whatever_it_does_it_is_named_or_made_anew(fault, words):
    named = rf"Unruly-v0: environment 1 \(seed 1\) failed .*{words}"
    with pytest.raises(BrokenEnvironmentError, match=named):
        play(Gymnasium("Unruly-v0", 3, CPU, 0, fault=fault), 3)
    env = Gymnasium("Unruly-v0", 3, CPU, 0, restart_envs=True, fault=fault)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        play(env, 6)
    assert env.restarts == [0, 1, 0]
    assert any(re.match(named, str(w.message)) for w in said)


def test_one_that_cannot_be_made_says_how_it_ended():
    with pytest.raises(UserError, match="cannot make 'Unruly-v0': SystemExit: 0"):
        Gymnasium("Unruly-v0", 1, CPU, 0, fault="exit in init")


def test_all_are_closed_whatever_one_has_against_it():
    env = Gymnasium("Unruly-v0", 3, CPU, 0, fault="bad close")
    Unruly.calls.clear()
    with pytest.warns(RuntimeWarning) as warned:
        env.close()
    assert all(f"environment {i} failed to close: SystemExit: 3" in str(w.message) for i, w in enumerate(warned))
    assert len(warned) == 3
    assert Unruly.calls == ["closed"] * 3


def test_actions_are_numpys_integers():
    env = Gymnasium("Unruly-v0", 1, CPU, 0, fault="none")
    env.reset()
    Unruly.calls.clear()
    env.step(torch.tensor([1]))
    assert Unruly.calls == [np.int64]


def test_an_environment_that_never_works_is_given_up():
    class Never(Faulty):
        def reset(self, *, seed=None, options=None):
            raise OSError("never")

    gymnasium.register("Never-v0", Never)
    with pytest.warns(RuntimeWarning), pytest.raises(BrokenEnvironmentError, match=f"recreated {ATTEMPTS - 1} times"):
        Gymnasium("Never-v0", 1, CPU, 0, restart_envs=True).reset()


@pytest.mark.filterwarnings("ignore:Faulty-v0")
def test_an_environment_that_breaks_in_every_episode_is_given_up():
    env = Gymnasium("Faulty-v0", 2, CPU, 0, restart_envs=True, fault="raise", bad=None)
    env.reset()
    env._envs[0].unwrapped.bad = -1
    for _ in range(3 * (EPISODES - 1) + 1):  # one step that works, one that breaks, one that begins
        env.step(torch.zeros(2, dtype=torch.int64))
    words = rf"environment 1 .*failed {EPISODES} times without a whole episode, recreated {EPISODES - 1} times"
    with pytest.raises(BrokenEnvironmentError, match=words):
        env.step(torch.zeros(2, dtype=torch.int64))
    assert env.restarts == [0, EPISODES - 1]


@pytest.mark.filterwarnings("ignore:Faulty-v0")
def test_one_whole_episode_clears_its_name():
    env = Gymnasium("Faulty-v0", 1, CPU, 0, restart_envs=True, fault="raise", bad=None)
    env.reset()
    for episode in range(EPISODES + 5):
        if episode == EPISODES - 2:
            env._envs[0].unwrapped.bad = -1
        while not env.step(torch.zeros(1, dtype=torch.int64)).last:
            pass
        env._envs[0].unwrapped.bad = None
    assert env.restarts == [EPISODES + 4]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((np.full(3, 1e300), 1.0, False, False, {}), "not finite in float32"),
        ((np.ones(3, np.float32), 1.0, np.zeros(2, bool), False, {}), "terminated array"),
        ((np.ones(3, np.float32), 1.0, False), "returns 3 values"),
        ((None, 1.0, False, False, {}), "is object|shape"),
        ((np.ones(3, np.float32), 1e300, False, False, {}), "reward is 1e\\+300"),
    ],
)
def test_a_bad_answer_leaves_the_last_observation(answer, words):
    env = Gymnasium("Faulty-v0", 1, CPU, 1, restart_envs=True, fault="none")
    env.reset()
    env._envs[0].unwrapped.step = lambda action: answer
    with pytest.warns(RuntimeWarning, match=words):
        now = env.step(torch.tensor([0]))
    assert now.observation["vector"].tolist() == [[0, 0, 0]]
    assert now.last.item()


def test_numbers_beyond_their_bounds_are_taken_and_said_once():
    env = faulty("beyond")
    with pytest.warns(RuntimeWarning) as warned:
        rows = play(env, 12)
    words = r"Faulty-v0: environment 1 \(seed 1\) leaves its space at step 2 of an episode: .*beyond the bounds of Box"
    assert len(warned) == 1
    assert re.match(words, str(warned[0].message))
    assert rows[2]["seen"].tolist() == [[2, 2, 2], [2, 10.5, 2], [2, 2, 2]]
    assert not rows[2]["last"].any()


def test_a_seed_decides_what_follows_a_restart():
    env = faulty("raise", restart_envs=True)
    with pytest.warns(RuntimeWarning):
        seeds = [(env.reset(seed=1), play(env, 6), env.faults.seed.tolist())[2] for _ in range(2)]
    assert seeds[0] == seeds[1]


def test_masks_and_rows_that_do_not_fit_are_refused():
    env = morello.make("gym:CartPole-v1", 2)
    now = env.reset()
    for mask in (torch.ones(3, dtype=torch.bool), torch.ones(2), torch.ones(2, 1, dtype=torch.bool)):
        with pytest.raises(ValueError, match="mask is"):
            env.reset(mask=mask)
    with pytest.raises(ValueError, match="out needs reward"):
        env.step(torch.zeros(2, dtype=torch.int64), out=now._replace(reward=torch.zeros(2, 1)))
    with pytest.raises(UserError, match="0 or more"):
        morello.make("gym:CartPole-v1", 2, seed=-1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ALE/Pong-v5", "package ale_py, which is not installed: pip install ale-py"),
        ("ale_py:ALE/Pong-v5", "pip install ale-py"),
        ("MiniGrid-DoorKey-5x5-v0", r"minigrid, which is not installed: pip install 'morello\[envs\]'"),
        ("BabyAI-GoToLocal-v0", "package minigrid"),
        ("MiniWorld-MazeS3-v0", r"miniworld, which is not installed: pip install 'morello\[envs\]'"),
    ],
)
def test_packages_that_are_missing_are_named_with_how_to_get_them(monkeypatch, name, words):
    def absent(module, package=None):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr("morello.envs.adapters.gymnasium.import_module", absent)
    with pytest.raises(UserError, match=words):
        morello.make(f"gym:{name}")


def test_a_package_that_is_there_but_broken_says_so_itself(monkeypatch):
    def broken(module, package=None):
        raise ModuleNotFoundError("No module named 'inner'", name="inner")

    monkeypatch.setattr("morello.envs.adapters.gymnasium.import_module", broken)
    with pytest.raises(UserError, match="needs something that is not installed: No module named 'inner'"):
        morello.make("gym:MiniGrid-DoorKey-5x5-v0")


def test_hundreds_of_names_are_not_listed():
    with pytest.raises(UserError, match=r"known: .* more$") as caught:
        morello.make("gym:qqqqqqqqqqqqqqqq")
    assert len(str(caught.value)) < 250
    assert suggest("qqqqqq", ["a", "b", "c"]) == "known: a, b, c"
