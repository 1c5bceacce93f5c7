"""The negative control (Pathak et al. 2017, section 4.1): noise in place of a bonus does not solve what counts do."""

from dataclasses import replace

import pytest
import torch

from morello.agents.actor import Actor
from morello.agents.config.presets.ppo import PPO_CONFIG
from morello.agents.learner import Learner
from morello.agents.model import ActorCritic
from morello.agents.runners import Sync
from morello.auxiliaries import INTRINSIC_REWARDS

from ...support.plugins import weighed
from ...support.worlds import Lock

CONFIG = replace(PPO_CONFIG.learner, learning_rate=3e-3, constant_rate=True, minibatches=2)
STEPS, UNROLL, ENVS = 50_000, 40, 64


def opened(name, seed, **settings):
    """The share of episodes that open the lock after training with this reward."""
    torch.manual_seed(seed)
    env = Lock(ENVS, seed=seed)
    model = ActorCritic(env.spec, torso="mlp", streams=("extrinsic", name))
    make = INTRINSIC_REWARDS[name]
    plugin = weighed(make(make.Config(**settings), env.spec, model.sizes), 1.0)
    actor = Actor(env, model, UNROLL, seed=seed)
    for _ in Sync(actor, Learner(model, CONFIG, STEPS, plugins={name: plugin})):
        pass
    found = []
    for _ in range(5):
        r = actor.collect()
        found.append(r.reward[r.last[1:] & r.valid].clone())
    return torch.cat(found).mean().item()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_counts_open_the_lock(seed):
    assert opened("count", seed) > 0.9


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("signed", [True, False])
def test_noise_does_not(signed, seed):
    """A random walk opens it once in 59,049 episodes, and sees 4,500."""
    assert opened("noise", seed, signed=signed) < 0.01
