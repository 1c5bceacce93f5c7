"""Losses that read a replay: what the learner hands them, and what of them reaches the agent."""

import copy
from dataclasses import replace

import pytest
import torch

import morello
from morello.agents.actor import Actor
from morello.agents.config.auxiliaries import auxiliaries_of
from morello.agents.config.config import Config
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.agents.replay import Replay, ReplayConfig
from morello.auxiliaries import AuxiliaryLoss
from morello.auxiliaries.losses.value_replay import ValueReplay, ValueReplayConfig
from morello.auxiliaries.reduction import reduce
from morello.envs.wrappers.rewards import shaped

from ..support.plugins import weighed

B, T = 7, 11
CONFIG = LearnerConfig(gamma=0.9, learning_rate=0.01, max_grad_norm=1e9, constant_rate=True, reward="clip")


class Notes(AuxiliaryLoss):
    """Keeps what it was given."""

    def __init__(self, data="rollout", **options):
        super().__init__(self.Config())
        self.data = data
        self.seen = []
        for name, value in options.items():
            setattr(self, name, value)

    def forward(self, rollout, features):
        self.seen.append((rollout, features, torch.is_grad_enabled()))
        if features is None:
            _, vector = self.encoder(rollout.observation)
            return vector.square().mean(-1), torch.ones(vector.shape[:2], dtype=torch.bool)
        return features.memory[:-1].square().mean(-1), rollout.valid


def parts(memory="gru", **options):
    torch.manual_seed(0)
    env = morello.make("counting:steps", num_envs=B, frame_size=(36, 44))
    model = ActorCritic(env.spec, torso="shallow", memory=memory, memory_size=13)
    actor = Actor(env, model, T, seed=0)
    return env, model, actor, Replay(actor.rollout, ReplayConfig(**options))


def test_each_loss_is_handed_what_it_reads():
    _, model, actor, replay = parts(ratio=2.0)
    losses = {
        "fresh": Notes(),
        "unrolls": Notes("sequence_replay"),
        "others": Notes("sequence_replay"),
        "windows": Notes("transition_replay", batch=17, length=3),
    }
    learner = Learner(model, CONFIG, 10**6, plugins={k: weighed(v, 0.1) for k, v in losses.items()}, replay=replay)
    rollout = actor.collect()
    learner.step(rollout)
    (fresh, features, _), (unrolls, replayed, _) = losses["fresh"].seen[0], losses["unrolls"].seen[0]
    assert torch.equal(fresh.action, rollout.action)
    assert torch.equal(fresh.reward, shaped(rollout.reward, "clip"))
    assert features.memory.shape == (T + 1, B, 13)
    assert replayed.memory.shape == (T + 1, 2 * B, 13)
    assert unrolls.action.shape == (T, 2 * B)
    assert losses["others"].seen[0][1] is replayed, "one unroll for all"
    window, nothing, _ = losses["windows"].seen[0]
    assert nothing is None
    assert window.action.shape == (3, 17)
    assert window.observation["image"].shape == (4, 17, 36, 44, 3)


def test_the_encoder_is_the_agents_and_not_the_losss():
    _, model, _, replay = parts()
    loss = Notes("transition_replay")
    Learner(model, CONFIG, 10**6, plugins={"it": weighed(loss, 1.0)}, replay=replay)
    assert loss.encoder is model.encoder
    assert not list(loss.parameters())
    assert not loss.state_dict()


def test_without_a_replay_it_says_who_needs_one():
    _, model, _, _ = parts()
    with pytest.raises(ValueError, match=r"unrolls need a replay"):
        Learner(model, CONFIG, 10**6, plugins={"unrolls": weighed(Notes("sequence_replay"), 1.0)})


@pytest.mark.parametrize("data", ["rollout", "sequence_replay", "transition_replay"])
def test_at_weight_zero_the_agent_is_bit_identical(data):
    def weights(weight):
        _, model, actor, replay = parts()
        plugins = {} if weight is None else {"it": weighed(Notes(data), weight)}
        learner = Learner(model, CONFIG, 10**6, plugins=plugins, replay=replay)
        for _ in range(3):
            learner.step(actor.collect())
        return model.state_dict()

    without, at_zero, at_one = weights(None), weights(0.0), weights(1.0)
    assert all(torch.equal(at_zero[k], v) for k, v in without.items())
    assert not all(torch.equal(at_one[k], v) for k, v in without.items())


def test_at_weight_zero_not_even_nan_is_felt():
    class Broken(Notes):
        def forward(self, rollout, features):
            value, mask = super().forward(rollout, features)
            return value * torch.nan, mask

    _, model, actor, replay = parts()
    learner = Learner(model, CONFIG, 10**6, plugins={"it": weighed(Broken("rollout"), 0.0)}, replay=replay)
    assert learner.step(actor.collect(), diagnose=True)["finite"] == 1


def test_a_window_must_fit_an_unroll_whoever_brings_the_loss():
    _, model, actor, replay = parts()
    long = Notes("transition_replay")
    long.length = T + 1
    learner = Learner(model, CONFIG, 10**6, plugins={"long": weighed(long, 1.0)}, replay=replay)
    with pytest.raises(ValueError, match=f"'long' needs an --unroll of at least {T + 1}, not {T}"):
        learner.step(actor.collect())


@pytest.mark.parametrize("memory", ["lstm", "transformer"])
def test_burn_in_brings_the_memory_up_to_date_without_a_gradient(memory):
    """With the stored state, burnt-in rows are those of the whole unroll."""
    _, model, actor, replay = parts(memory)
    burnt = Replay(actor.rollout, ReplayConfig(burn_in=4))
    plain, late = Notes("sequence_replay"), Notes("sequence_replay")
    rollout = actor.collect()
    for loss, its in ((plain, replay), (late, burnt)):
        Learner(copy.deepcopy(model), CONFIG, 10**6, plugins={"it": weighed(loss, 1.0)}, replay=its).step(rollout)
    (whole, features, _), (rest, after, _) = plain.seen[0], late.seen[0]
    assert torch.equal(rest.action, whole.action[4:])
    assert torch.equal(rest.first, whole.first[4:])
    torch.testing.assert_close(after.memory, features.memory[4:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("correct", [True, False])
def test_the_replayed_value_loss_is_the_on_policy_one_where_the_replay_is_the_rollout(correct):
    _, model, actor, _ = parts(capacity=B * T)
    twin = copy.deepcopy(model)
    rollout = actor.collect()

    class Everything(Replay):
        def unrolls(self, *reader):
            return rollout

    loss = ValueReplay(ValueReplayConfig(gamma=0.9, correct=correct), None, None)
    replay = Everything(rollout, ReplayConfig(B * T))
    twice = replace(CONFIG, value_cost=1.0)
    learner = Learner(model, replace(CONFIG, value_cost=0.4), 10**6, plugins={"vr": weighed(loss, 0.6)}, replay=replay)
    metrics = learner.step(rollout)
    torch.testing.assert_close(metrics["loss/vr"], metrics["loss/value"])
    Learner(twin, twice, 10**6).step(rollout)
    for mine, its in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, atol=1e-6, rtol=1e-4)


def test_an_old_policys_value_is_corrected():
    """V-trace written apart, one step at a time: an action that the present policy never takes counts for nothing."""
    _, _, actor, _ = parts()
    rollout = actor.collect()._replace(discount=torch.zeros(T, B))
    from ..support.rollouts import features

    now = features(actor.model.sizes, T, B, actions=actor.model.num_actions)
    sure = torch.full_like(now.logits, -40.0)
    sure[:-1].scatter_(-1, rollout.action.unsqueeze(-1), 40.0)
    for logits, counts in ((sure, True), (-sure, False)):
        loss = ValueReplay(ValueReplayConfig(gamma=0.9), None, None)
        value, mask = loss(rollout, now._replace(logits=logits))
        expected = (rollout.reward - now.value["extrinsic"][:-1]).square() / 2 if counts else torch.zeros(T, B)
        torch.testing.assert_close(value[mask], expected[mask], atol=1e-5, rtol=1e-5)


def test_replayed_values_are_learnt_by_the_learners_rules():
    """Time limits that terminate, and shorter traces: where the replay is the rollout the losses are one."""
    _, model, actor, _ = parts(capacity=B * T)
    rollout = actor.collect()

    class Everything(Replay):
        def unrolls(self, *reader):
            return rollout

    assert rollout.truncated.any()
    for changes in ({"timeout_terminates": True}, {"lambda_": 0.5}):
        config = replace(CONFIG, **changes)
        its = Config(aux={"value_replay": ValueReplayConfig(weight=1.0)}, learner=config)
        (plugin,) = auxiliaries_of(its, actor.env.spec, model.sizes).values()
        replay = Everything(rollout, ReplayConfig(B * T))
        metrics = Learner(copy.deepcopy(model), config, 10**6, plugins={"vr": plugin}, replay=replay).step(rollout)
        torch.testing.assert_close(metrics["loss/vr"], metrics["loss/value"])


@pytest.mark.parametrize("shape", [(T, B, 1), (B,)])
def test_a_value_and_a_mask_of_other_shapes_are_refused(shape):
    class Broad(Notes):
        def forward(self, rollout, features):
            return features.memory.new_zeros(shape), rollout.valid

    _, model, actor, _ = parts()
    with pytest.raises(ValueError, match="'it' gives a value and a mask of different shapes"):
        Learner(model, CONFIG, 10**6, plugins={"it": weighed(Broad(), 1.0)}).step(actor.collect())


def test_a_loss_says_what_it_reads_in_words_that_are_known():
    _, model, _, _ = parts()
    with pytest.raises(ValueError, match="'it' reads 'transitions', which is not one of rollout, sequence_replay"):
        Learner(model, CONFIG, 10**6, plugins={"it": weighed(Notes("transitions"), 1.0)})


def test_shares_of_the_encoders_gradient():
    _, model, actor, replay = parts()
    learner = Learner(model, CONFIG, 10**6, plugins={"it": weighed(Notes(), 0.3)}, replay=replay)
    rollout = actor.collect()
    twin = copy.deepcopy(model)
    metrics = learner.step(rollout, diagnose=True)
    shares = {k: float(v) for k, v in metrics.items() if k.endswith("/gradient_share")}
    assert sum(shares.values()) == pytest.approx(1)
    assert metrics["policy/gradient_cosine"].item() == pytest.approx(1, abs=1e-5)
    out = twin.unroll(rollout)
    loss = 0.3 * out.features.memory[:-1].square().mean(-1)[rollout.valid].mean()
    grads = torch.autograd.grad(loss, list(twin.encoder.parameters()))
    norm = torch.cat([g.flatten() for g in grads]).norm()
    entropy = metrics["entropy/gradient_share"]
    plain = learner_gradient(twin, rollout, "entropy")
    assert (shares["it/gradient_share"] / entropy).item() == pytest.approx((norm / plain).item(), rel=1e-3)
    assert 1 <= metrics["encoder/effective_rank"] <= 256


def learner_gradient(model, rollout, what):
    from morello.agents import losses

    out = model.unroll(rollout)
    loss = CONFIG.entropy_cost * reduce(losses.negative_entropy(out.logits[:-1]), rollout.valid)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.encoder.parameters()))]).norm()


def test_effective_rank_counts_directions():
    from morello.agents.diagnostics import effective_rank

    torch.manual_seed(0)
    flat = torch.randn(500, 3) @ torch.linalg.qr(torch.randn(40, 3))[0].T
    assert effective_rank(flat).item() == pytest.approx(3, abs=0.05)
    assert effective_rank(torch.ones(50, 9)) == 0
    assert effective_rank(torch.full((100, 5), 0.1)) == 0  # whose mean is rounded
    assert effective_rank(torch.randn(5000, 20)).item() == pytest.approx(20, abs=0.2)
