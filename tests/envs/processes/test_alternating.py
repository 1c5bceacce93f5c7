"""Two pools that take turns are one environment, and the actor overlaps them without changing what happens."""

from contextlib import nullcontext

import pytest
import torch

import morello
from morello.agents.actor import Actor
from morello.agents.model import ActorCritic
from morello.envs.errors import UserError
from morello.envs.processes.alternating import Alternating, Pool
from morello.envs.trees import tree_map


class Noted(Pool):
    """A counting pool that notes who was asked what."""

    def __init__(self, count, offset, notes, name):
        self.env = morello.make("counting:steps", count, env_offset=offset, seed=3)
        self.spec, self.num_envs, self.notes, self.name = self.env.spec, count, notes, name

    def reset(self, seed=None, mask=None):
        return self.env.reset(seed, mask)

    def step(self, action, out=None):
        return self.env.step(action, out)

    def send(self, action):
        self.notes.append(f"send {self.name}")
        self.action = action

    def recv(self, out=None):
        self.notes.append(f"recv {self.name}")
        return self.env.step(self.action, out)


def halves(count, notes):
    return Alternating(lambda n, offset: Noted(n, offset, notes, "first" if offset == 0 else "second"), count)


def test_a_whole_of_two_parts_is_the_same_environment():
    whole, two = morello.make("counting:steps", 5, seed=3), halves(5, [])
    assert [columns for columns, _ in two.parts] == [slice(0, 3), slice(3, 5)]
    same(whole.reset(), two.reset())
    for t in range(23):
        action = torch.tensor([t, t + 1, t + 2, 0, 1]) % 3
        same(whole.step(action), two.step(action))
    mask = torch.tensor([False, True, False, False, True])
    same(whole.reset(mask=mask), two.reset(mask=mask))


def same(x, y):
    tree_map(lambda a, b: a if torch.equal(a, b) else pytest.fail("differ"), x, y)


def test_the_actor_acts_in_one_while_the_other_simulates():
    notes = []
    env = halves(5, notes)
    actor = Actor(env, ActorCritic(env.spec, torso="grid", memory="none", memory_size=3), 3)
    actor.collect()
    assert notes == [
        "send first",
        "send second",
        *["recv first", "send first", "recv second", "send second"] * 2,
        "recv first",
        "recv second",
    ]


@pytest.mark.parametrize(("before", "acting"), [(1, 1), (2, 1), (3, 1), (4, 2)])
@pytest.mark.parametrize("fails", [False, True])
def test_acting_leaves_half_of_the_threads_to_what_simulates_meanwhile(before, acting, fails, threads):
    env, used = halves(5, []), []
    actor = Actor(env, ActorCritic(env.spec, torso="grid", memory="none", memory_size=3), 3)
    whole = Actor(env.parts[0][1].env, actor.model, 3)

    def note():
        used.append(torch.get_num_threads())
        if fails:
            raise InterruptedError

    actor.check = whole.check = note
    torch.set_num_threads(before)
    for each, expected in ((actor, acting), (whole, before)):
        used.clear()
        with pytest.raises(InterruptedError) if fails else nullcontext():
            each.collect()
        assert set(used) == {expected}
        assert torch.get_num_threads() == before


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("memory", ["none", "lstm"])
def test_a_rollout_in_two_parts_is_the_one_in_lockstep(memory):
    whole, two = morello.make("counting:steps", 5, seed=3), halves(5, [])
    torch.manual_seed(0)
    model = ActorCritic(whole.spec, torso="grid", memory=memory, memory_size=7)
    a, b = (Actor(env, model, 4, seed=1) for env in (whole, two))
    for _ in range(5):
        x, y = a.collect(), b.collect()
        assert x.action.equal(y.action)
        tree_map(lambda s, t: torch.testing.assert_close(s, t) or s, x[:9], y[:9])
        tree_map(lambda s, t: torch.testing.assert_close(s, t) or s, x.state, y.state)


def test_one_environment_makes_no_two_parts():
    with pytest.raises(UserError, match="at least 2"):
        halves(1, [])
