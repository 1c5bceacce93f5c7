"""PPO learns what can be learnt, and its controls do not."""

from dataclasses import replace

import pytest
import torch

from morello.agents.actor import Actor
from morello.agents.config.presets.ppo import PPO_CONFIG
from morello.agents.learner import Learner
from morello.agents.model import ActorCritic
from morello.agents.policy import policy_terms
from morello.agents.runners import Sync

from ..support.worlds import Cue

CONFIG = replace(PPO_CONFIG.learner, gamma=0.9, learning_rate=3e-3, constant_rate=True)
STEPS = 7_000


def score(env, config=CONFIG, memory="none", unroll=8, steps=STEPS):
    """Mean reward of the steps that end an episode, after training."""
    torch.manual_seed(0)
    model = ActorCritic(env.spec, torso="mlp", memory=memory, memory_size=17)
    actor = Actor(env, model, unroll, seed=1)
    for _ in Sync(actor, Learner(model, config, steps)):
        pass
    paid = []
    for _ in range(40):
        r = actor.collect()
        paid.append(r.reward[r.last[1:] & r.valid].clone())
    return torch.cat(paid).mean().item()


def test_names_the_cue():
    assert score(Cue(31)) > 0.95


def test_control_with_a_clip_that_only_the_first_update_passes_it_learns_less_from_as_many_steps():
    config = replace(CONFIG, minibatches=1, epochs=8, entropy_cost=0.0, value_cost=0.0)
    assert score(Cue(31), config, steps=1_000) > 0.9 > 0.8 > score(Cue(31), replace(config, clip=1e-6), steps=1_000)


@pytest.mark.parametrize("honest", [True, False])
def test_control_with_the_advantages_sign_turned_it_avoids_the_cue(monkeypatch, honest):
    def turned(batch, out, streams):
        return policy_terms(batch._replace(advantage=-batch.advantage), out, streams)

    if honest:
        monkeypatch.setattr("morello.agents.learner.policy_terms", turned)
        assert score(Cue(31)) < 0.05
    else:
        assert abs(score(Cue(31, honest=False)) - 1 / 3) < 0.08


@pytest.mark.slow
def test_memory_recalls_the_cue_after_a_delay():
    assert score(Cue(61, delay=2), memory="lstm", unroll=12, steps=120_000) > 0.9
