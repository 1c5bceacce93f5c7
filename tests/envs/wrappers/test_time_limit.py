"""The time limit: the oracle counts each environment alone."""

import pytest
import torch

import morello
from morello.envs.experience import Timestep
from morello.envs.wrappers import (
    TimeLimit,
)

from ...support.film import LENGTHS, Film, image, run, same_but
from ...support.timesteps import actions, assert_same, copy


def limited_by_hand(lengths, b, limit, chosen):
    """The answers of environment b: alone, counted and reset by the loop."""
    env = Film([9])
    whole = Film(lengths)
    env.images, env.rewards, env.cells = (x[:, b : b + 1] for x in (whole.images, whole.rewards, whole.cells))
    env.lengths = whole.lengths[b : b + 1]
    answers, age = [copy(env.reset())], 0
    for a in chosen:
        if answers[-1].last and age == limit and env.age < env.lengths:
            env.step(torch.tensor([0]))
            now, age = env.reset(), 0
        else:
            now = env.step(a.view(1))
            age = 0 if now.first else age + 1
        answers.append(copy(now)._replace(last=now.last | (age == limit)))
    return answers


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 4, 5, 11])
def test_time_limits_are_those_of_the_oracle(limit, written):
    env = TimeLimit(Film(LENGTHS), limit)
    assert env.spec.max_steps == limit
    answers = run(env, written=written)
    for b in range(len(LENGTHS)):
        for x, y in zip(answers, limited_by_hand(LENGTHS, b, limit, actions(env, 41)[:, b]), strict=True):
            assert_same(
                Timestep(
                    *({k: v[b : b + 1] for k, v in f.items()} if isinstance(f, dict) else f[b : b + 1] for f in x)
                ),
                y,
            )


def test_who_never_reaches_the_limit_is_not_touched():
    answers, plain = run(TimeLimit(Film(LENGTHS), 4)), run(Film(LENGTHS))
    short = torch.tensor(LENGTHS) < 4
    for x, y in zip(answers, plain, strict=True):
        assert_same(x, y, short)
    assert any(not torch.equal(image(x)[~short], image(y)[~short]) for x, y in zip(answers, plain, strict=True))


def test_a_limit_is_no_termination_and_a_termination_at_the_limit_is_one():
    """Counting environments 0, 1 and 2 take 3 (terminates), 8 (runs out of time) and 6 (terminates) steps."""
    env = TimeLimit(morello.make("counting:steps", 3), 6)
    rows = run(env, steps=15)
    ends = {b: [(t, float(x.discount[b])) for t, x in enumerate(rows) if x.last[b]] for b in range(3)}
    assert ends == {0: [(3, 0), (7, 0), (11, 0), (15, 0)], 1: [(6, 1), (13, 1)], 2: [(6, 0), (13, 0)]}
    episodes = torch.stack([x.observation["vector"][:, 2] for x in rows])
    firsts = torch.stack([x.first for x in rows])
    assert torch.equal(episodes, (firsts.cumsum(0) - 1).float())  # each reset began one, and only one


def test_a_limit_asks_only_when_somebody_may_have_reached_it():
    """Asking is waiting where there is a device: twice an episode here, once to cut and once to see the next one."""
    film = Film([100, 100])
    env = TimeLimit(film, 7)
    env.reset()
    asked = []
    for t, a in enumerate(actions(env, 23)):  # rows 0 to 7 | 8 to 15 | 16 to 23
        if env._quiet_steps == 0:
            asked.append(t)
        env.step(a)
    assert asked == [0, 7, 8, 15, 16]
    assert film.resets == 1 + 2


def test_the_step_of_which_nothing_is_seen_does_not_depend_on_the_agent():
    """An environment may draw from a generator of its own in it: the ignored action must not decide how often."""
    env = TimeLimit(Film(LENGTHS), 4)
    now, cut = env.reset(), torch.zeros(5, dtype=torch.bool)
    for a in actions(env, 41) % 4 + 1:
        crossing = now.last & (env.env.age < env.env.lengths)
        now = env.step(a)
        assert torch.equal(env.env.given[-1], torch.where(crossing, 0, a))
        cut = cut | crossing
    assert torch.equal(cut, torch.tensor(LENGTHS) > 4)


def test_a_masked_reset_starts_the_clock_only_there():
    env = TimeLimit(Film([50] * 3), 7)
    ends, now = [[], [], []], env.reset()
    for t, a in enumerate(actions(env, 23)):
        if t in (4, 15):  # the second while environment 0 is at its limit, and environment 1 is not
            before = copy(now)
            now = env.reset(mask=torch.tensor([False, True, False]))
            assert_same(now, before, torch.tensor([True, False, True]))
        now = env.step(a)
        for b in range(3):
            ends[b] += [t + 1] * bool(now.last[b])
    assert ends == [[7, 15, 23], [11, 22], [7, 15, 23]]


def test_limits_nest():
    same_but(run(TimeLimit(TimeLimit(Film(LENGTHS), 6), 4)), run(TimeLimit(Film(LENGTHS), 4)))
