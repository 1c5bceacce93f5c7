"""Maps that acting has computed are lent: what a reward remembers of them is its own."""

import pytest
import torch

import morello
from morello.agents.actor import Actor
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.auxiliaries import IntrinsicReward, Scored

from ..support.plugins import weighed

B, T = 7, 5


class LastMap(IntrinsicReward):
    """Remembers the map of row T."""

    def __init__(self):
        super().__init__(self.Config(normalise="none"))
        self.left, self.found = [], []

    def initial_state(self, batch):
        return torch.zeros(batch, *self.encoder.map_shape)

    def score(self, rollout, features, state):
        last = features.map.unflatten(0, (T + 1, B))[-1]
        self.found.append(state.clone())
        self.left.append(last.clone())
        return Scored(rollout.reward, last)


@pytest.mark.parametrize("keep", [False, True])
def test_a_remembered_map_stays_what_it_was(keep):
    torch.manual_seed(0)
    env = morello.make("counting:steps", num_envs=B, frame_size=(36, 44))
    model = ActorCritic(env.spec, torso="shallow", streams=("extrinsic", "map"))
    reward = weighed(LastMap(), 0.5)
    actor = Actor(env, model, T, keep=keep)
    learner = Learner(model, LearnerConfig(learning_rate=3e-3), 10**6, plugins={"map": reward})
    for _ in range(3):
        learner.step(actor.collect())
    assert (model.encoder.kept is not None) == keep
    for left, found in zip(reward.left, reward.found[1:], strict=False):
        assert torch.equal(left, found)
