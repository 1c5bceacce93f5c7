"""Optimisers of the agent and of its plugins, as checkpoints store them."""

from dataclasses import replace

import pytest
import torch

from morello.agents.gradients import Gradients
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.agents.optim import Adam
from morello.auxiliaries import AuxiliaryLoss
from morello.envs.trees import tree_map

from ..support.plugins import weighed
from ..support.rollouts import spec

CONFIG = LearnerConfig(learning_rate=0.01, target_kl=0.01)


class Owner(AuxiliaryLoss):
    """Has a weight of its own."""

    def __init__(self):
        super().__init__(self.Config())
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, rollout, features):
        raise AssertionError("the test makes gradients itself")


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_steps_that_were_skipped_before_a_checkpoint_was_loaded_are_forgotten(optimizer):
    torch.manual_seed(0)
    model, loss = ActorCritic(spec(vector=5)), weighed(Owner(), 1.0)
    gradients = Gradients(model, replace(CONFIG, optimizer=optimizer), {"own": loss}, ["own"])
    parameters = [*model.parameters(), loss.scale]

    def step(gate, seed=3):
        generator = torch.Generator().manual_seed(seed)
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=generator)
        gradients.apply(0.01, gate)
        return [p.detach().clone() for p in parameters]

    begun, state = step(None, seed=2), tree_map(torch.clone, tensors(gradients.state_dict()))
    once = step(torch.tensor(True))
    for _ in range(3):
        step(torch.tensor(False))
    with torch.no_grad():
        for p, x in zip(parameters, begun, strict=True):
            p.copy_(x)
    gradients.load_state_dict(plain(state))
    torch.testing.assert_close(step(torch.tensor(True)), once, rtol=1e-6, atol=1e-7)
    assert isinstance(gradients.plugged["own"], Adam) == (optimizer == "adam")


def tensors(tree):
    """With counts as tensors, to be cloned with the rest."""
    return {k: tensors(v) if isinstance(v, dict) else torch.as_tensor(v) for k, v in tree.items()}


def plain(tree):
    """The same with counts as numbers again."""
    return {k: plain(v) if isinstance(v, dict) else v if v.dim() else int(v) for k, v in tree.items()}
