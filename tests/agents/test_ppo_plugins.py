"""Losses and rewards under several updates per rollout: what they are handed, and how often."""

from dataclasses import replace

import pytest
import torch

import morello
from morello.agents.actor import Actor
from morello.agents.config.build import build
from morello.agents.config.config import Config
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.agents.replay import Replay, ReplayConfig
from morello.auxiliaries import AUXILIARY_LOSSES, AuxiliaryLoss, IntrinsicReward, Scored
from morello.envs.errors import UserError

from ..support.plugins import weighed

B, T, EPOCHS, MINIBATCHES = 7, 6, 2, 3
PPO = LearnerConfig(
    gamma=0.9,
    lambda_=0.9,
    epochs=EPOCHS,
    minibatches=MINIBATCHES,
    segment=3,
    clip=0.2,
    advantage="standardised",
    optimizer="adam",
    learning_rate=3e-3,
    reward="clip",
)
ONCE = replace(PPO, epochs=1, minibatches=1, segment=None)


class Notes(AuxiliaryLoss):
    """Keeps what it was given."""

    def __init__(self, data="rollout"):
        super().__init__(self.Config())
        self.data, self.length, self.batch, self.seen = data, 2, 11, []

    def forward(self, rollout, features):
        self.seen.append((rollout, features))
        if features is None:
            _, vector = self.encoder(rollout.observation)
            return vector.square().mean(-1), torch.ones(vector.shape[:2], dtype=torch.bool)
        return features.memory[:-1].square().mean(-1), rollout.valid


class Placed(IntrinsicReward):
    """Pays for pixels; its context says of each row where it was."""

    def __init__(self, shape=None, poison=False):
        super().__init__(self.Config(normalise="none"))
        self.shape, self.poison = shape, poison
        self.scored, self.observed, self.learnt = [], [], []
        self.scale = torch.nn.Parameter(torch.ones(2))

    def score(self, rollout, features, state):
        rows, columns = rollout.first.shape
        place = torch.arange(rows * columns).view(rows, columns)
        context = (place[:-1], {"rows": place}) if self.shape is None else torch.zeros(self.shape)
        raw = rollout.observation["image"][1:].float().mean((2, 3, 4)) / 255
        self.scored.append((rollout, features, raw))
        return Scored(raw * torch.nan if self.poison else raw, (), context)

    def observe(self, rollout, features, scored):
        self.observed.append(rollout)

    def forward(self, rollout, features, scored):
        self.learnt.append((rollout, features, scored))
        return features.memory[: len(scored.raw)].mean(-1) * self.scale.sum(), rollout.valid


def made(plugins=None, config=PPO, memory="gru", replay=None):
    torch.manual_seed(0)
    env = morello.make("counting:steps", num_envs=B, frame_size=(20, 23))
    rewards = [k for k, m in (plugins or {}).items() if isinstance(m, IntrinsicReward)]
    model = ActorCritic(env.spec, torso="shallow", memory=memory, memory_size=13, streams=("extrinsic", *rewards))
    actor = Actor(env, model, T, seed=0)
    kept = replay and Replay(actor.rollout, replay)
    return Learner(model, config, 10**6, plugins=plugins, replay=kept), actor


def test_a_loss_on_the_rollout_sees_segments_with_the_row_after_them():
    loss = Notes()
    learner, actor = made({"it": weighed(loss, 0.1)})
    rollout = actor.collect()
    learner.step(rollout)
    assert len(loss.seen) == EPOCHS * MINIBATCHES
    for epoch in (loss.seen[:MINIBATCHES], loss.seen[MINIBATCHES:]):
        assert sorted(r.action.shape[1] for r, _ in epoch) == [4, 5, 5]
        assert sum(r.reward.sum() for r, _ in epoch) == rollout.reward.clamp(-1, 1).sum()
        for r, features in epoch:
            assert r.action.shape[0] == 3
            assert features.memory.shape == (4, r.action.shape[1], 13)
            assert features.memory.requires_grad
            steps = r.observation["vector"][..., 3]  # the step in the episode
            goes_on = ~r.first[1:]
            assert torch.equal((steps[1:] - steps[:-1])[goes_on], torch.ones(int(goes_on.sum())))
            assert torch.equal(r.valid, goes_on)


@pytest.mark.parametrize("kind", [None, Notes, Placed])
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_torsos_map_is_there_if_a_loss_or_reward_may_read_it(kind, weight):
    plugin = kind and weighed(kind(), weight)
    learner, actor = made({"it": plugin} if plugin else None)
    outputs, unroll = [], learner.model.unroll
    learner.model.unroll = lambda *a, **k: outputs.append(unroll(*a, **k)) or outputs[-1]
    learner.step(actor.collect())
    assert len(outputs) == 1 + EPOCHS * MINIBATCHES
    read = bool(plugin and weight)
    assert all((out.features.map is not None) == read for out in outputs)
    if read:
        assert all(seen[1].map is not None for seen in (plugin.seen if kind is Notes else plugin.learnt))


def test_a_reward_is_scored_once_and_learns_in_every_update():
    reward = Placed()
    learner, actor = made({"bonus": weighed(reward, 0.5)})
    for number in (1, 2):
        rollout = actor.collect()
        learner.step(rollout)
        assert len(reward.scored) == len(reward.observed) == number
        assert len(reward.learnt) == number * EPOCHS * MINIBATCHES
        whole, features, raw = reward.scored[-1]
        assert whole.action.shape == (T, B)
        assert features.memory.shape == (T + 1, B, 13)
        for epoch in range(EPOCHS):
            count, places = (number - 1) * EPOCHS + epoch, []
            for r, seen, scored in reward.learnt[count * MINIBATCHES : (count + 1) * MINIBATCHES]:
                steps, rows = scored.context[0], scored.context[1]["rows"]
                assert torch.equal(steps, rows[:-1])
                places += steps.flatten().tolist()
                at = (steps // B, steps % B)
                expected = torch.where(rollout.valid, raw, 0.0)
                assert torch.equal(scored.raw, expected[at])
                assert torch.equal(r.action, rollout.action[at])
                assert torch.equal(r.observation["image"], rollout.observation["image"][rows // B, rows % B])
                assert torch.equal(r.info["cell"], rollout.info["cell"][rows // B, rows % B])
                assert scored.state == ()
                assert not seen.memory.requires_grad
                assert seen.memory.shape[:2] == rows.shape
            assert sorted(places) == list(range(T * B))


@pytest.mark.parametrize("shape", [(B, T), (T + 2, B, 3), (T * B,)])
def test_a_context_that_cannot_be_divided_is_refused_by_name(shape):
    learner, actor = made({"bonus": weighed(Placed(shape), 0.5)})
    before = {k: v.clone() for k, v in learner.model.state_dict().items()}
    with pytest.raises(ValueError, match=r"'bonus' hands on a context of shape .*\[T, B, ...\] or \[T \+ 1, B, ...\]"):
        learner.step(actor.collect())
    assert all(torch.equal(v, before[k]) for k, v in learner.model.state_dict().items())
    learner, actor = made({"bonus": weighed(Placed(shape), 0.5)}, ONCE)
    learner.step(actor.collect())  # as a whole it may have any


@pytest.mark.parametrize(("every", "times"), [("epoch", EPOCHS), ("rollout", 1)])
def test_losses_on_the_replay_are_due_once_an_epoch_or_once_a_rollout(every, times):
    losses = {"fresh": Notes(), "unrolls": Notes("sequence_replay"), "windows": Notes("transition_replay")}
    plugins = {k: weighed(m, 0.1) for k, m in losses.items()}
    learner, actor = made(plugins, replay=ReplayConfig(every=every, ratio=2.0))
    for number in (1, 2):
        metrics = learner.step(actor.collect())
        assert len(losses["fresh"].seen) == number * EPOCHS * MINIBATCHES
        assert len(losses["unrolls"].seen) == len(losses["windows"].seen) == number * times
        assert {"loss/unrolls", "loss/windows", "loss/fresh"} <= metrics.keys()
    assert losses["unrolls"].seen[0][0].action.shape == (T, 2 * B)
    assert losses["windows"].seen[0][0].action.shape == (2, 11)


def weights(plugins, memory, replay=None):
    learner, actor = made(plugins, replace(PPO, segment=None), memory, replay)
    for _ in range(3):
        learner.step(actor.collect())
    return {k: v for k, v in learner.model.state_dict().items() if not k.startswith("values.it.")}


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_at_weight_0_the_agent_is_bit_identical(memory):
    plain = weights(None, memory)
    kinds = (Notes, Placed, lambda: Placed(poison=True), lambda: Placed((B,)))
    for kind in kinds:
        its = weights({"it": weighed(kind(), 0.0)}, memory)
        assert [k for k, v in plain.items() if not torch.equal(v, its[k])] == []
    its = weights({"it": weighed(Notes("sequence_replay"), 0.0)}, memory, ReplayConfig())
    assert [k for k, v in plain.items() if not torch.equal(v, its[k])] == []
    assert not torch.equal(weights({"it": weighed(Placed(), 1.0)}, memory)["policy.weight"], plain["policy.weight"])


COUNTING = Config(env="counting:steps", num_envs=B, unroll=T, frame_size=(36, 44), device="cpu", threads=1)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_reward_and_a_loss_on_the_replay_go_together(weight):
    aux = {"value_replay": AUXILIARY_LOSSES["value_replay"].Config(weight=1.0)}
    parts = build(replace(COUNTING, aux=aux, learner=PPO), {"bonus": weighed(Placed(), weight)})
    for _ in range(2):
        parts.learner.step(parts.actor.collect())
    assert parts.learner.updates == 2 * EPOCHS * MINIBATCHES
    assert parts.learner.replay.rewards == set()  # nothing reads them there


class Long(Notes):
    """Compares steps that lie 5 apart."""

    def __init__(self):
        super().__init__()
        self.length = 5


class Wide(Notes):
    """Compares environments."""

    def __init__(self):
        super().__init__()
        self.environments = 4


@pytest.mark.parametrize(
    ("plugin", "changes", "said"),
    [
        (Long, {"segment": 3}, "'it' needs a --segment of at least 5, not 3."),
        (Wide, {"segment": None, "minibatches": 2}, "'it' needs 4 segments at least in a minibatch, not 3: .*--minib"),
        (Notes, {"segment": 4}, "--segment 4 has to divide --unroll 6."),
        (Notes, {"segment": None, "minibatches": 8}, "--minibatches 8 is more than the 7 segments of 6 steps"),
        (None, {"segment": None, "minibatches": 43}, "--minibatches 43 is more than the 42 segments of 1 steps"),
    ],
)
def test_what_does_not_fit_is_one_sentence_before_anything_is_collected(plugin, changes, said):
    plugins = {"it": weighed(plugin(), 0.1)} if plugin else None
    with pytest.raises(UserError, match=said) as caught:
        build(replace(COUNTING, learner=replace(PPO, **changes)), plugins)
    assert "\n" not in str(caught.value)
    if plugin not in (None, Notes):  # at weight 0 it asks for nothing
        build(replace(COUNTING, learner=replace(PPO, **changes)), {"it": weighed(plugin(), 0.0)})


def test_what_fits_a_minibatch_exactly_is_learnt_from():
    loss = weighed(Wide(), 0.1)
    parts = build(replace(COUNTING, num_envs=8, learner=replace(PPO, segment=None, minibatches=2)), {"it": loss})
    assert parts.learner.step(parts.actor.collect())["finite"] == 1


@pytest.mark.parametrize("name", AUXILIARY_LOSSES)
def test_every_registered_loss_learns_from_minibatches_of_whole_unrolls(name):
    config = replace(PPO, segment=None, minibatches=2)
    aux = {name: AUXILIARY_LOSSES[name].Config(weight=0.1)}
    parts = build(replace(COUNTING, unroll=23, num_envs=11, memory="lstm", memory_size=16, aux=aux, learner=config))
    metrics = parts.learner.step(parts.actor.collect())
    assert metrics["finite"] == 1
    assert torch.isfinite(metrics[f"loss/{name}"])
    assert parts.learner.updates == 2 * EPOCHS


class Progress(IntrinsicReward):
    """Pays for what its copy has learnt, hands the copy on, and has no loss."""

    def __init__(self):
        super().__init__(self.Config(normalise="none"))
        self.guess = torch.nn.Linear(3, 1).requires_grad_(False)

    def score(self, rollout, features, state):
        return Scored(rollout.reward, context={k: p + 1 for k, p in self.guess.named_parameters()})

    def observe(self, rollout, features, scored):
        for name, p in self.guess.named_parameters():
            p.copy_(scored.context[name])


def test_learning_progress_needs_no_context_that_can_be_divided():
    reward = weighed(Progress(), 0.5)
    learner, actor = made({"progress": reward})
    before = reward.guess.weight.clone()
    for _ in range(2):
        learner.step(actor.collect())
    torch.testing.assert_close(reward.guess.weight, before + 2)
