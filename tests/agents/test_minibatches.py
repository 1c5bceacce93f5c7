"""Several updates per rollout: what they add up to, and when they stop."""

import copy
from dataclasses import replace

import pytest
import torch

import morello
from morello.agents.actor import Actor
from morello.agents.gradients import Gradients
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.auxiliaries import IntrinsicReward, Scored

from ..support.plugins import weighed

B, T = 5, 6
STILL = LearnerConfig(
    gamma=0.9,
    lambda_=0.8,
    clip=0.2,
    value_clip=0.1,
    advantage="standardised",
    learning_rate=0.0,
    max_grad_norm=1e9,
    constant_rate=True,
    optimizer="adam",
    reward="clip",
)
PPO = replace(STILL, learning_rate=0.01, max_grad_norm=0.5, epochs=3, minibatches=2)


class Forever(IntrinsicReward):
    """Pays for the step in the episode, across resets, so that its value is trained on every row."""

    def __init__(self):
        super().__init__(self.Config(normalise="none", episodic=False))

    def score(self, rollout, features, state):
        return Scored(rollout.info["cell"][1:].float() / 9)


def collected(memory="none", streams=("extrinsic", "bonus"), rollouts=2):
    torch.manual_seed(2)
    env = morello.make("counting:steps", num_envs=B, frame_size=(20, 23))
    model = ActorCritic(env.spec, torso="shallow", memory=memory, memory_size=13, streams=streams)
    actor = Actor(env, model, T, seed=2)
    for _ in range(rollouts):
        rollout = actor.collect()
    assert not rollout.valid.all()
    return model, rollout


def gradients(model, rollout, config):
    """The gradient of each update, before it is clipped."""
    found = []

    class Noting(Gradients):
        def apply(self, learning_rate, gate):
            found.append({k: p.grad.clone() for k, p in self.model.named_parameters()})
            super().apply(learning_rate, gate)

    before = copy.deepcopy(model.state_dict())
    learner = Learner(model, config, 10**6, plugins={"bonus": weighed(Forever(), 0.7, gamma=0.8)})
    learner.gradients = Noting(model, config, learner.plugins, learner.active)
    metrics = learner.step(rollout)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    return found, metrics


@pytest.mark.parametrize(
    ("memory", "segment", "minibatches"),
    [("none", 1, 2), ("none", 1, 7), ("none", 1, T * B), ("none", 3, 4), ("none", T, 3), ("gru", T, 2), ("gru", T, B)],
)
def test_minibatches_at_rate_0_add_up_to_the_gradient_of_the_whole(memory, segment, minibatches):
    model, rollout = collected(memory)
    (whole,), metrics = gradients(model, rollout, STILL)
    parts, more = gradients(model, rollout, replace(STILL, segment=segment, minibatches=minibatches, epochs=2))
    assert len(parts) == 2 * minibatches
    for epoch in (parts[:minibatches], parts[minibatches:]):
        for name, its in whole.items():
            total = sum(part[name] for part in epoch) / minibatches
            torch.testing.assert_close(total, its, atol=2e-6, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
    weights = [part["policy.weight"] for part in parts]
    epochs = zip(weights[:minibatches], weights[minibatches:], strict=True)
    assert not all(torch.equal(one, other) for one, other in epochs)  # in another order
    for name in ("loss/policy", "loss/value", "loss/value/bonus", "loss/entropy", "entropy", "advantage"):
        assert more[name].item() == pytest.approx(metrics[name].item(), rel=1e-4, abs=1e-6), name


def test_minibatches_of_crossing_rows_alone_have_no_part_in_it():
    """Each row is a minibatch: those that cross a reset only teach the value that runs across resets."""
    model, rollout = collected()
    parts, _ = gradients(model, rollout, replace(STILL, segment=1, minibatches=T * B))
    crossing = [not part["policy.weight"].any() and not part["values.extrinsic.weight"].any() for part in parts]
    assert sum(crossing) == (~rollout.valid).sum()
    assert all(part["values.bonus.weight"].any() for part in parts)


def test_a_limit_that_is_exceeded_at_once_leaves_the_first_update():
    def after(**changes):
        model, rollout = collected(streams=("extrinsic",))
        learner = Learner(model, replace(PPO, learning_rate=1.0, **changes), 10**6)
        metrics = learner.step(rollout)
        return learner, metrics, model.state_dict()

    stopped, metrics, weights = after(target_kl=1e-6)
    assert stopped.updates == 1
    assert metrics["finite"] == 1
    assert stopped.steps == T * B
    everything, *_ = after()
    assert everything.updates == 6
    never, _, its = after(target_kl=1e9)
    assert never.updates == 6
    assert not torch.equal(its["policy.weight"], weights["policy.weight"])


def test_a_limit_that_is_not_reached_changes_nothing():
    found = []
    for limit in (None, 1e9):
        model, rollout = collected(streams=("extrinsic",))
        Learner(model, replace(PPO, target_kl=limit), 10**6).step(rollout)
        found.append(model.state_dict())
    assert all(torch.equal(v, found[1][k]) for k, v in found[0].items())


def test_a_minibatch_without_a_valid_row_does_not_stop_the_others():
    model, rollout = collected(streams=("extrinsic",))
    learner = Learner(model, replace(PPO, segment=1, minibatches=T * B, epochs=2, target_kl=1e9), 10**6)
    learner.step(rollout)
    assert learner.updates == 2 * T * B


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_gated_updates_are_those_of_a_host_that_stops(monkeypatch, optimizer):
    """As on a GPU, where the host does not read whether to stop: over several rollouts the weights are the same."""

    def trained():
        torch.manual_seed(2)
        env = morello.make("counting:steps", num_envs=B, frame_size=(20, 23))
        model = ActorCritic(env.spec, torso="shallow")
        actor = Actor(env, model, T, seed=2)
        config = replace(PPO, learning_rate=0.004, target_kl=0.01, optimizer=optimizer)
        learner = Learner(model, config, 10**6)
        made = []
        for _ in range(5):
            learner.step(actor.collect())
            made.append(learner.updates)
        return learner.state_dict(), made

    stopped, made = trained()
    assert 5 < made[-1] < 30
    monkeypatch.setattr(Gradients, "gated", property(lambda self: True))
    gated, _ = trained()
    for name, its in stopped["model"].items():
        torch.testing.assert_close(gated["model"][name], its, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    for name, its in stopped["optimizer"].items():
        assert gated["optimizer"][name]["updates"] == its["updates"] == made[-1]
        torch.testing.assert_close(gated["optimizer"][name], its, atol=1e-5, rtol=1e-3)
