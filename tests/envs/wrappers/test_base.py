"""What every wrapper keeps, and what it refuses. Conformance: test_environments.py."""

import math

import pytest
import torch

import morello
from morello.envs.errors import UserError
from morello.envs.experience import Timestep
from morello.envs.rows import leaves
from morello.envs.wrappers import (
    FrameStack,
    Grey,
    NoisyTV,
    Resize,
    Rewards,
    StickyActions,
    TimeLimit,
    VisitCounts,
    Wrapper,
)

from ...support.film import LENGTHS, Film, H, W, empty_like, run
from ...support.timesteps import actions

WRAPPERS = {
    "noisy": lambda env: NoisyTV(env),
    "remote": lambda env: NoisyTV(env, channel="action"),
    "sticky": lambda env: StickyActions(env),
    "stack": lambda env: FrameStack(env, 2),
    "grey": lambda env: Grey(env),
    "resize": lambda env: Resize(env, 3, 2),
    "rewards": lambda env: Rewards(env),
    "visits": lambda env: VisitCounts(env, 13),
    "nothing": lambda env: Wrapper(env),
    "limit": lambda env: TimeLimit(env, 3),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_rows_that_do_not_fit_are_refused_before_anything_happens(name):
    env = WRAPPERS[name](Film(LENGTHS))
    example = env.reset()
    for wrong in leaves(example):
        saved = {k: v.clone() for k, v in env._state.items()}
        out = Timestep(*(empty_like(x) for x in example))
        for where in (out.observation, out.info):
            if wrong in where:
                where[wrong] = where[wrong][..., :1].repeat(*[1] * (where[wrong].dim() - 1), 19)
        if wrong in Timestep._fields:
            out = out._replace(**{wrong: torch.zeros(19, dtype=getattr(out, wrong).dtype)})
        with pytest.raises(ValueError, match=f"out needs {wrong} as"):
            env.step(actions(env, 1)[0], out)
        assert all(torch.equal(env._state[k], v) for k, v in saved.items())


@pytest.mark.parametrize("name", ["remote", "sticky", "limit"])
@pytest.mark.parametrize(
    "action", [torch.zeros(1, dtype=torch.int64), torch.zeros(5), torch.zeros(5, dtype=torch.bool)]
)
def test_actions_that_are_none_are_not_made_into_some(name, action):
    env = WRAPPERS[name](Film([3] * 5))
    run(env, steps=3)  # at the limit
    with pytest.raises(ValueError, match=r"integers \[5\]"):
        env.step(action)


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_belongs_to_the_environments_inside(name):
    env = WRAPPERS[name](Film(LENGTHS))
    assert env.spec.resumable
    assert not env.capturable
    env.env.capturable = True
    assert env.capturable == (name != "limit")  # there the host decides
    env.close()
    assert env.env.closed
    loose = morello.make("gym:CartPole-v1", 5)
    if name not in ("noisy", "remote", "stack", "grey", "resize"):
        env = WRAPPERS[name](loose)
        assert not env.spec.resumable
        with pytest.raises(UserError, match="cannot save"):
            env.state_dict()


def test_a_state_of_other_wrappers_is_refused():
    env = FrameStack(Film(LENGTHS), 2)
    with pytest.raises(UserError, match=r"stack is \[5, 5, 7, 3, 3\], .* \[5, 5, 7, 2, 3\]"):
        env.load_state_dict(FrameStack(Film(LENGTHS), 3).state_dict())
    with pytest.raises(UserError, match="stack is missing"):
        env.load_state_dict(Rewards(Film(LENGTHS)).state_dict())


def cart():
    return morello.make("gym:CartPole-v1", 2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NoisyTV(cart()), "needs an image, and CartPole-v1 shows only vector"),
        (lambda: FrameStack(cart()), "needs an image"),
        (lambda: Grey(cart()), "needs an image"),
        (lambda: Resize(cart(), 3, 5), "needs an image"),
        (lambda: NoisyTV(Film([3]), 0), "above 0"),
        (lambda: NoisyTV(Film([3]), 1.1), "at most 1"),
        (lambda: NoisyTV(Film([3]), math.nan), "at most 1"),
        (lambda: NoisyTV(Film([3]), channel="remote"), "'step' or 'action'"),
        (lambda: NoisyTV(Film([3]), channel="action", noop=5), "0 to 4, not 5"),
        (lambda: StickyActions(Film([3]), 1.5), "probability"),
        (lambda: StickyActions(Film([3]), math.nan), "probability"),
        (lambda: FrameStack(Film([3]), 0), "at least 1"),
        (lambda: Grey(Film([3], channels=4)), "4 channels"),
        (lambda: Resize(Film([3]), 0, 5), "0 x 5"),
        (lambda: Rewards(Film([3]), "clipped"), "did you mean clip"),
        (lambda: TimeLimit(Film([3]), 0), "at least 1 step"),
        (lambda: VisitCounts(Film([3]), 0), "at least 1 cell"),
        (lambda: VisitCounts(cart(), 5).reset(), r"info\['cell'\], which CartPole-v1"),
        (lambda: run(VisitCounts(Film([30]), 3)), "more cells"),
    ],
)
def test_a_mistake_gets_one_sentence_with_the_way_out(make, words):
    with pytest.raises(UserError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
def test_the_device_is_not_waited_for_and_answers_as_the_processor():
    def build(device):
        env = morello.make("counting:steps", 5, device=device, frame_size=(H, W))
        env = FrameStack(Resize(Grey(NoisyTV(StickyActions(env), channel="action")), 3, 4), 2)
        return VisitCounts(Rewards(env), 13)

    there, here = build("cuda"), build("cpu")
    there.reset()
    here.reset()
    for a in actions(here, 13):
        chosen, expected = a.cuda(), here.step(a)
        torch.cuda.set_sync_debug_mode("error")
        try:
            now = there.step(chosen)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        for name, x in leaves(expected).items():
            assert torch.equal(leaves(now)[name].cpu(), x), name


def test_actions_beyond_the_wrappers_own_are_refused_with_its_own_number():
    sticky, remote = StickyActions(Film([9, 9]), 1.0), NoisyTV(Film([9, 9]), channel="action")
    for env, most in ((sticky, 5), (remote, 6)):
        env.reset()
        for wrong in ([most, 0], [0, -1]):
            with pytest.raises(ValueError, match=rf"lie in \[0, {most}\)"):
                env.step(torch.tensor(wrong))


def test_how_often_environments_broke_is_handed_on_where_they_can():
    inside = Film([9, 9])
    assert Grey(inside).restarts == []
    inside.restarts = [0, 2]
    assert TimeLimit(Grey(inside), 5).restarts == [0, 2]
