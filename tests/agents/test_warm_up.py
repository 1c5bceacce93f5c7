"""Warming up: a reward's first steps only set statistics, are charged like all others, and end where they should."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import morello
from morello.agents.actor import Actor
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.auxiliaries import IntrinsicReward, Scored
from morello.auxiliaries.intrinsic.parts.whitening import flat
from morello.auxiliaries.intrinsic.rnd import RND, RNDConfig
from morello.auxiliaries.pooling import value_of

from ..support.plugins import weighed
from ..support.rewards import snapshot, unchanged

B, T = 7, 6
A2C = LearnerConfig(learning_rate=0.01, constant_rate=True)
PPO = replace(A2C, epochs=2, minibatches=3, clip=0.2, optimizer="adam", advantage="standardised")


class Watched(IntrinsicReward):
    """Pays 1 for every step, learns, and notes what is called."""

    def __init__(self):
        super().__init__(self.Config())
        self.scale, self.called = nn.Parameter(torch.ones(3)), []

    def initial_state(self, batch):
        return torch.zeros(batch)

    def warm_up(self, rollout):
        self.called.append("warm_up")

    def score(self, rollout, features, state):
        self.called.append("score")
        return Scored(torch.ones_like(rollout.reward), state + 1, rollout.reward)

    def observe(self, rollout, features, scored):
        self.called.append("observe")

    def forward(self, rollout, features, scored):
        self.called.append("forward")
        return scored.context.square() * 0 + self.scale.square().sum(), rollout.valid


def parts(rewards, config=A2C, seed=0):
    torch.manual_seed(seed)
    env = morello.make("counting:steps", num_envs=B, frame_size=(20, 23))
    model = ActorCritic(env.spec, torso="shallow", memory_size=13, streams=("extrinsic", *rewards))
    learner = Learner(model, config, 10**6, plugins={k: make(env.spec, model.sizes) for k, make in rewards.items()})
    return learner, Actor(env, model, T, seed=0)


def watched(steps):
    return lambda spec, sizes: weighed(Watched(), 0.5, warmup_steps=steps)


def rnd(steps):
    return lambda spec, sizes: RND(RNDConfig(weight=0.5, size=11, side=20, warmup_steps=steps), spec, sizes)


@pytest.mark.parametrize("config", [A2C, PPO], ids=["a2c", "ppo"])
@pytest.mark.parametrize(
    ("steps", "rollouts"), [(0, 0), (1, 1), (T * B, 1), (T * B + 1, 2), (3 * T * B - 1, 3), (3 * T * B, 3)]
)
def test_it_ends_with_the_rollout_that_begins_at_its_last_step(steps, rollouts, config):
    learner, actor = parts({"it": watched(steps)}, config)
    reward = learner.plugins["it"]
    for number in range(5):
        reward.called.clear()
        metrics = learner.step(actor.collect())
        assert learner.steps == (number + 1) * T * B, "they are charged"
        assert learner.updates == (number + 1) * config.updates, "the agent learns meanwhile"
        warming = number < rollouts
        expected = ["warm_up"] if warming else ["score", "observe", *["forward"] * config.updates]
        assert reward.called == expected
        assert float(value_of(metrics["it/reward"])) == (0.0 if warming else 1.0)
        assert torch.isnan(metrics["it/divisor"]) == warming


@pytest.mark.parametrize("config", [A2C, PPO], ids=["a2c", "ppo"])
def test_meanwhile_only_statistics_change(config):
    learner, actor = parts({"rnd": rnd(2 * T * B), "other": watched(0)}, config)
    module, normaliser = learner.plugins["rnd"], learner.streams.normalisers["rnd"]
    networks, divisor = snapshot(module.networks), snapshot(normaliser)
    other = snapshot(learner.plugins["other"])
    seen = []
    for number in (1, 2):
        rollout = actor.collect()
        seen.append({k: x.clone() for k, x in module.arrived(rollout).items()})
        metrics = learner.step(rollout)
        assert float(value_of(metrics["rnd/reward"])) == 0
        assert float(value_of(metrics["loss/rnd"])) == 0
        assert unchanged(module.networks, networks)
        assert unchanged(normaliser, divisor)
        assert "rnd" not in learner.streams.memories["0"]
        assert "rnd/filter" not in learner.streams.memories["0"]
        for name, moments in module.whitening.moments.items():
            x = flat(torch.cat([views[name] for views in seen])).double()
            assert moments.count == number * T * B
            torch.testing.assert_close(moments.mean, x.mean(0), rtol=1e-4, atol=1e-4)
    assert not unchanged(learner.plugins["other"], other), "who does not warm up learns"
    metrics = learner.step(actor.collect())
    assert float(value_of(metrics["rnd/reward"])) > 0
    assert float(metrics["rnd/divisor"]) > 0
    assert not unchanged(module.networks, networks)
    assert not unchanged(normaliser, divisor)


@pytest.mark.parametrize("config", [A2C, PPO], ids=["a2c", "ppo"])
@pytest.mark.parametrize("before", [1, 2, 3, 4])
def test_after_a_resume_it_ends_where_it_would_have(before, config):
    """Before, at and after its end, which is in the third rollout."""
    steps = 2 * T * B + 5
    learner, actor = parts({"it": watched(steps), "rnd": rnd(steps)}, config)
    for _ in range(before):
        learner.step(actor.collect())
    saved = copy.deepcopy(learner.state_dict())
    again, _ = parts({"it": watched(steps), "rnd": rnd(steps)}, config, seed=1)
    again.load_state_dict(saved)
    for number in range(before, 5):
        for one in (learner, again):
            one.plugins["it"].called.clear()
        rollout = actor.collect()
        learner.step(rollout)
        again.step(rollout)
        assert again.plugins["it"].called[0] == ("warm_up" if number < 3 else "score")
        assert again.plugins["it"].called == learner.plugins["it"].called
    mine, its = learner.state_dict(), again.state_dict()
    assert all(torch.equal(v, its["model"][k]) for k, v in mine["model"].items())
    for name, state in mine["plugins"].items():
        assert all(torch.equal(v, its["plugins"][name][k]) for k, v in state.items()), name


def test_a_bonus_of_0_is_no_reward_for_the_policy():
    """While all of an agent's reward warms up, targets are those of rewards of 0."""
    learner, actor = parts({"it": watched(10**6)})
    rollout = actor.collect()
    with torch.no_grad():
        out = learner.model.unroll(rollout)
    rewarded = learner.streams.score(rollout, out.features, 0)
    assert (rewarded.reward["it"] == 0).all()
    assert rewarded.reward["it"].shape == (T, B)
    assert rewarded.finite


def test_a_budget_counts_the_steps_of_a_warm_up(tmp_path):
    run = morello.train(
        "a2c",
        env="counting:steps",
        steps=5 * T * B,
        log_every=T * B,
        num_envs=B,
        unroll=T,
        frame_size=(20, 23),
        torso="shallow",
        quiet=True,
        run=str(tmp_path / "run"),
        plugins={"it": weighed(Watched(), 0.5, warmup_steps=2 * T * B)},
    )
    records = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["step"] == 5 * T * B
