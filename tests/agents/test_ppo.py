"""The learner against a plain PPO written apart, one segment and one row at a time."""

import copy
import math
import zlib
from dataclasses import replace

import pytest
import torch

import morello
from morello.agents.actor import Actor
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic

from ..support.oracles import episodes

B, T, EPOCHS, MINIBATCHES, ROLLOUTS = 7, 10, 2, 3, 2
CONFIG = LearnerConfig(
    gamma=0.9,
    lambda_=0.8,
    epochs=EPOCHS,
    minibatches=MINIBATCHES,
    clip=0.1,
    advantage="standardised",
    value_clip=0.05,
    entropy_cost=0.02,
    optimizer="adam",
    learning_rate=0.01,
    epsilon=1e-4,
    max_grad_norm=1.0,
    reward="clip",
)


def parts(memory):
    torch.manual_seed(3)
    env = morello.make("counting:steps", num_envs=B, frame_size=(20, 23))
    model = ActorCritic(env.spec, torso="shallow", memory=memory, memory_size=13)
    with torch.no_grad():  # the usual first policy is nearly uniform, and no clip would bind
        model.policy.weight.mul_(30)
    return model, Actor(env, model, T, seed=3)


def moments(xs):
    mean = sum(xs) / len(xs)
    return mean, math.sqrt(sum((x - mean) ** 2 for x in xs) / len(xs))


class Plain:
    """PPO (Schulman et al. 2017) with lists and loops."""

    def __init__(self, model, config, total_steps, segment, seed):
        self.model, self.config, self.total_steps, self.segment = model, config, total_steps, segment
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1.0, eps=config.epsilon)
        self.generator = torch.Generator().manual_seed(zlib.crc32(b"minibatches") + seed)
        self.steps, self.norms, self.clipped = 0, [], 0
        self.count, self.squares = 0.0, 0.0

    def rows(self, rollout, b, begin, end, memory):
        """Logits, values and the memory after rows [begin, end) of one environment."""
        action, reward = [rollout.state.action[b]], [rollout.state.reward[b]]
        for t in range(len(rollout.action)):
            action.append(rollout.action[t, b])
            reward.append(rollout.reward[t, b])
        out = self.model(
            {k: v[begin:end, b : b + 1] for k, v in rollout.observation.items()},
            rollout.first[begin:end, b : b + 1],
            memory,
            torch.stack(action[begin:end]).unsqueeze(1),
            torch.stack(reward[begin:end]).unsqueeze(1),
        )
        return out.logits[:, 0], out.value["extrinsic"][:, 0], out.memory

    @torch.no_grad()
    def prepare(self, rollout):
        """By (t, b) of valid rows: log pi, value, target, advantage; and the memory before each segment."""
        c, table, before = self.config, {}, {}
        for b in range(B):
            memory = tuple(x[b : b + 1] for x in rollout.state.memory)
            logits, value = [], []
            for t in range(T + 1):
                if t % self.segment == 0:
                    before[t, b] = memory
                one, other, memory = self.rows(rollout, b, t, t + 1, memory)
                logits.append(one[0])
                value.append(float(other[0]))
            for begin, end in episodes(rollout.last[:, b].tolist()):
                carry = 0.0
                for t in reversed(range(begin, end)):
                    reward = max(-1.0, min(1.0, float(rollout.reward[t, b])))
                    discount = c.gamma * float(rollout.discount[t, b])
                    carry = reward + discount * value[t + 1] - value[t] + discount * c.lambda_ * carry
                    log_pi = float(logits[t].log_softmax(-1)[rollout.action[t, b]])
                    table[t, b] = [log_pi, value[t], value[t] + carry, carry]
        if c.advantage == "running":
            self.count = 0.99 * self.count + len(table)
            self.squares = 0.99 * self.squares + sum(row[3] ** 2 for row in table.values())
            for row in table.values():
                row[3] /= math.sqrt(self.squares / self.count)
        if c.advantage == "standardised":
            mean, spread = moments([row[3] for row in table.values()])
            for row in table.values():
                row[3] = (row[3] - mean) / spread
        return table, before

    def loss(self, rollout, table, before, pieces):
        """Sum over the valid rows of some segments (t, b)."""
        c, total, mean, spread = self.config, 0.0, 0.0, 1.0
        if c.advantage == "minibatch":
            places = [(begin + i, b) for begin, b in pieces for i in range(self.segment)]
            mean, spread = moments([table[place][3] for place in places if place in table])
        for begin, b in pieces:
            logits, values, _ = self.rows(rollout, b, begin, begin + self.segment, before[begin, b])
            for i in range(self.segment):
                if (begin + i, b) not in table:
                    continue
                log_pi, value, target, advantage = table[begin + i, b]
                advantage = (advantage - mean) / spread
                p, now = logits[i].softmax(-1), values[i]
                ratio = p[rollout.action[begin + i, b]] / math.exp(log_pi)
                near = min(max(ratio.item(), 1 - c.clip), 1 + c.clip)
                if ratio.item() * advantage <= near * advantage:
                    total = total - ratio * advantage
                else:
                    total = total - near * advantage
                    self.clipped += 1
                bounded = value + (now - value).clamp(-c.value_clip, c.value_clip)
                errors = [(target - now) ** 2, (target - bounded) ** 2]
                total = total + c.value_cost * max(errors, key=torch.Tensor.item) / 2
                total = total + c.entropy_cost * (p * p.log()).sum()
        return total

    def step(self, rollout):
        c = self.config
        table, before = self.prepare(rollout)
        rate = c.learning_rate * (1 - self.steps / self.total_steps)
        for _ in range(c.epochs):
            order = torch.randperm(T // self.segment * B, generator=self.generator).tolist()
            pieces = [(i // B * self.segment, i % B) for i in order]
            sizes = [len(pieces) // c.minibatches + (k < len(pieces) % c.minibatches) for k in range(c.minibatches)]
            for size in sizes:
                chosen, pieces = pieces[:size], pieces[size:]
                self.optimizer.zero_grad()
                (self.loss(rollout, table, before, chosen) / (len(table) / c.minibatches)).backward()
                norm = torch.stack([p.grad.norm() for p in self.model.parameters()]).norm()
                for p in self.model.parameters():
                    p.grad.mul_(min(1.0, c.max_grad_norm / float(norm)))
                self.norms.append(float(norm))
                self.optimizer.param_groups[0]["lr"] = rate
                self.optimizer.step()
        self.steps += T * B


CASES = [
    ("none", None, 1, "standardised"),
    ("none", None, 1, "minibatch"),
    ("none", None, 1, "running"),
    ("none", 5, 5, "standardised"),
    ("lstm", None, T, "standardised"),
    ("lstm", 5, 5, "minibatch"),
]


@pytest.mark.parametrize(("memory", "segment", "length", "advantage"), CASES)
def test_two_rollouts_of_ppo_are_plain_ppos(memory, segment, length, advantage):
    model, actor = parts(memory)
    twin = copy.deepcopy(model)
    before = copy.deepcopy(model.state_dict())
    config = replace(CONFIG, segment=segment, advantage=advantage)
    learner = Learner(model, config, 4 * B * T, seed=17)
    plain = Plain(twin, config, 4 * B * T, length, seed=17)
    fractions = []
    for _ in range(ROLLOUTS):
        rollout = actor.collect()
        assert not rollout.valid.all()
        assert rollout.truncated.any()
        assert (rollout.discount[rollout.valid] == 0).any()
        metrics = learner.step(rollout)
        plain.step(rollout)
        fractions.append(metrics["clip_fraction"].item())
    assert learner.updates == ROLLOUTS * EPOCHS * MINIBATCHES
    assert min(plain.norms) < config.max_grad_norm < max(plain.norms)
    assert plain.clipped
    assert min(fractions) > 0
    moved = [(mine - before[name]).abs().max() for name, mine in model.state_dict().items()]
    assert min(moved) > 1e-3
    for (name, mine), its in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, its, atol=2e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize(
    "change",
    [{"lambda_": 0.85}, {"clip": 0.12}, {"value_clip": 3.0}, {"advantage": "minibatch"}, {"entropy_cost": 0.03}],
)
def test_control_with_another_setting_they_are_not(change):
    model, actor = parts("none")
    twin = copy.deepcopy(model)
    rollout = actor.collect()
    Learner(model, CONFIG, 4 * B * T, seed=17).step(rollout)
    Plain(twin, replace(CONFIG, **change), 4 * B * T, 1, seed=17).step(rollout)
    differences = [(a - b).abs().max() for a, b in zip(model.parameters(), twin.parameters(), strict=True)]
    assert max(differences) > 1e-4
