"""Whole updates of everything registered on torch's `meta` device, whose tensors have shapes and no data: whatever
would make the host wait for a GPU, or mix devices, raises here, without a GPU.
"""

import dataclasses
import types
import typing
from pathlib import Path

import pytest
import torch

import morello
from morello.agents.config.build import build
from morello.agents.config.config import Config
from morello.agents.config.presets import PRESETS
from morello.agents.config.presets.ppo import PPO_CONFIG
from morello.agents.gradients import Gradients
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import EXTRINSIC
from morello.agents.normalisers import NORMALISERS
from morello.agents.replay import ReplayConfig
from morello.agents.runners import Sync
from morello.agents.training.averages import Averages
from morello.auxiliaries import (
    AUXILIARY_LOSSES,
    INTRINSIC_REWARDS,
    AuxiliaryLoss,
    IntrinsicReward,
    Scored,
)
from morello.backbones import MEMORIES, TORSOS
from morello.envs.errors import UserError
from morello.envs.exploration import Exploration
from morello.envs.rows import empty_timestep, write_rows
from morello.envs.statistics import EpisodeStatistics
from morello.envs.vector_env import VectorEnv

from ..support.on_meta import META, OnlyOnTheDevice
from ..support.plugins import weighed
from ..support.rollouts import spec

T, B, A, H, W, VECTOR, MEMORY, ROLLOUTS = 11, 3, 5, 83, 79, 17, 13, 7


class Generator(torch.Generator):
    """A generator that says it is on the device it was asked for: `meta` has none of its own."""

    def __new__(cls, device="cpu"):
        generator = super().__new__(cls, "cpu")
        generator.asked = torch.device(device)
        return generator

    @property
    def device(self):
        return self.asked


class Autocast(torch.autocast):
    """Autocast, which on `meta` there is none of: precision is for other tests."""

    def __init__(self, device_type, *args, **kwargs):
        if device_type == "meta":
            super().__init__("cpu", enabled=False)
        else:
            super().__init__(device_type, *args, **kwargs)


class Nowhere(VectorEnv):
    """An environment on `meta`."""

    def __init__(self, shown, num_envs):
        self.spec, self.num_envs = shown, num_envs
        self.now = empty_timestep(
            shown,
            num_envs,
            META,
            position=torch.zeros(num_envs, 2, device=META),
            cell=torch.zeros(num_envs, dtype=torch.int64, device=META),
        )

    def reset(self, seed=None, mask=None):
        return write_rows(self.now, None, META)

    def step(self, action, out=None):
        assert (action.device, action.dtype, action.shape) == (META, torch.int64, (self.num_envs,))
        return write_rows(self.now, out, META)


@pytest.fixture
def parts_of(monkeypatch):
    """Builds the parts of a run on `meta`, as training does."""
    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(torch, "autocast", Autocast)

    def made(config, shown=None, plugins=None):
        shown = shown or spec(image=(H, W, 3), actions=A)
        monkeypatch.setattr("morello.agents.config.build.environment", lambda *_: Nowhere(shown, B))
        replay = dataclasses.replace(config.replay, capacity=ROLLOUTS * T * B)
        sizes = {"num_envs": B, "unroll": T, "memory_size": MEMORY, "replay": replay}
        return build(dataclasses.replace(config, device="meta", dtype="float32", threads=1, **sizes), plugins)

    return made


def update(parts, times=1):
    """Collect and learn as training does between two records, so many times."""
    averages, statistics = Averages(), EpisodeStatistics(B, len(parts.env.spec.tasks), META)
    streams = [stream.name for stream in parts.learner.streams.all if stream.name != EXTRINSIC]
    exploration = Exploration(B, len(parts.env.spec.tasks), 19, META, rewards=streams)
    with OnlyOnTheDevice():
        for rollout, metrics in Sync(parts.actor, parts.learner):
            statistics.update(rollout)
            exploration.update(rollout, parts.learner.intrinsic)
            averages.add(metrics)
            if parts.learner.updates >= times:
                break
    assert "finite" in averages.pooled


def variants(settings):
    """``settings``, and all that differ from it in one choice: a boolean, or a word."""
    yield "default", settings
    for name, hint in typing.get_type_hints(type(settings)).items():
        for option in options(hint):
            if option != getattr(settings, name):
                yield f"{name}={option}", dataclasses.replace(settings, **{name: option})


def options(hint):
    """What a setting of this type can be, where that can be listed."""
    if hint is bool:
        return [True, False]
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        return [option for part in typing.get_args(hint) for option in options(part)]
    return []


def cases(settings):
    """``variants`` as a test's parameters."""
    return [pytest.param(found, id=label) for label, found in variants(settings)]


@pytest.mark.parametrize("name", PRESETS)
def test_presets(parts_of, name):
    config = PRESETS[name].config
    few = min(config.learner.minibatches, B)  # a whole unroll each, for agents with memory
    update(parts_of(dataclasses.replace(config, learner=dataclasses.replace(config.learner, minibatches=few))), times=2)


@pytest.mark.parametrize("name", TORSOS)
def test_torsos_and_the_losses_that_fit_them(parts_of, name):
    """All losses in one agent, without those that refuse the torso. Grid is for small images: its layers grow."""
    seen = {"mlp": {"vector": VECTOR}, "grid": {"image": (11, 13, 3)}}.get(name, {"image": (H, W, 3)})
    shown = spec(**seen, actions=A)
    aux = {}
    for loss, kind in AUXILIARY_LOSSES.items():
        try:
            parts_of(Config(torso=name, aux={loss: kind.Config(weight=1.0)}), shown)
        except UserError:
            continue
        aux[loss] = kind.Config(weight=1.0)
    assert aux
    update(parts_of(Config(torso=name, memory="gru", aux=aux), shown))


@pytest.mark.parametrize("name", MEMORIES)
def test_memories(parts_of, name):
    """With vectors beside images."""
    update(parts_of(Config(memory=name), spec(image=(H, W, 3), vector=VECTOR, actions=A)), times=2)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        pytest.param(name, loss, id=f"{name}-{label}")
        for name, kind in AUXILIARY_LOSSES.items()
        for label, loss in variants(kind.Config(weight=1.0))
    ],
)
def test_losses(parts_of, name, loss):
    parts = parts_of(Config(memory="lstm", aux={name: loss}))
    assert parts.learner.plugins.keys() == {name}
    update(parts)


@pytest.mark.parametrize("learner", [*cases(LearnerConfig()), LearnerConfig(initial_mean_square=1.0)])
def test_learner_settings(parts_of, learner):
    update(parts_of(Config(learner=learner)))


@pytest.mark.parametrize("burn_in", [0, 2])
@pytest.mark.parametrize("replay", cases(ReplayConfig(ratio=2.0)))
def test_replay_settings(parts_of, replay, burn_in):
    aux = {name: kind.Config(weight=1.0) for name, kind in AUXILIARY_LOSSES.items() if kind.data != "rollout"}
    update(parts_of(Config(memory="lstm", aux=aux, replay=dataclasses.replace(replay, burn_in=burn_in))), times=2)


def test_rollouts_of_earlier_weights(parts_of):
    """V-trace corrects for who acted."""
    parts = parts_of(PRESETS["unreal"].config)
    of = parts.learner
    late = Learner(parts.model, of.config, 10**6, on_policy=False, plugins=of.plugins, replay=of.replay)
    update(parts._replace(learner=late))


class Novelty(IntrinsicReward):
    """A reward with a memory, a statistic and a loss of its own."""

    def __init__(self, config, spec, sizes):
        super().__init__(config)
        self.guess = torch.nn.Linear(sizes.vector, 1)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("origin", torch.zeros(()))

    def initial_state(self, batch):
        return self.origin.expand(batch).clone()

    def error(self, features):
        z = features.vector
        return (self.guess(z[1:]).squeeze(-1) - z[:-1].mean(-1)).square()

    def score(self, rollout, features, state):
        error = self.error(features) / self.scale
        return Scored(error, state + error.sum(0))

    def observe(self, rollout, features, scored):
        self.scale.lerp_(scored.raw.std(), 0.1)

    def forward(self, rollout, features, scored):
        return self.error(features), rollout.valid


@pytest.mark.parametrize("kind", [Novelty, *INTRINSIC_REWARDS.values()], ids=lambda kind: kind.__name__)
def test_intrinsic_rewards(parts_of, kind):
    shown = spec(image=(H, W, 3), actions=A)
    sizes = parts_of(Config()).model.sizes
    module = weighed(kind(kind.Config(warmup_steps=1), shown, sizes), 1.0)  # the first rollout is the warm-up
    update(parts_of(Config(), shown, {"own": module}), times=3)


SMALL = spec(vector=VECTOR, actions=A)
PPO = dataclasses.replace(PPO_CONFIG.learner, epochs=2, minibatches=2, value_clip=0.2, target_kl=0.01)


@pytest.mark.parametrize("kind", NORMALISERS)
def test_normalisers(parts_of, kind):
    sizes = parts_of(Config(), SMALL).model.sizes
    module = weighed(Novelty(Novelty.Config(), SMALL, sizes), 1.0, normalise=kind)
    update(parts_of(Config(), SMALL, {"reward": module}), times=3)


@pytest.mark.parametrize("plugged", [(), ("own", "reward")], ids="-".join)
@pytest.mark.parametrize("memory", MEMORIES)
def test_whole_steps_of_ppo(parts_of, memory, plugged):
    """Whether to stop is settled on the device: all updates are gone through, and none asks."""
    sizes = parts_of(Config(memory=memory), SMALL).model.sizes
    made = {"own": weighed(Own(lambda x: x.square()), 1.0)}
    made["reward"] = weighed(Novelty(Novelty.Config(), SMALL, sizes), 1.0)
    parts = parts_of(Config(memory=memory, learner=PPO), SMALL, {name: made[name] for name in plugged})
    update(parts, times=4)
    assert parts.learner.steps == T * B


@pytest.mark.parametrize(
    "learner",
    [
        pytest.param(dataclasses.replace(PPO, **changes), id=" ".join(changes) or "all")
        for changes in (
            {"optimizer": "rmsprop"},
            {"minibatches": 1},
            {"epochs": 1},
            {"target_kl": None},
            {"advantage": "running"},
        )
    ],
)
def test_ppo_with_a_loss_on_the_replay(parts_of, learner):
    aux = {"value_replay": AUXILIARY_LOSSES["value_replay"].Config(weight=1.0)}
    config = Config(aux=aux, learner=learner, replay=ReplayConfig(every="rollout"))
    update(parts_of(config, SMALL), times=learner.updates)


@pytest.mark.parametrize("burn_in", [0, 2])
def test_a_policy_that_learns_from_a_replay(parts_of, burn_in):
    config = Config(memory="lstm", replay=ReplayConfig(policy=0.5, burn_in=burn_in))
    reward = weighed(Novelty(Novelty.Config(), SMALL, parts_of(config, SMALL).model.sizes), 1.0)
    update(parts_of(config, SMALL, {"reward": reward}), times=2)


def test_the_control_a_limit_that_the_host_reads(parts_of, monkeypatch):
    monkeypatch.setattr(Gradients, "gated", property(lambda self: False))
    with pytest.raises(RuntimeError, match=r"item|meta|on cpu"):
        update(parts_of(Config(learner=PPO), SMALL), times=4)


class Own(AuxiliaryLoss):
    """Does ``what`` with its value."""

    def __init__(self, what):
        super().__init__(self.Config())
        self.what = what

    def forward(self, rollout, features):
        return self.what(features.memory.sum(-1)), torch.ones_like(rollout.first)


CONSTANT = torch.ones(T + 1, B)
ALLOWED = {
    "arithmetic": lambda x: x * 2.0,
    "constant": lambda x: x * torch.ones(T + 1, B, device=x.device),
    "index": lambda x: x[:, torch.randint(B, (B,), device=x.device)],
}
FORBIDDEN = {
    "item": lambda x: x * x.mean().item(),
    "float": lambda x: x * float(x.mean()),
    "list": lambda x: x * x.flatten().tolist()[0],
    "numpy": lambda x: x * x.detach().cpu().numpy().mean(),
    "branch": lambda x: x if x.mean() > 0 else -x,
    "mask": lambda x: x + x[x > 0].sum(),
    "count": lambda x: x * len(torch.nonzero(x)),
    "constant": lambda x: x * CONSTANT,
    "product": lambda x: x @ torch.ones(B, B),
    "scalar": lambda x: x * torch.tensor(2.0),
    "index": lambda x: x[:, torch.randint(B, (B,))],
    "backward": lambda x: Backwards.apply(x),
}
"""What a loss may do with its value [T + 1, B], and what would wait for a GPU or mix devices."""


class Backwards(torch.autograd.Function):
    """Looks at its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * gradient.sum().item()


@pytest.mark.parametrize("what", ALLOWED.values(), ids=ALLOWED)
def test_what_stays_on_the_device_passes(parts_of, what):
    update(parts_of(Config(), plugins={"own": weighed(Own(what), 1.0)}))


@pytest.mark.parametrize("what", FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_leaves_the_device_raises(parts_of, what):
    """The control: losses that would work on a CPU."""
    parts = parts_of(Config(), plugins={"own": weighed(Own(what), 1.0)})
    with pytest.raises(RuntimeError, match=r"item|meta|on cpu"):
        update(parts)
    assert parts.learner.updates == 0


def test_no_code_asks_for_cuda_where_it_means_the_device():
    """What is decided by `is_cuda` is something else here than on a GPU."""
    root = Path(morello.__file__).resolve().parent
    files = [file for room in ("agents", "auxiliaries", "backbones", "envs") for file in (root / room).rglob("*.py")]
    assert [str(file) for file in files if ".is_cuda" in file.read_text(encoding="utf-8")] == []
