"""Every registered loss in the learner: what it trains, that at weight 0 it leaves no trace, that it goes on."""

import copy
import dataclasses

import pytest
import torch

import morello
from morello.agents.actor import Actor
from morello.agents.config.auxiliaries import auxiliaries_of
from morello.agents.config.build import build, environment
from morello.agents.config.config import Config
from morello.agents.config.overrides import preset_named
from morello.agents.config.resolve import resolve
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.agents.replay import Replay, ReplayConfig
from morello.auxiliaries import AUXILIARY_LOSSES
from morello.auxiliaries.generators import Draws
from morello.auxiliaries.losses.feature_control import FeatureControlConfig
from morello.auxiliaries.losses.parts.cells import cell_change
from morello.auxiliaries.losses.parts.q_learning import q_targets
from morello.auxiliaries.losses.pixel_control import PixelControlConfig
from morello.auxiliaries.pooling import value_of
from morello.backbones import Sizes
from morello.envs.errors import UserError
from morello.envs.vector_env import closing

from ..support.plugins import weighed
from ..support.rollouts import features, rollout, spec

B, T = 5, 11
LEARNER = LearnerConfig(learning_rate=0.01, max_grad_norm=1e9, constant_rate=True)
REACHES = {
    "pixel_control": "encoder memory",
    "feature_control": "encoder memory",
    "reward_prediction": "encoder",
    "value_replay": "encoder memory values",
    "reconstruction": "encoder memory",
    "change_prediction": "encoder memory",
    "cpc": "encoder memory",
    "cpc_a": "encoder memory",
    "curl": "encoder",
    "spr": "encoder",
    "inverse_dynamics": "encoder",
}
"""Which parts of the agent each loss trains."""


def parts(name, weight=1.0, torso="shallow", seed=0):
    config = Config(
        env="labyrinth:seekavoid_arena_01",
        learner=LEARNER,
        seed=seed,
        unroll=T,
        aux={name: dataclasses.replace(AUXILIARY_LOSSES[name].Config(), weight=1.0)},
    )
    torch.manual_seed(seed)
    env = morello.make(config.env, num_envs=B, frame_size=(36, 36), seed=seed)
    model = ActorCritic(env.spec, torso=torso, memory="gru", memory_size=13)
    actor = Actor(env, model, T, seed=seed)
    before = torch.get_rng_state()
    plugins = {k: weighed(m, weight) for k, m in auxiliaries_of(config, env.spec, model.sizes).items()}
    assert torch.equal(before, torch.get_rng_state()), "a loss draws from its own numbers"
    replay = Replay(actor.rollout, ReplayConfig(), seed)
    return model, actor, Learner(model, LEARNER, 10**6, plugins=plugins, replay=replay)


def test_the_table_holds_every_loss():
    assert REACHES.keys() == AUXILIARY_LOSSES.keys()


@pytest.mark.parametrize("name", AUXILIARY_LOSSES)
def test_gradients_reach_what_they_should_and_nothing_else(name):
    model, actor, learner = parts(name)
    learner.weights = {k: float(k == name) for k in learner.weights}
    for _ in range(2):  # some begin where they have no gradient
        learner.step(actor.collect())
    reached = {k.partition(".")[0] for k, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == set(REACHES[name].split())
    own = dict(learner.plugins[name].named_parameters())
    assert all(p.grad is not None and p.grad.any() for p in own.values() if p.requires_grad), "every weight is trained"


@pytest.mark.parametrize("name", AUXILIARY_LOSSES)
def test_at_weight_zero_the_agent_is_bit_identical(name):
    def weights(weight):
        model, actor, learner = parts(name, weight)
        if weight is None:
            learner = Learner(model, LEARNER, 10**6)
        for _ in range(3):
            learner.step(actor.collect())
        return model.state_dict()

    without, at_zero, at_one = weights(None), weights(0.0), weights(1.0)
    assert all(torch.equal(at_zero[k], v) for k, v in without.items())
    assert not all(torch.equal(at_one[k], v) for k, v in without.items())


@pytest.mark.parametrize("name", AUXILIARY_LOSSES)
@pytest.mark.parametrize("base", ["reward_prediction", "pixel_control"])
def test_at_weight_zero_it_changes_no_other_loss(base, name):
    def weights(*names):
        config = {n: dataclasses.replace(AUXILIARY_LOSSES[n].Config(), weight=1.0) for n in names}
        torch.manual_seed(0)
        env = morello.make("labyrinth:seekavoid_arena_01", num_envs=B, frame_size=(36, 36), seed=0)
        model = ActorCritic(env.spec, torso="shallow", memory="gru", memory_size=13)
        actor = Actor(env, model, T, seed=0)
        plugins = auxiliaries_of(Config(aux=config, learner=LEARNER, unroll=T), env.spec, model.sizes)
        plugins = {k: weighed(m, float(k == base)) for k, m in plugins.items()}
        learner = Learner(model, LEARNER, 10**6, plugins=plugins, replay=Replay(actor.rollout, ReplayConfig()))
        for _ in range(3):
            learner.step(actor.collect())
        return model.state_dict()

    alone = weights(base)
    assert all(torch.equal(alone[k], v) for k, v in weights(base, name).items())


@pytest.mark.parametrize("name", AUXILIARY_LOSSES)
def test_it_goes_on_from_its_state(name):
    model, actor, learner = parts(name)
    for _ in range(2):
        learner.step(actor.collect())
    saved, kept = copy.deepcopy(learner.state_dict()), copy.deepcopy(learner.replay.state_dict())
    rollout = actor.collect()
    learner.step(rollout)
    other, _, again = parts(name, seed=3)
    again.load_state_dict(saved)
    again.replay.load_state_dict(kept)
    again.step(rollout)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", AUXILIARY_LOSSES)
def test_metrics_are_numbers_or_curves(name):
    _, actor, learner = parts(name)
    metrics = {k: value_of(v) for k, v in learner.step(actor.collect()).items() if k.startswith(f"{name}/")}
    assert metrics or name == "reconstruction"
    for key, value in metrics.items():
        assert value.dim() <= 1, key
        assert value.isfinite().all(), key
        assert not value.requires_grad, key
    names = {key.partition("/")[2] for key in metrics}
    assert ("accuracy" in names) == ("chance" in names)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pixel_control", "--aux.pixel-control: pixel control needs images"),
        ("reconstruction", "--aux.reconstruction: .* needs images"),
        ("curl", "--aux.curl: .* needs images"),
        ("spr", "--aux.spr: .*--aux.spr.no-augment.* needs images"),
    ],
)
def test_what_does_not_fit_is_said_by_its_flag(name, message):
    env = morello.make("gym:CartPole-v1", num_envs=2)
    config = Config(aux={name: dataclasses.replace(AUXILIARY_LOSSES[name].Config(), weight=1.0)})
    sizes = ActorCritic(env.spec, torso="mlp").sizes
    with pytest.raises(UserError, match=message):
        auxiliaries_of(config, env.spec, sizes)


@pytest.mark.parametrize(
    ("options", "newest"),
    [
        ({"frame_stack": 3}, 1),
        ({"grey": False}, 3),
        ({"preprocessing": "atari", "frame_stack": 6}, 1),
        ({"preprocessing": "icm"}, 1),
        ({"preprocessing": "rgb", "frame_stack": 2}, 3),
    ],
)
def test_the_newest_frame_is_known_however_frames_are_stacked(options, newest):
    pytest.importorskip("envpool", reason="Atari is an extra, .[envs]")
    config = Config(env="atari:Breakout", num_envs=1, device="cpu", **options)
    config = dataclasses.replace(config, aux={"pixel_control": AUXILIARY_LOSSES["pixel_control"].Config(weight=1.0)})
    with closing(environment(config, 1, 0)) as env:
        loss = auxiliaries_of(config, env.spec, ActorCritic(env.spec).sizes)["pixel_control"]
    assert loss.channels == newest


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("reward_prediction", {}, "'reward_prediction' needs an --unroll of at least 3, not 2"),
        ("cpc_a", {"horizons": (3, 9)}, "'cpc_a' needs an --unroll of at least 3, not 2"),
        ("cpc", {"source": "others"}, "'cpc' needs 2 environments at least: raise --num-envs"),
    ],
)
@pytest.mark.parametrize("plugin", [False, True])
def test_what_would_have_nothing_to_learn_is_refused(name, settings, message, plugin):
    """Whether it comes by a flag or as a plugin."""
    own = AUXILIARY_LOSSES[name].Config(weight=1.0, **settings)
    config = resolve(Config(env="gym:CartPole-v1", unroll=2, num_envs=1, aux={} if plugin else {name: own}))
    with closing(environment(config, 1, 0)) as env:
        sizes = ActorCritic(env.spec, torso="mlp").sizes
        plugins = {name: AUXILIARY_LOSSES[name](own, env.spec, sizes)} if plugin else {}
    with pytest.raises(UserError, match=message):
        build(config, plugins)


def test_states_of_another_kind_of_device_are_let_go():
    draws = Draws()
    fresh = torch.rand(3, generator=draws.on(torch.device("cpu")))
    other = Draws()
    other.set_extra_state(draws.get_extra_state())
    assert torch.equal(other.get_extra_state(), draws.get_extra_state())
    following = torch.rand(3, generator=draws.on(torch.device("cpu")))
    assert torch.equal(torch.rand(3, generator=other.on(torch.device("cpu"))), following)
    other.set_extra_state(torch.zeros(16, dtype=torch.uint8))  # as long as CUDA's
    assert not torch.equal(torch.rand(3, generator=other.on(torch.device("cpu"))), fresh)


def test_horizons_that_no_unroll_holds_have_no_weights():
    env = morello.make("labyrinth:seekavoid_arena_01", num_envs=2, frame_size=(36, 36))
    config = Config(unroll=7, aux={"cpc": AUXILIARY_LOSSES["cpc"].Config(weight=1.0)})
    module = auxiliaries_of(config, env.spec, ActorCritic(env.spec).sizes)["cpc"]
    assert module.cpc.horizons == tuple(range(1, 8))


def test_two_losses_begin_alike_whoever_else_is_there():
    env = morello.make("labyrinth:seekavoid_arena_01", num_envs=2, frame_size=(36, 36))
    sizes = ActorCritic(env.spec, torso="shallow").sizes
    config = {n: dataclasses.replace(AUXILIARY_LOSSES[n].Config(), weight=1.0) for n in ("cpc", "pixel_control")}
    both = auxiliaries_of(Config(aux=config), env.spec, sizes)
    alone = auxiliaries_of(Config(aux={"cpc": config["cpc"]}), env.spec, sizes)
    assert torch.equal(both["cpc"].cpc.head.weight, alone["cpc"].cpc.head.weight)


@pytest.mark.parametrize("unroll", [20, 50])
def test_unreals_preset_is_the_papers(unroll):
    unreal = preset_named("unreal").at(unroll)
    assert unreal.unroll == unroll
    assert unreal.aux["pixel_control"].weight == 0.05
    assert unreal.aux["reward_prediction"].weight == pytest.approx(1 / unreal.unroll)
    assert unreal.aux["value_replay"].weight == 1
    assert unreal.learner.epsilon == pytest.approx(0.1 / unreal.unroll**2)
    assert unreal.learner.max_grad_norm == pytest.approx(40 / unreal.unroll)
    assert unreal.replay.capacity == 2000 * unreal.num_envs


@pytest.mark.parametrize(("size", "cells"), [(84, 400), (36, 64)])
def test_pixel_controls_weight_is_that_of_a_sum_over_cells(size, cells):
    """The mean over cells, times the number of cells there are."""
    world = spec(image=(size, size, 3))
    loss = auxiliaries_of(Config(aux={"pixel_control": PixelControlConfig(weight=1.0)}), world, Sizes(None, 7, 11))
    seen, given = rollout(world, 5, 3, seed=1), features(Sizes(None, 7, 11), 5, 3)
    module = loss["pixel_control"]
    value, mask = module(seen, given)
    q = module.q(given.memory).flatten(3)
    change = cell_change(seen.observation["image"], 4).flatten(2)
    target = q_targets(q, change, 0.9 * seen.discount, seen.valid)
    taken = q[:-1].gather(2, seen.action[..., None, None].expand(-1, -1, 1, cells)).squeeze(2)
    by_hand = cells * ((target - taken) ** 2 / 2).mean(-1)
    torch.testing.assert_close(value[mask], by_hand[mask])


@pytest.mark.parametrize("kind", [PixelControlConfig, FeatureControlConfig])
def test_a_time_limit_cuts_what_a_loss_looks_forward_to_as_the_learner_says(kind):
    """Where it does, what comes after it is not read; where it does not, it is."""
    world, sizes = spec(image=(36, 36, 3)), Sizes(None, 7, 11)
    seen, given = rollout(world, 11, 5, seed=3), features(sizes, 11, 5)
    assert seen.truncated.any()
    after = torch.zeros(12, 5, dtype=torch.bool)
    after[1:] = seen.truncated
    name = kind.__name__.removesuffix("Config")
    name = {"PixelControl": "pixel_control", "FeatureControl": "feature_control"}[name]
    for terminates in (True, False):
        config = Config(learner=LearnerConfig(timeout_terminates=terminates), aux={name: kind(weight=1.0)})
        module = auxiliaries_of(config, world, sizes)[name]
        moved = given._replace(memory=torch.where(after.unsqueeze(-1), given.memory + 1, given.memory))
        before, now = (module(seen, f)[0][seen.truncated] for f in (given, moved))
        assert torch.equal(before, now) == terminates
