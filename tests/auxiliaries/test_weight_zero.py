"""A loss or a reward at weight 0 leaves every bit of the agent as it is without it, whatever the processor and size."""

import json
import os
import subprocess
import sys
from functools import cache

import pytest
import torch
from torch import nn

import morello
from morello.agents.actor import Actor
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.auxiliaries import AuxiliaryLoss, IntrinsicReward, Scored

from ..support.plugins import weighed

CONFIG = LearnerConfig(gamma=0.97, learning_rate=0.01, constant_rate=True)
SIZES = [(8, 20, 42), (32, 101, 20), (5, 6, 36)]  # environments, unroll, side of frames


class Flat(AuxiliaryLoss):
    """A loss without weights of its own."""

    def __init__(self):
        super().__init__(self.Config())

    def forward(self, rollout, features):
        return features.memory[:-1].square().mean(-1), rollout.valid


class Bonus(IntrinsicReward):
    """Pays for pixels, and its own loss pulls at the agent's features."""

    def __init__(self):
        super().__init__(self.Config())
        self.scale = nn.Parameter(torch.ones(3))

    def score(self, rollout, features, state):
        return Scored(rollout.observation["image"][1:].float().mean((2, 3, 4)) / 127)

    def forward(self, rollout, features, scored):
        return features.memory[:-1].square().mean(-1) * self.scale.square().sum(), rollout.valid


class Poison(Bonus):
    """As a bonus that has become NaN."""

    def score(self, rollout, features, state):
        return Scored(torch.full_like(rollout.reward, torch.nan))


def weights(module, weight, size, memory="gru", updates=4):
    """The agent's weights after some updates; the value heads of other streams are left out."""
    num_envs, unroll, side = size
    torch.manual_seed(4)
    env = morello.make("labyrinth:seekavoid_arena_01", num_envs=num_envs, frame_size=(side, side), seed=4, threads=1)
    streams = ("extrinsic", "it") if module and issubclass(module, IntrinsicReward) else ("extrinsic",)
    model = ActorCritic(env.spec, torso="shallow", memory=memory, memory_size=64, streams=streams)
    actor = Actor(env, model, unroll, seed=4)
    plugins = {}
    if module:
        it = module()
        own = list(it.parameters())
        plugins["it"] = weighed(it, weight, optimizer=torch.optim.Adam(own) if own else None)
    learner = Learner(model, CONFIG, 10**6, plugins=plugins)
    for _ in range(updates):
        learner.step(actor.collect())
    return {k: v for k, v in model.state_dict().items() if not k.startswith("values.it.")}


@cache
def without(size, memory):
    """The agent's weights where there is no module."""
    return weights(None, None, size, memory)


def differing(module, weight, size, memory="gru"):
    """Names of the agent's weights that are not the same, bit for bit, as without the module."""
    plain = without(size, memory)
    return [k for k, v in weights(module, weight, size, memory).items() if not torch.equal(v, plain[k])]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("module", [Flat, Bonus, Poison])
def test_a_plugin_of_weight_zero_leaves_the_agent_bit_identical(module, size):
    assert differing(module, 0.0, size) == []


@pytest.mark.parametrize("module", [Flat, Bonus])
def test_one_of_weight_one_does_not(module):
    assert "policy.weight" in differing(module, 1.0, SIZES[0])


@pytest.mark.parametrize(("instructions", "threads"), [("AVX2", 1), ("AVX512", 1), (None, 1), (None, 2)])
def test_it_holds_for_every_kind_of_kernel(instructions, threads):
    """Kernels sum in another order for other instructions and numbers of threads; which instructions are taken is
    settled when torch is loaded.
    """
    kernels = {"MKL_ENABLE_INSTRUCTIONS": instructions, "ATEN_CPU_CAPABILITY": (instructions or "").lower()}
    chosen = {k: v for k, v in kernels.items() if v} if instructions else {}
    plain = {k: v for k, v in os.environ.items() if k not in kernels}
    code = (
        f"import json, torch; torch.set_num_threads({threads}); from tests.auxiliaries.test_weight_zero import *\n"
        "print(json.dumps([differing(Bonus, 0.0, SIZES[0], m) for m in ('none', 'lstm')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=plain | chosen, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[], []]
