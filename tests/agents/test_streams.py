"""Reward streams: what an intrinsic reward may and may not do to the agent, and what becomes of its memories."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import morello
from morello.agents.actor import Actor
from morello.agents.finite import NonFiniteError
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic, scale_gradient
from morello.auxiliaries import IntrinsicReward, Scored
from morello.auxiliaries.reduction import average

from ..support.plugins import weighed

ENV = "labyrinth:my_way_home_sparse"
B, T = 8, 20  # as large as where faults of this kind were found, with frames of 42 x 42


def parts(rewards=None, config=None, extrinsic=1.0, **options):
    """Learner and actor, with reward streams by name."""
    rewards = rewards or {}
    torch.manual_seed(0)
    env = morello.make(ENV, num_envs=B, frame_size=(42, 42), seed=5)
    streams = ("extrinsic", *rewards)
    model = ActorCritic(env.spec, torso="shallow", memory="gru", memory_size=13, streams=streams, **options)
    learner = Learner(model, config or LearnerConfig(constant_rate=True), 10**6, plugins=rewards, extrinsic=extrinsic)
    return learner, Actor(env, model, T, seed=0)


class Paid(IntrinsicReward):
    """Pays what it is told to."""

    def __init__(self, pay=lambda rollout: rollout.observation["image"][1:].float().mean((2, 3, 4)) / 127):
        super().__init__(self.Config())
        self.pay = pay

    def score(self, rollout, features, state):
        return Scored(self.pay(rollout))


class Inverse(Paid):
    """Tells the action from the agent's own features, which is what would train its encoder."""

    def __init__(self, width):
        super().__init__()
        self.head = nn.Linear(width, 5)

    def forward(self, rollout, features, scored):
        logits = self.head(features.vector[:-1])
        value = F.cross_entropy(logits.flatten(0, 1), rollout.action.flatten() % 5, reduction="none").view(T, B)
        self.metrics = {"accuracy": average((logits.argmax(-1) == rollout.action % 5).float(), rollout.valid)}
        return value, rollout.valid


class Novelty(IntrinsicReward):
    """RND in small: a network guesses what a random one makes of the frame arrived at."""

    def __init__(self):
        super().__init__(self.Config())
        torch.manual_seed(1)
        networks = (nn.Sequential(nn.Linear(42 * 42 * 3, 64), nn.ReLU(), nn.Linear(64, 32)) for _ in range(2))
        self.target, self.guess = networks
        self.target.requires_grad_(False)

    def score(self, rollout, features, state):
        return Scored(self.forward(rollout, features, None)[0])

    def forward(self, rollout, features, scored):
        x = rollout.observation["image"][1:].flatten(2).float() / 255
        return (self.guess(x) - self.target(x)).square().mean(-1), rollout.valid


def share(metrics, name):
    return float(metrics[f"{name}/gradient_share"])


@pytest.mark.parametrize("weight", [1e-9, 1.0])
def test_a_rewards_own_loss_never_trains_the_encoder_and_its_metrics_are_logged(weight):
    learner, actor = parts({"x": weighed(Inverse(256), weight)})
    before = learner.plugins["x"].head.weight.clone()
    metrics = learner.step(actor.collect(), diagnose=True)
    assert share(metrics, "x") == 0
    assert 0 <= float(metrics["x/accuracy"]) <= 1
    assert not torch.equal(learner.plugins["x"].head.weight, before), "it trains itself at full strength"


@pytest.mark.parametrize("normalise", ["none", "return", "reward", "standard", "minmax", "advantage"])
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_a_small_weight_leaves_the_policy_the_encoder_whatever_the_bonus(scale, normalise):
    bonus = Paid(lambda rollout: scale * rollout.observation["image"][1:].float().mean((2, 3, 4)) / 127)
    alone, actor = parts()
    for _ in range(10):
        plain = alone.step(actor.collect(), diagnose=True)
    weight = 1e-3 / scale if normalise == "none" else 1e-3  # of a bonus that a normaliser has made one of about 1
    learner, actor = parts({"x": weighed(bonus, weight, normalise=normalise)})
    for _ in range(10):
        metrics = learner.step(actor.collect(), diagnose=True)
    assert share(metrics, "value/x") < 0.1
    assert share(metrics, "policy") > 0.5 * share(plain, "policy")
    norm = float(metrics["gradient_norm/agent"])
    assert norm < 3 * float(plain["gradient_norm/agent"]), "its head is clipped apart"


def test_a_cold_rnd_leaves_the_policy_the_encoder():
    learner, actor = parts({"rnd": weighed(Novelty(), 0.05)})
    for _ in range(12):
        metrics = learner.step(actor.collect(), diagnose=True)
        assert share(metrics, "value/rnd") < 0.4
    assert float(metrics["rnd/divisor"]) > 0


def test_all_three_calls_see_the_same_rewards():
    seen = {}

    class Spy(Paid):
        def score(self, rollout, features, state):
            seen["score"] = rollout.reward
            return Scored(torch.zeros_like(rollout.reward), context=rollout.reward + 1)

        def observe(self, rollout, features, scored):
            seen["observe"] = rollout.reward
            assert torch.equal(scored.context, rollout.reward + 1)

        def forward(self, rollout, features, scored):
            seen["forward"] = rollout.reward
            assert not features.memory.requires_grad
            assert torch.is_grad_enabled()
            return super().forward(rollout, features, scored)

    learner, actor = parts({"spy": weighed(Spy(), 0.1)}, LearnerConfig(reward="clip"))
    rollout = actor.collect()
    rollout.reward[3] = 10.0
    learner.step(rollout)
    assert seen["score"].max() == 1
    assert all(torch.equal(seen["score"], x) for x in seen.values())


def test_at_weight_zero_nothing_of_it_is_called():
    class Untouchable(Paid):
        def score(self, *args):
            pytest.fail("scored")

        forward = observe = initial_state = after_update = score

    learner, actor = parts({"x": weighed(Untouchable(), 0.0)})
    metrics = learner.step(actor.collect())
    assert not [name for name in metrics if name.startswith("x/")]


def test_a_reward_that_is_not_finite_is_named_before_anything_took_it_in():
    bonus = weighed(Paid(lambda rollout: torch.full_like(rollout.reward, torch.nan)), 0.1)
    learner, actor = parts({"x": bonus})
    before = {k: v.clone() for k, v in learner.state_dict()["plugins"]["x/normaliser"].items()}
    with pytest.raises(NonFiniteError, match="The reward of 'x'"):
        learner.step(actor.collect())
    assert all(torch.equal(v, before[k]) for k, v in learner.streams.normalisers["x"].state_dict().items())


def test_what_it_pays_where_an_episode_is_reset_is_not_read():
    def with_nan(rollout):
        return torch.where(rollout.valid, 1.0, torch.nan)

    learner, actor = parts({"x": weighed(Paid(with_nan), 0.1)})
    rollout = actor.collect()
    rollout.last[4] = True
    rollout.first[5] = True
    metrics = learner.step(rollout)
    assert float(metrics["x/reward"]) == 1


@pytest.mark.parametrize(
    ("pay", "what"),
    [
        (lambda rollout: rollout.reward[:, :1], r"float32 \[20, 1\], not torch.float32 \[20, 8\]"),
        (lambda rollout: rollout.reward.double(), r"float64 \[20, 8\]"),
        (lambda rollout: rollout.reward.unsqueeze(-1), r"\[20, 8, 1\]"),
    ],
)
def test_a_reward_of_another_shape_is_refused_by_name(pay, what):
    learner, actor = parts({"x": weighed(Paid(pay), 0.1)})
    with pytest.raises(ValueError, match=f"'x' gives a reward of .*{what}"):
        learner.step(actor.collect())


def test_a_score_without_its_parts_is_refused_by_name():
    class Bare(Paid):
        def score(self, rollout, features, state):
            return rollout.reward, state

    learner, actor = parts({"x": weighed(Bare(), 0.1)})
    with pytest.raises(ValueError, match="'x' has to return Scored"):
        learner.step(actor.collect())


class Count(Paid):
    """Remembers how often it was asked."""

    def initial_state(self, batch):
        return torch.zeros(batch)

    def score(self, rollout, features, state):
        return Scored(torch.ones_like(rollout.reward), state + 1)


def test_memories_are_kept_by_source_and_begun_anew_after_a_gap():
    learner, actor = parts({"x": weighed(Count(), 0.1)})
    rollout = actor.collect()
    for source, sequence, expected in [(0, 0, 1), (0, 1, 2), (1, 0, 1), (0, 2, 3), (1, 5, 1), (0, 4, 1), (0, 5, 2)]:
        learner.step(rollout._replace(source=source, sequence=sequence))
        assert learner.streams.memories[str(source)]["x"].eq(expected).all()


def test_memories_do_not_outlive_a_lost_environment():
    learner, actor = parts({"x": weighed(Count(), 0.1)})
    for _ in range(3):
        learner.step(actor.collect())
    again, fresh = parts({"x": weighed(Count(), 0.1)})
    again.load_state_dict(learner.state_dict())
    fresh.begin_anew(actor.state_dict(), seed=9)
    again.step(fresh.collect())
    assert again.streams.memories["0"]["x"].eq(1).all()


def test_plugins_given_to_two_runs_begin_the_second_untrained(tmp_path):
    reward = weighed(Inverse(256), 0.1)
    before = reward.head.weight.clone()
    small = {"env": ENV, "frame_size": (42, 42), "torso": "shallow", "num_envs": B, "unroll": T, "quiet": True}
    for seed in (0, 1):
        folder = str(tmp_path / str(seed))
        run = morello.train("a2c", steps=2 * B * T, seed=seed, run=folder, plugins={"x": reward}, **small)
        assert torch.equal(reward.head.weight, before)
    assert (run.path / "metrics.jsonl").exists()


def test_without_extrinsic_reward_the_policy_follows_the_intrinsic_alone():
    """RND's appendix: where the extrinsic reward is left out, the gradient is that of the intrinsic reward alone."""
    learner, actor = parts({"x": weighed(Paid(), 1.0)}, extrinsic=0.0)
    rollout = actor.collect()
    rollout.reward.fill_(7.0)
    head = learner.model.values["extrinsic"].weight.clone()
    metrics = learner.step(rollout)
    assert "loss/value" not in metrics
    assert float(metrics["advantage"]) > 0
    assert torch.equal(learner.model.values["extrinsic"].weight, head)


def test_an_extrinsic_stream_of_nothing_changes_no_gradient():
    """Where it pays nothing and its value is 0, agents with it and without it learn the same."""
    found = []
    for extrinsic in (1.0, 0.0):
        learner, actor = parts({"x": weighed(Paid(), 0.7)}, extrinsic=extrinsic)
        for parameter in learner.model.values["extrinsic"].parameters():
            torch.nn.init.zeros_(parameter)
        before = {name: x.clone() for name, x in learner.model.state_dict().items()}
        rollout = actor.collect()
        rollout.reward.zero_()
        learner.step(rollout)
        found.append({name: x - before[name] for name, x in learner.model.state_dict().items()})
    assert found[0]["policy.weight"].any()
    for name, change in found[0].items():
        torch.testing.assert_close(found[1][name], change, rtol=1e-5, atol=1e-8)


def test_a_gradient_is_scaled_and_the_value_is_not():
    x = torch.randn(5, 3, requires_grad=True)
    for part in (0.0, 0.25, 1.0):
        y = scale_gradient(x, part)
        assert torch.equal(y, x)
        (gradient,) = torch.autograd.grad((y * 3).sum() + 0 * x.sum(), x)
        torch.testing.assert_close(gradient, torch.full_like(x, 3 * part))


def test_a_model_with_skills_acts_and_learns():
    learner, actor = parts(skill=3)
    rollout = actor.collect()
    assert rollout.skill.shape == (T + 1, B, 3)
    assert learner.step(rollout)["finite"] == 1


class Gain(IntrinsicReward):
    """Prediction gain: how much one step of learning, on a copy of its weights, lowers the error on the rollout."""

    def __init__(self):
        super().__init__(self.Config())
        torch.manual_seed(2)
        self.guess = nn.Linear(42 * 42 * 3, 1).requires_grad_(False)

    def errors(self, weights, rollout):
        x = rollout.observation["image"][:-1].flatten(2).float() / 255
        return torch.func.functional_call(self.guess, weights, (x,)).squeeze(-1).sub(0.3).square()

    def score(self, rollout, features, state):
        before = dict(self.guess.named_parameters())
        step = torch.func.grad(lambda w: self.errors(w, rollout)[rollout.valid].mean())(before)
        after = {k: v - 1e-4 * step[k] for k, v in before.items()}
        return Scored(self.errors(before, rollout) - self.errors(after, rollout), context=after)

    def observe(self, rollout, features, scored):
        for name, p in self.guess.named_parameters():
            p.copy_(scored.context[name])


def test_learning_progress_is_scored_on_a_copy_and_committed_afterwards():
    reward = weighed(Gain(), 0.1, normalise="none")
    learner, actor = parts({"gain": reward})
    rollout = actor.collect()
    before = {k: v.clone() for k, v in reward.guess.named_parameters()}
    with torch.no_grad():
        scored = reward.score(rollout, None, ())
    assert all(torch.equal(v, before[k]) for k, v in reward.guess.named_parameters())
    metrics = learner.step(rollout)
    assert all(torch.equal(v, scored.context[k]) for k, v in reward.guess.named_parameters())
    assert float(metrics["gain/reward"]) == pytest.approx(scored.raw[rollout.valid].mean().item(), rel=1e-4)
    assert float(metrics["gain/reward"]) > 0
