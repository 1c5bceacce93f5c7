"""The batched CartPole is Gymnasium's, step for step."""

import gymnasium
import pytest
import torch

from morello.benchmarks.lag.cartpole import LIMIT, CartPole, advanced


def test_one_step_is_gymnasiums_from_any_state():
    theirs = gymnasium.make("CartPole-v1").unwrapped
    states = (2 * torch.rand(23, 4, dtype=torch.float64) - 1) * torch.tensor([2.0, 3.0, 0.2, 3.0])
    actions = torch.arange(23) % 2
    mine = advanced(states, actions)
    for state, action, after in zip(states, actions, mine, strict=True):
        theirs.reset(seed=0)
        theirs.state = tuple(state.tolist())
        theirs.step(int(action))
        assert after.tolist() == pytest.approx(theirs.state, abs=1e-12)


def play(env, steps, policy):
    timestep = env.reset()
    yield timestep
    for _ in range(steps):
        timestep = env.step(policy(timestep))
        yield timestep


def test_episodes_are_gymnasiums():
    """Each of 7 environments is replayed in Gymnasium from its first observation, through falls and resets."""
    generator = torch.Generator().manual_seed(3)
    taken = []

    def policy(timestep):
        taken.append(torch.randint(2, (7,), generator=generator))
        return taken[-1]

    seen = list(play(CartPole(7, seed=5), 150, policy))
    for i in range(7):
        theirs = gymnasium.make("CartPole-v1").unwrapped
        theirs.reset(seed=0)
        over = True
        for t, step in enumerate(seen):
            assert step.first[i] == over
            if step.first[i]:
                assert (step.reward[i], step.discount[i]) == (0, 1) or t == 0
                assert step.observation["vector"][i].abs().max() <= 0.05
                theirs.state, theirs.steps_beyond_terminated = step.observation["vector"][i].double().numpy(), None
                over = False
                continue
            observation, reward, over, _, _ = theirs.step(int(taken[t - 1][i]))
            assert step.observation["vector"][i].tolist() == pytest.approx(observation.tolist(), abs=1e-4)
            assert (step.reward[i], step.last[i], step.discount[i]) == (reward, over, 0.0 if over else 1.0)


def test_the_time_limit_truncates():
    def balanced(timestep):  # a linear controller that never falls
        return (timestep.observation["vector"] @ torch.tensor([0.1, 0.5, 10.0, 2.0]) > 0).long()

    *_, before, end, after = play(CartPole(3, seed=1), LIMIT + 1, balanced)
    assert not before.last.any()
    assert end.last.all()
    assert (end.discount == 1).all()
    assert (end.reward == 1).all()
    assert after.first.all()
