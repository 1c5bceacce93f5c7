"""It learns what can be learnt and nothing else, seen from outside the learner."""

import pytest
import torch

import morello
from morello.agents.actor import Actor
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.agents.runners import Sync
from morello.envs.experience import Spec, Timestep
from morello.envs.vector_env import VectorEnv

from ..support.worlds import Cue

CONFIG = LearnerConfig(gamma=0.9, learning_rate=3e-3, constant_rate=True, max_grad_norm=5.0)


def trained(env, steps, *, memory="none", unroll=7, config=CONFIG, on_policy=True):
    torch.manual_seed(0)
    model = ActorCritic(env.spec, torso="mlp", memory=memory, memory_size=17)
    actor = Actor(env, model, unroll, seed=1)
    for _ in Sync(actor, Learner(model, config, steps, on_policy=on_policy)):
        pass
    return model, actor


def score(actor, rollouts=40):
    """Mean reward of the steps that end an episode."""
    paid = []
    for _ in range(rollouts):
        r = actor.collect()
        paid.append(r.reward[r.last[1:] & r.valid].clone())
    return torch.cat(paid).mean().item()


@pytest.mark.parametrize("on_policy", [True, False])
def test_names_the_cue(on_policy):
    _, actor = trained(Cue(31), 40_000, on_policy=on_policy)
    assert score(actor) > 0.95


def test_control_reward_that_does_not_depend_on_the_action_teaches_nothing():
    _, actor = trained(Cue(31, honest=False), 40_000)
    assert abs(score(actor) - 1 / 3) < 0.06


@pytest.mark.parametrize("memory", ["lstm", "gru"])
def test_memory_recalls_the_cue_after_a_delay(memory):
    _, actor = trained(Cue(61, delay=2), 150_000, memory=memory, unroll=11)
    assert score(actor) > 0.9


def test_control_without_memory_the_delayed_cue_is_lost():
    _, actor = trained(Cue(61, delay=2), 150_000, unroll=11)
    assert score(actor) < 0.5


def test_the_entropy_cost_keeps_the_policy_random():
    def entropy(cost):
        model, actor = trained(Cue(31), 20_000, config=LearnerConfig(entropy_cost=cost, learning_rate=3e-3))
        rollout = actor.collect()
        p = model.unroll(rollout).logits.softmax(-1)[rollout.first]
        return -(p * p.log()).sum(-1).mean().item()

    assert entropy(2.0) > 1.0 > 0.3 > entropy(0.0)


class Chain(VectorEnv):
    """Five states, a fixed random walk whatever the agent does; leaving at the right end pays 1."""

    TRANSITION = torch.tensor(
        [
            [0.5, 0.5, 0, 0, 0],
            [0.5, 0, 0.5, 0, 0],
            [0, 0.5, 0, 0.5, 0],
            [0, 0, 0.5, 0, 0.5],
            [0, 0, 0, 0.5, 0],
        ]
    )

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.generator = torch.Generator().manual_seed(0)
        self.spec = Spec({"vector": ((5,), torch.float32)}, 2, ("a", "b"), ("chain",), 1, None, False)

    def answer(self, reward, last):
        seen = torch.nn.functional.one_hot(self.state.clamp(max=4), 5).float()
        task = torch.zeros(self.num_envs, dtype=torch.int64)
        return Timestep({"vector": seen}, reward, torch.where(last, 0.0, 1.0), self.first, last, task, {})

    def reset(self, seed=None, mask=None):
        self.state = torch.zeros(self.num_envs, dtype=torch.int64)
        self.first = torch.ones(self.num_envs, dtype=torch.bool)
        return self.answer(torch.zeros(self.num_envs), ~self.first)

    def step(self, action, out=None):
        self.first = self.state == 5
        up = torch.rand(self.num_envs, generator=self.generator) < 0.5
        moved = torch.where(up, self.state + 1, (self.state - 1).clamp(min=0))
        self.state = torch.where(self.first, 0, moved)
        last = self.state == 5
        now = self.answer(last.float(), last)
        out.observation["vector"].copy_(now.observation["vector"])
        for mine, its in zip(out[1:6], now[1:6], strict=True):
            mine.copy_(its)
        return out


def test_the_critic_of_a_fixed_walk_is_the_solution_of_its_linear_equations():
    gamma = 0.9
    leave = torch.tensor([0, 0, 0, 0, 0.5])
    exact = torch.linalg.solve(torch.eye(5) - gamma * Chain.TRANSITION, leave)
    config = LearnerConfig(gamma=gamma, learning_rate=2e-3, max_grad_norm=5.0)
    model, _ = trained(Chain(61), 250_000, config=config)
    first = torch.zeros(1, 5, dtype=torch.bool)
    state = model.initial_state(5)
    seen = torch.eye(5).unsqueeze(0)
    # The previous action and reward are inputs too: average over what they may be.
    values = [
        model({"vector": seen}, first, state.memory, torch.full((1, 5), a), torch.zeros(1, 5)).value["extrinsic"][0]
        for a in range(2)
    ]
    torch.testing.assert_close(torch.stack(values).mean(0).detach(), exact, atol=0.05, rtol=0)


def gridworld(learning_rate):
    """Mean return of the last episodes of an agent in MiniGrid, through EnvPool."""
    env = morello.make("minigrid:Empty-Random-5x5", 16, seed=0, threads=1)
    torch.manual_seed(0)
    model = ActorCritic(env.spec)
    config = LearnerConfig(learning_rate=learning_rate, entropy_cost=0.005)
    actor = Actor(env, model, 8, seed=0)
    for _ in Sync(actor, Learner(model, config, 20_000)):
        pass
    return score(actor)


def test_finds_the_goal_of_a_gridworld():
    assert gridworld(2e-3) > 0.9


def test_control_without_learning_the_goal_is_found_late_if_at_all():
    assert gridworld(1e-12) < 0.6
