"""Losses and rewards that somebody wrote in another way than was meant: refused by name, or harmless."""

import copy
import threading
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

import morello
from morello.agents.actor import Actor
from morello.agents.config.registered import copied
from morello.agents.finite import NonFiniteError
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.agents.training.restoring import refuse_odd_slots
from morello.auxiliaries import IntrinsicConfig, IntrinsicReward, LossConfig, Scored
from morello.envs.errors import UserError

from ..support.plugins import weighed

B, T = 7, 11


def parts(rewards, **options):
    torch.manual_seed(0)
    env = morello.make("counting:steps", B, frame_size=(36, 44))
    streams = ("extrinsic", *rewards)
    model = ActorCritic(env.spec, torso="shallow", memory="gru", memory_size=13, streams=streams)
    return Learner(model, LearnerConfig(constant_rate=True), 10**6, plugins=rewards, **options), Actor(env, model, T)


class One(IntrinsicReward):
    """Pays one, and is made odd by its subclasses."""

    def __init__(self, config=None):
        super().__init__(config or IntrinsicConfig(weight=0.1))

    def score(self, rollout, features, state):
        return Scored(torch.ones_like(rollout.reward), state)


def test_a_reward_may_look_through_the_agents_encoder_and_does_not_train_it():
    class Looks(One):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(320, 1)

        def forward(self, rollout, features, scored):
            assert not self.encoder.autocast
            _, seen = self.encoder({k: x[:-1] for k, x in rollout.observation.items()})
            return self.head(seen).squeeze(-1).square() * 100, rollout.valid

    learner, actor = parts({"x": Looks()})
    before = learner.plugins["x"].head.weight.clone()
    metrics = learner.step(actor.collect(), diagnose=True)
    assert float(metrics["x/gradient_share"]) == 0
    assert not torch.equal(learner.plugins["x"].head.weight, before)
    assert copy.deepcopy(learner.plugins["x"]).encoder.size == learner.model.encoder.size


def test_without_a_gradient_nothing_is_clipped():
    class Idle(One):
        def __init__(self):
            super().__init__(IntrinsicConfig(weight=0.1, value_cost=0.0))
            self.unused = nn.Linear(3, 5)

    learner, actor = parts({"x": Idle()})
    metrics = learner.step(actor.collect())
    assert {k for k in metrics if k.startswith("gradient_norm/")} == {"gradient_norm/agent"}


class Kept(NamedTuple):
    count: Tensor
    start: Tensor


class Remembers(One):
    """Its memories begin as one of its own tensors, spread over the environments."""

    def __init__(self):
        super().__init__()
        self.register_buffer("zero", torch.zeros(2))

    def initial_state(self, batch):
        return Kept(self.zero[:1].expand(batch), self.zero.expand(batch, 2))

    def score(self, rollout, features, state):
        assert isinstance(state, Kept)
        state.start.add_(1)  # in place, as memories may be
        return Scored(torch.ones_like(rollout.reward), Kept(state.count + 1, state.start))


def test_memories_are_their_own_also_after_a_checkpoint():
    one, actor = parts({"x": Remembers()})
    for _ in range(2):
        one.step(actor.collect())
    other, _ = parts({"x": Remembers()})
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    rollout = actor.collect()
    for learner in (one, other):
        learner.step(rollout)
        kept = learner.streams.memories["0"]["x"]
        assert kept.count.eq(3).all()
        assert kept.start.eq(3).all()
        assert learner.plugins["x"].zero.eq(0).all()


def test_a_memory_keeps_no_graph_and_nothing_borrowed():
    class Last(One):
        def initial_state(self, batch):
            return {"frame": torch.zeros(batch, 36, 44, 3, dtype=torch.uint8), "total": torch.zeros(batch)}

        def score(self, rollout, features, state):
            with torch.enable_grad():
                total = state["total"] + torch.ones(B, requires_grad=True)
            return Scored(torch.ones_like(rollout.reward), {"frame": rollout.observation["image"][-1], "total": total})

    learner, actor = parts({"x": Last()})
    learner.step(actor.collect())
    seen = learner.streams.memories["0"]["x"]["frame"].clone()
    following = actor.collect()
    assert torch.equal(learner.streams.memories["0"]["x"]["frame"], seen)
    assert torch.equal(following.observation["image"][0], seen)
    assert not learner.streams.memories["0"]["x"]["total"].requires_grad


@pytest.mark.parametrize("shape", [(1,), (B, 3), (B,)])
def test_another_memory_in_the_checkpoint_is_refused(shape):
    learner, actor = parts({"x": Remembers()})
    learner.step(actor.collect())
    state = learner.state_dict()
    state["memories"]["0"]["states"]["x"] = Kept(torch.zeros(B), torch.zeros(shape))
    with pytest.raises(ValueError, match="the memory of 'x' in the checkpoint is not the one it has here now"):
        learner.load_state_dict(state)


def test_adams_memory_is_checked_too():
    learner, actor = parts({"x": weighed(Trained(), 0.1)})
    learner.step(actor.collect())
    refuse_odd_slots(learner.gradients.plugged.values())
    (slots, *_) = learner.gradients.plugged["x"].state.values()
    for wrong in ({"updates": -1}, {"mean": torch.zeros(99)}):
        kept = dict(slots)
        slots |= wrong
        with pytest.raises(ValueError, match="an optimiser's"):
            refuse_odd_slots(learner.gradients.plugged.values())
        slots.update(kept)
    del slots["mean"]
    with pytest.raises(ValueError, match="lacks a part"):
        refuse_odd_slots(learner.gradients.plugged.values())


class Trained(One):
    """Has a loss of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, rollout, features, scored):
        return self.scale.sum() * torch.ones_like(rollout.reward), rollout.valid


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (lambda r: r.reward, "pair of tensors"),
        (lambda r: None, "pair of tensors"),
        (lambda r: (r.reward, r.valid.float()), "mask of torch.float32"),
        (lambda r: (r.reward, r.valid[:1]), r"different shapes, \[11, 7\] and \[1, 7\]"),
    ],
)
def test_what_forward_returns_is_checked_by_name(found, words):
    class Odd(One):
        def forward(self, rollout, features, scored):
            return found(rollout)

    learner, actor = parts({"x": Odd()})
    with pytest.raises(ValueError, match=f"'x' .*{words}"):
        learner.step(actor.collect())


def test_a_memory_of_nothing_and_metrics_of_the_learners_are_refused_by_name():
    class Nothing(One):
        def score(self, rollout, features, state):
            return Scored(torch.ones_like(rollout.reward), None)

    class Loud(One):
        def score(self, rollout, features, state):
            self.metrics = {"reward": torch.tensor(42.0)}
            return super().score(rollout, features, state)

    class Unsaid(One):
        def score(self, rollout, features, state):
            return Scored(torch.ones_like(rollout.reward), context=None)

    for reward, words in (
        (Nothing(), "'x' has to remember a tree of tensors"),
        (Unsaid(), "'x' has to hand on a tree of tensors"),
        (Loud(), "'x' logs 'reward'"),
    ):
        learner, actor = parts({"x": reward})
        with pytest.raises(ValueError, match=words):
            learner.step(actor.collect())


def holding(what):
    reward = One()
    reward.held = what
    return reward


@pytest.mark.parametrize(
    ("plugins", "words"),
    [
        ({"x": One(IntrinsicConfig(weight=0.1, gamma=1.0))}, "--plugins.x.gamma must be"),
        ({"x": One(IntrinsicConfig(weight=-1.0))}, "--plugins.x.weight must be"),
        ({"x": One(IntrinsicConfig(weight=float("nan")))}, "--plugins.x.weight must be"),
        ({"x": One(IntrinsicConfig(normalise="retrun"))}, "Unknown plugins.x.normalise 'retrun'"),
        ({"x": One(LossConfig(weight=0.1))}, "The reward 'x' has to be built with settings of"),
        ({"x": nn.Linear(3, 5)}, "'x' is a Linear"),
        ({3: One()}, "A plugin's name is a word, not 3"),
        ({"x": holding(threading.Lock())}, "The reward 'x' cannot be copied for the run: TypeError"),
    ],
)
def test_what_python_hands_over_is_checked_as_flags_are(plugins, words):
    with pytest.raises(UserError, match=words):
        copied(plugins)


@pytest.mark.parametrize(
    ("settings", "words"), [({"gamma": 1.0}, "gamma has to be"), ({"normalise": "retrun"}, "not one of none, return")]
)
def test_a_learner_of_ones_own_refuses_them_too(settings, words):
    with pytest.raises(ValueError, match=words):
        parts({"x": One(IntrinsicConfig(weight=0.1, **settings))})


def test_a_bonus_too_large_to_divide_by_is_said():
    class Huge(One):
        def score(self, rollout, features, state):
            return Scored(torch.full_like(rollout.reward, 1e38))

    learner, actor = parts({"x": Huge()})
    with pytest.raises(NonFiniteError, match="became non-finite"):
        learner.step(actor.collect())
