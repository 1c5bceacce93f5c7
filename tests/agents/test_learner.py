"""The learner against a plain A2C written apart, its streams, its plugins, and what it does with NaN."""

import copy
from dataclasses import replace

import pytest
import torch

import morello
from morello.agents.actor import Actor
from morello.agents.finite import NonFiniteError
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.agents.optim import RMSProp
from morello.agents.runners import Sync
from morello.auxiliaries import AuxiliaryLoss, IntrinsicConfig, IntrinsicReward, LossConfig, Scored
from morello.auxiliaries.intrinsic.noise import Noise

from ..support.oracles import episodes
from ..support.plugins import weighed
from ..support.worlds import Cue

B, T = 7, 11
BOTH = ("extrinsic", "bonus")
CONFIG = LearnerConfig(gamma=0.9, learning_rate=0.01, max_grad_norm=1e9, constant_rate=True, reward="clip")


def parts(streams=("extrinsic",), memory="gru", seed=0):
    torch.manual_seed(seed)
    env = morello.make("counting:steps", num_envs=B, frame_size=(36, 44))
    model = ActorCritic(env.spec, torso="shallow", memory=memory, memory_size=13, streams=streams)
    return env, model, Actor(env, model, T, seed=seed)


def plain_a2c(model, rollout, config):
    """-log pi A + c (R - V)^2 / 2 - beta H, averaged over the valid rows one at a time."""
    out = model.unroll(rollout)
    value = out.value["extrinsic"]
    total, rows = 0.0, 0
    for b in range(B):
        for begin, end in episodes(rollout.last[:, b].tolist()):
            back = float(value[end, b].detach())
            for t in reversed(range(begin, end)):
                reward = max(-1.0, min(1.0, float(rollout.reward[t, b])))
                discount = float(rollout.discount[t, b]) * config.gamma
                if config.timeout_terminates and rollout.last[t + 1, b]:
                    discount = 0.0
                back = reward + discount * back
                p = torch.softmax(out.logits[t, b], -1)
                advantage = back - float(value[t, b].detach())
                total = total - p[rollout.action[t, b]].log() * advantage
                total = total + config.value_cost * (back - value[t, b]) ** 2 / 2
                total = total + config.entropy_cost * (p * p.log()).sum()
                rows += 1
    return total / rows


@pytest.mark.parametrize("timeout_terminates", [False, True])
def test_one_update_is_plain_a2cs(timeout_terminates):
    config = replace(CONFIG, timeout_terminates=timeout_terminates, epsilon=1e-5)
    _, model, actor = parts()
    rollout = actor.collect()
    twin = copy.deepcopy(model)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.01, betas=(0.0, config.rms_decay), eps=config.epsilon)
    plain_a2c(twin, rollout, config).backward()
    learner = Learner(model, config, 10**6)
    learner.step(rollout)
    for (name, mine), its in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, atol=2e-6, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
    optimizer.step()
    for mine, its in zip(model.policy.parameters(), twin.policy.parameters(), strict=True):
        torch.testing.assert_close(mine, its, atol=2e-4, rtol=1e-3)


def test_off_policy_code_path_equals_on_policy_when_nothing_is_stale():
    _, model, actor = parts()
    rollout = actor.collect()
    twin = copy.deepcopy(model)
    Learner(model, CONFIG, 10**6).step(rollout)
    Learner(twin, CONFIG, 10**6, on_policy=False).step(rollout)
    for mine, its in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, atol=1e-5, rtol=1e-3)


def test_rows_that_cross_a_reset_are_not_read():
    _, model, actor = parts()
    rollout = actor.collect()
    twin = copy.deepcopy(model)
    Learner(model, CONFIG, 10**6).step(rollout)
    for x in (rollout.reward, rollout.discount):
        x[~rollout.valid] = torch.nan
    assert not rollout.valid.all()
    Learner(twin, CONFIG, 10**6).step(rollout)
    for mine, its in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, its)


def test_learning_rate_falls_linearly_to_zero():
    _, model, actor = parts()
    learner = Learner(model, replace(CONFIG, constant_rate=False), total_steps=4 * B * T)
    rates = []
    for _ in range(4):
        rates.append(learner.learning_rate)
        learner.step(actor.collect())
    assert rates == pytest.approx([0.01, 0.0075, 0.005, 0.0025])
    assert learner.learning_rate == 0


def test_the_entropy_cost_moves_linearly_to_its_final_value():
    _, model, actor = parts()
    learner = Learner(model, replace(CONFIG, entropy_cost=0.4, final_entropy_cost=0.1), total_steps=3 * B * T)
    costs = []
    for _ in range(4):
        learner.step(actor.collect())
        costs.append(learner.weights["entropy"])  # that of this step
    assert costs == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert Learner(model, replace(CONFIG, entropy_cost=0.4), 1).entropy_cost == 0.4


def test_gradients_are_clipped_to_the_global_norm():
    _, model, actor = parts()
    learner = Learner(model, replace(CONFIG, max_grad_norm=0.01), 10**6)
    norm = learner.step(actor.collect())["gradient_norm/agent"]
    clipped = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert norm > 0.01
    assert clipped.item() == pytest.approx(0.01, rel=1e-3)


class Bonus(IntrinsicReward):
    """A reward of 1 a step and a parameter of its own."""

    def __init__(self):
        super().__init__(IntrinsicConfig(normalise="none"))
        self.scale = torch.nn.Parameter(torch.ones(3))
        self.seen = 0

    def initial_state(self, batch):
        return torch.zeros(batch)

    def score(self, rollout, features, state):
        assert not torch.is_grad_enabled()
        return Scored(torch.ones_like(rollout.reward), state + 1)

    def observe(self, rollout, features, scored):
        self.seen += 1

    def forward(self, rollout, features, scored):
        return (self.scale.sum() * torch.ones_like(rollout.reward)), rollout.valid


class Constant(Bonus):
    """The same without a parameter."""

    def __init__(self):
        super().__init__()
        self.scale.requires_grad_(False)


class Flat(AuxiliaryLoss):
    """Pulls the memory's output towards zero."""

    def __init__(self):
        super().__init__(LossConfig())

    def forward(self, rollout, features):
        return features.memory[:-1].square().mean(-1), rollout.valid


def test_streams_have_their_own_value_and_discount():
    _, model, actor = parts(streams=BOTH)
    bonus = Bonus()
    optimizer = torch.optim.SGD(bonus.parameters(), lr=0.5)
    learner = Learner(model, CONFIG, 10**6, plugins={"bonus": weighed(bonus, 0.3, optimizer=optimizer, gamma=0.5)})
    for _ in range(2):
        metrics = learner.step(actor.collect())
    assert metrics["bonus/reward"].item() == 1
    assert {"loss/value", "loss/value/bonus", "loss/bonus"} <= metrics.keys()
    assert (bonus.scale < 1).all()
    assert bonus.seen == 2
    assert learner.streams.memories["0"]["bonus"].equal(torch.full((B,), 2.0))


def test_a_stream_that_runs_across_resets_learns_the_value_of_reward_for_ever():
    torch.manual_seed(0)
    env = Cue(num_envs=31)
    model = ActorCritic(env.spec, torso="mlp", streams=BOTH)
    plugins = {"bonus": weighed(Constant(), 1.0, gamma=0.5)}
    config = LearnerConfig(gamma=0.5, learning_rate=3e-3, constant_rate=True, max_grad_norm=40)
    learner = Learner(model, config, 300 * 31 * 7, plugins=plugins)
    actor = Actor(env, model, 7)
    for rollout, metrics in Sync(actor, learner):
        pass
    value = model.unroll(rollout).value["bonus"][:-1][rollout.valid]
    assert value.mean().item() == pytest.approx(2.0, abs=0.1)  # 1 / (1 - gamma), though episodes last one step


@pytest.mark.parametrize(
    "name", ["policy", "value", "entropy", "extrinsic", "combine", "loss", "time", "keys", "my.bonus", ""]
)
def test_a_plugin_cannot_take_the_learners_own_names(name):
    _, model, _ = parts()
    with pytest.raises(ValueError, match=f"cannot be called '{name}'"):
        Learner(model, CONFIG, 10**6, plugins={name: weighed(Flat(), 0.1)})


def test_a_reward_without_an_optimizer_of_its_own_is_trained_by_adam_at_its_rate():
    _, model, actor = parts(streams=BOTH)
    bonus = Bonus()
    plugins = {"bonus": weighed(bonus, 1.0, learning_rate=0.03)}
    learner = Learner(model, CONFIG, 10**6, plugins=plugins)
    learner.step(actor.collect())
    torch.testing.assert_close(bonus.scale.detach(), torch.full((3,), 1 - 0.03))  # Adam's first step is the rate


def test_a_plugins_own_optimizer_keeps_its_rate():
    _, model, actor = parts(streams=BOTH)
    bonus = Bonus()
    own = RMSProp(bonus.parameters(), lr=0.25, initial_mean_square=None, epsilon=0.0)
    Learner(model, CONFIG, 10**6, plugins={"bonus": weighed(bonus, 1.0, optimizer=own)}).step(actor.collect())
    torch.testing.assert_close(bonus.scale.detach(), torch.full((3,), 1 - 0.25))


def test_a_rewards_memory_comes_back():
    def learner():
        _, model, actor = parts(streams=BOTH)
        bonus = Bonus()
        plugin = weighed(bonus, 1.0)
        return actor, Learner(model, CONFIG, 10**6, plugins={"bonus": plugin})

    actor, one = learner()
    one.step(actor.collect())
    actor, other = learner()
    other.load_state_dict(one.state_dict())
    kept = other.state_dict()["memories"]["0"]["states"]["bonus"]
    assert kept.eq(1).all()  # a checkpoint before the next update keeps it
    other.step(actor.collect()._replace(sequence=1))
    assert other.streams.memories["0"]["bonus"].eq(2).all()


def test_value_heads_must_match_the_streams():
    _, model, _ = parts()
    with pytest.raises(ValueError, match="the reward streams are extrinsic, bonus: build"):
        Learner(model, CONFIG, 10**6, plugins={"bonus": weighed(Constant(), 1.0)})


@pytest.mark.parametrize("advantage", ["running", "raw"])
def test_a_rollout_with_a_non_finite_reward_does_not_spoil_the_next(advantage):
    _, model, actor = parts()
    learner = Learner(model, replace(CONFIG, advantage=advantage), 10**6)
    learner.step(actor.collect())
    before = learner.streams.advantages.root_mean_square
    assert (before > 0) == (advantage == "running")
    rollout = actor.collect()
    row = rollout.valid.nonzero()[5]
    rollout.reward[row[0], row[1]] = torch.nan
    with pytest.raises(NonFiniteError, match="'value'"):
        learner.step(rollout)
    torch.testing.assert_close(learner.streams.advantages.root_mean_square, before)
    learner.step(actor.collect())
    assert learner.updates == 2


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -1.0])
def test_a_size_of_advantages_that_cannot_be_is_refused(value):
    _, model, _ = parts()
    learner = Learner(model, CONFIG, 10**6)
    state = learner.state_dict()
    learner.load_state_dict(state)
    state["advantages"] = state["advantages"] | {"squares": torch.tensor(value, dtype=torch.float64)}
    with pytest.raises(ValueError, match="its running size of advantages is invalid"):
        learner.load_state_dict(state)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_normaliser_that_cannot_be_is_refused(value):
    env, model, _ = parts(BOTH)
    plugins = {"bonus": weighed(Noise(Noise.Config(), env.spec, model.sizes), 1.0)}
    learner = Learner(model, CONFIG, 10**6, plugins=plugins)
    state = learner.state_dict()
    learner.load_state_dict(state)
    state["plugins"]["bonus/normaliser"]["moments.squares"] = torch.tensor(value, dtype=torch.float64)
    with pytest.raises(ValueError, match="the normaliser of 'bonus' in the checkpoint is invalid"):
        learner.load_state_dict(state)


@pytest.mark.parametrize("poison", ["reward", "weight"])
def test_a_non_finite_loss_stops_before_the_optimiser_and_names_the_term(poison):
    _, model, actor = parts()
    learner = Learner(model, CONFIG, 10**6)
    rollout = actor.collect()
    if poison == "reward":
        row = rollout.valid.nonzero()[5]
        rollout.reward[row[0], row[1]] = torch.nan
    else:
        model.values["extrinsic"].weight.data[0, 0] = torch.inf
    before = [p.clone() for p in model.parameters()]
    slots = [learner.gradients.optimizer.state[p]["mean_square"].clone() for p in model.parameters()]
    with pytest.raises(NonFiniteError, match="'value'"):
        learner.step(rollout, diagnose=True)  # as at a record, whose diagnostics must not fall over it first
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    after = [learner.gradients.optimizer.state[p]["mean_square"] for p in model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(slots, after, strict=True))


def test_it_continues_from_its_state_dict():
    _, model, actor = parts()
    learner = Learner(model, CONFIG, 10**6)
    learner.step(actor.collect())
    saved = copy.deepcopy(learner.state_dict())
    rollout = actor.collect()
    learner.step(rollout)
    _, other, _ = parts(seed=9)
    again = Learner(other, CONFIG, 10**6)
    again.load_state_dict(saved)
    again.step(rollout)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert (again.steps, again.updates) == (learner.steps, learner.updates)
