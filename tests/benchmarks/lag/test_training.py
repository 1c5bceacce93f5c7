"""Old weights act, new weights learn, and only then does the estimator matter."""

import pytest
import torch

from morello.agents.model import ActorCritic
from morello.benchmarks.lag.cartpole import CartPole
from morello.benchmarks.lag.training import ENVS, LIMIT, UNROLL, Case, Lagged, evaluated, train

UPDATE = ENVS * UNROLL


def weights(estimator, lag, updates=7):
    lagged = Lagged(Case(estimator, lag, 0.005, 3, updates * UPDATE))
    for _ in range(updates):
        lagged.step()
    return torch.nn.utils.parameters_to_vector(lagged.model.parameters())


def test_without_a_lag_no_correction_is_needed():
    torch.testing.assert_close(weights("vtrace", 0), weights("uncorrected", 0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("lag", [1, 3])
def test_with_a_lag_the_correction_changes_the_weights(lag):
    assert (weights("vtrace", lag) - weights("uncorrected", lag)).abs().max() > 1e-3


@pytest.mark.parametrize("estimator", ["vtrace", "ppo"])
def test_the_acting_weights_are_those_of_so_many_updates_ago(estimator):
    lag, updates = 2, 6
    lagged = Lagged(Case(estimator, lag, 0.005, 3, updates * UPDATE))
    history = []
    for update in range(updates):
        history.append({k: v.clone() for k, v in lagged.model.state_dict().items()})
        rollout = lagged.step()
        judge = ActorCritic(lagged.actor.env.spec)
        judge.load_state_dict(history[max(0, update - lag)])
        with torch.no_grad():
            expected = judge.unroll(rollout).logits[:-1]
        torch.testing.assert_close(rollout.logits, expected, rtol=0, atol=1e-5)
    assert lagged.learner.steps == updates * UPDATE


def test_a_curve_has_steps_that_grow_and_no_figure_before_every_environment_has_one():
    found = train(Case("uncorrected", 1, 0.002, 0, 40 * UPDATE))
    assert found["step"] == [UPDATE * (i + 1) for i in range(40)]
    assert found["episode_return"][0] is None  # no episode of CartPole ends within 4 steps
    assert 8 < found["episode_return"][-1] < 100
    assert 8 < found["final"] < LIMIT


def test_the_final_return_counts_one_episode_of_each_environment():
    """A policy that always pushes right falls within 8 to 11 steps, again and again until the rollout ends."""
    model = ActorCritic(CartPole(1).spec)
    with torch.no_grad():
        model.policy.weight.zero_()
        model.policy.bias.copy_(torch.tensor([-99.0, 99.0]))
    assert 8 <= evaluated(model, seed=0) <= 11
