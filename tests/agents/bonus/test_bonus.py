"""Intrinsic rewards for other trainers: what is paid, what is remembered, and what is said about wrong input."""

import gymnasium
import numpy as np
import pytest
import torch

import morello
from morello.envs.errors import UserError

T, B, V, A = 11, 3, 5, 4
SPACES = (gymnasium.spaces.Box(-9, 9, (V,)), gymnasium.spaces.Discrete(A))


def data(steps=T, seed=0, ends=0.2):
    rng = np.random.default_rng(seed)
    seen = rng.integers(0, 3, (steps + 1, B, V)).astype(np.float32)
    return seen, rng.integers(A, size=(steps, B)), rng.random((steps + 1, B)) < ends


def visits(seen, first):
    """Counted by hand, in each episode."""
    paid = np.zeros((len(seen) - 1, B))
    for b in range(B):
        counts = {}
        for t, x in enumerate(seen[:, b]):
            if first[t, b]:
                counts = {}
            counts[x.tobytes()] = counts.get(x.tobytes(), 0) + 1
            if t and not first[t, b]:
                paid[t - 1, b] = counts[x.tobytes()] ** -0.5
    return paid


def test_it_pays_for_visits_and_remembers_them_from_call_to_call():
    seen, action, first = data(30)
    bonus = morello.intrinsic("episodic_count", SPACES, normalise="none")
    begin, parts = 0, []
    for steps in (7, 1, 22):
        rows = slice(begin, begin + steps + 1)
        parts.append(bonus(seen[rows], action[begin : begin + steps], first[rows]))
        begin += steps
    np.testing.assert_allclose(torch.cat(parts), visits(seen, first), rtol=1e-6)
    assert bonus.steps == 30 * B


def test_it_learns_what_repeats():
    bonus = morello.intrinsic("rnd", SPACES, learning_rate=1e-3, warmup_steps=T * B)
    seen, action, first = data()
    assert bonus(seen, action, first).eq(0).all(), "it warms up"
    found = []
    for _ in range(60):
        bonus(seen, action, first)
        found.append(bonus.metrics["reward"])
    assert found[-1] < 0.2 * found[0]


@pytest.mark.parametrize("name", ["rnd", "icm", "episodic_count", "count", "e3b"])
def test_it_goes_on_where_it_stopped(name, tmp_path):
    one, two = (morello.intrinsic(name, SPACES, seed=3) for _ in range(2))
    for i in range(3):
        one(*data(seed=i))
    torch.save(one.state_dict(), tmp_path / "state")
    two.load_state_dict(torch.load(tmp_path / "state"))
    for i in range(3, 5):
        expected = one(*data(seed=i))
        assert two(*data(seed=i)).equal(expected)
        assert expected.shape == (T, B)
        assert name == "rnd" or expected.abs().sum() > 0


def test_wrong_input_is_one_sentence():
    seen, action, first = data()
    bonus = morello.intrinsic("count", SPACES)
    with pytest.raises(UserError, match=r"has to be \[T \+ 1, B, \*\[5\]\], not \[12, 3, 4\]"):
        bonus(seen[..., :4], action, first)
    with pytest.raises(UserError, match=r"need action \[11, 3\]"):
        bonus(seen, action[:-1], first)
    with pytest.raises(UserError, match="looks at 'vector'"):
        bonus({"image": seen}, action, first)
    with pytest.raises(UserError, match="'coverage' needs info="):
        morello.intrinsic("coverage", SPACES)(seen, action, first)
    with pytest.raises(UserError, match="Unknown intrinsic reward 'rmd'"):
        morello.intrinsic("rmd", SPACES)
    with pytest.raises(UserError, match="has no setting 'gama'"):
        morello.intrinsic("rnd", SPACES, gama=0.9)
    with pytest.raises(UserError, match="discrete actions"):
        morello.intrinsic("rnd", (SPACES[0], SPACES[0]))
    with pytest.raises(UserError, match="discrete actions from 0"):
        morello.intrinsic("rnd", (SPACES[0], gymnasium.spaces.Discrete(3, start=1)))
    with pytest.raises(UserError, match="has no setting 'weight'"):
        morello.intrinsic("rnd", SPACES, weight=0.0)
    with pytest.raises(UserError, match="side must be"):
        morello.intrinsic("rnd", SPACES, side=-1)
    with pytest.raises(UserError, match="Unknown key 'cel'"):
        morello.intrinsic("count", SPACES, key="cel")
    with pytest.raises(UserError, match="'etd' needs at least 5 steps in a call, and there are 1"):
        morello.intrinsic("etd", SPACES)(seen[:2], action[:1], first[:2])
    image = gymnasium.spaces.Box(0, 255, (36, 36, 3), np.uint8)
    with pytest.raises(UserError, match="bytes from 0 to 255"):
        morello.intrinsic("count", (image, SPACES[1]))(np.zeros((T + 1, B, 36, 36, 3)), action, first)
    with pytest.raises(UserError, match="images of bytes or vectors"):
        morello.intrinsic("rnd", (gymnasium.spaces.Discrete(3), SPACES[1]))


def test_the_action_before_a_call_is_remembered():
    """BYOL-Explore reads it. Nothing learns here: a call in two pieces says the same as one in one piece."""
    seen, action, first = data(20, ends=0.0)
    found = []
    for cuts in ((20,), (12, 8)):
        bonus = morello.intrinsic("byol_explore", SPACES, steps=4, learning_rate=1e-30, momentum=0.0, warmup_steps=0)
        contexts, at = [], 0
        module = bonus.module

        def heard(of, state, own=module.contexts, kept=contexts):
            out, after = own(of, state)
            kept.append(out)
            return out, after

        module.contexts = heard
        for n in cuts:
            bonus(seen[at : at + n + 1], action[at : at + n], first[at : at + n + 1])
            saved = bonus.state_dict()
            bonus.load_state_dict(saved)
            at += n
        found.append(contexts)
    torch.testing.assert_close(found[1][-1][-1], found[0][-1][-1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["ngu", "episodic_count", "vime"])
def test_a_refused_call_changes_nothing(name):
    plain, tried = (morello.intrinsic(name, SPACES, warmup_steps=0) for _ in range(2))
    seen, action, first = data()
    broken = np.where(np.arange(V) == 1, np.nan, seen)
    for bonus in (plain, tried):
        bonus(seen, action, first)
    refused = [
        ((seen, action + A, first), f"from 0 to {A - 1}; those here go from 4 to 7"),
        ((seen, action - 1, first), "go from -1"),
        ((seen, action + 0.5, first), "whole numbers"),
        ((broken, action, first), "'vector' has values that are not finite"),
        ((seen[:, :2], action[:, :2], first[:, :2]), "there were 3 environments, and now there are 2"),
        ((seen, None, first), "'action' has to be a tensor or an array, not NoneType"),
        ((seen, action, first, np.zeros((T, B + 1))), r"'reward' has to be finite numbers \[11, 3\]"),
        ((seen, action, first, None, {"cell": np.zeros((T, B))}), r"'cell' has to be \[12, 3, ...\]"),
    ]
    for given, said in refused:
        with pytest.raises(UserError, match=said):
            tried(*given)
    for i in range(1, 4):
        expected = plain(*data(seed=i))
        assert tried(*data(seed=i)).equal(expected)


def test_a_state_that_does_not_fit_changes_nothing():
    plain, tried = (morello.intrinsic("rnd", SPACES, warmup_steps=0) for _ in range(2))
    for bonus in (plain, tried):
        bonus(*data())
    other = morello.intrinsic("rnd", SPACES, warmup_steps=0, normalise="none", seed=9)
    other(*data())
    for state in (other.state_dict(), morello.intrinsic("icm", SPACES).state_dict(), {}, {"module": 1}):
        with pytest.raises(UserError, match="this is not a state of 'rnd'"):
            tried.load_state_dict(state)
    assert tried(*data(seed=1)).equal(plain(*data(seed=1)))


def test_what_cannot_be_built_is_one_sentence():
    grid, image = (gymnasium.spaces.Box(0, 255, shape, np.uint8) for shape in ((7, 7, 3), (3, 84, 84)))
    refused = [
        ({"spec": SPACES[0]}, "observation_space, action_space"),
        ({"spec": (SPACES[0], gymnasium.spaces.MultiBinary(3))}, "discrete actions"),
        ({"spec": (image, SPACES[1])}, r"\[height, width, channels\], and those here are \[3, 84, 84\]"),
        ({"spec": (grid, SPACES[1]), "stacked": 0}, "stacked has to divide the 3 channels"),
        ({"spec": (grid, SPACES[1]), "stacked": 2}, "stacked has to divide the 3 channels"),
        ({"spec": SPACES, "device": "cud"}, "the device 'cud' is not to be had here"),
        ({"spec": SPACES, "normalise": "advantage"}, "take 'return'"),
    ]
    for given, said in refused:
        with pytest.raises(UserError, match=said):
            morello.intrinsic("rnd", **given)


def test_a_reward_that_reads_the_agents_features_says_so(monkeypatch):
    from morello.auxiliaries import INTRINSIC_REWARDS
    from morello.auxiliaries.base import Scored
    from morello.auxiliaries.intrinsic.noise import Noise

    class Reader(Noise):
        def score(self, rollout, features, state):
            return Scored(features.vector[:-1].mean(-1), state)

    monkeypatch.setitem(INTRINSIC_REWARDS, "reader", Reader)
    with pytest.raises(UserError, match="reads the features of morello's agent"):
        morello.intrinsic("reader", SPACES)(*data())
