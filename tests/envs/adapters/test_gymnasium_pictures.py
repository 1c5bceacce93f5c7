"""Pictures of Gymnasium's environments for people: drawn where asked for, or said to be missing."""

import numpy as np
import pytest
import torch

import morello
from morello.envs.adapters.gymnasium import Gymnasium

from ...support.faulty import CPU, faulty, play
from ...support.gymnasium_worlds import Drawn


def test_the_picture_is_of_environment_0_as_last_answered():
    Drawn.made.clear()
    env = morello.make("gym:Drawn-v0", 3, seed=4, render=True)
    assert Drawn.made == ["rgb_array", None, None]
    assert env.render() is None  # there is nothing yet
    now, ends = env.reset(), 0
    for _ in range(20):
        shown = env.render()
        assert (shown.shape, shown.dtype) == ((4, 6, 3), np.uint8)
        assert (shown == now.observation["image"][0, 0, 0, 0].item()).all()
        ends += int(now.last[0])
        now = env.step(torch.zeros(3, dtype=torch.int64))
    assert ends > 2
    before = env.render()
    env.step(torch.ones(3, dtype=torch.int64))
    assert (env.render() != before).any()  # a picture stays what it was


def test_nothing_is_drawn_unasked():
    Drawn.made.clear()
    env = morello.make("gym:Drawn-v0", 2)
    env.reset()
    assert env.render() is None
    assert Drawn.made == [None, None]


@pytest.mark.parametrize(
    ("draws", "words"),
    [
        ("missing", "DependencyNotInstalled: pygame is not installed run pip"),
        ("exit", "SystemExit: 1"),
        ("nothing", "its render returns None"),
        ("text", "not uint8"),
        ("list", r"\[2, 4, 6, 3\]"),
        ("grey", r"uint8 \[4, 6\]"),
        ("alpha", r"uint8 \[4, 6, 4\]"),
        ("empty", r"\[0, 6, 3\]"),
        ("float", "float64"),
    ],
)
def test_what_cannot_be_drawn_is_said_once_and_played_on(draws, words):
    env = Gymnasium("Drawn-v0", 2, CPU, 0, render=True, draws=draws)
    env.reset()
    with pytest.warns(RuntimeWarning, match=f"Drawn-v0 has no picture for people: .*{words}") as warned:
        pictures = [(env.render(), env.step(torch.zeros(2, dtype=torch.int64)))[0] for _ in range(4)]
    assert pictures == [None] * 4
    assert len(warned) == 1


def test_a_class_that_cannot_be_told_to_draw_is_made_without():
    with pytest.warns(RuntimeWarning, match="Faulty-v0 has no picture for people") as warned:
        env = faulty("raise", restart_envs=True, render=True)
    assert len(warned) == 1
    with pytest.warns(RuntimeWarning, match="recreated") as warned:
        rows = play(env, 6)
    assert len(warned) == 1
    assert env.render() is None
    assert torch.equal(rows[1]["seen"], torch.ones(3, 3))


def test_an_environment_made_anew_draws_again():
    env = Gymnasium("Drawn-v0", 1, CPU, 0, render=True, restart_envs=True)
    env.reset()
    env._envs[0].unwrapped.step = lambda action: 1 / 0
    with pytest.warns(RuntimeWarning, match="recreated"):
        env.step(torch.tensor([0]))
    assert env.render() is None  # it has not begun
    env.step(torch.tensor([0]))
    assert (env.render() == 0).all()


def test_cart_pole_has_a_picture():
    pytest.importorskip("pygame")
    env = morello.make("gym:CartPole-v1", 1, render=True)
    env.reset()
    shown = env.render()
    assert shown.shape == (400, 600, 3)
    assert 0 < (shown != 255).mean() < 0.2  # the cart and its pole on white
