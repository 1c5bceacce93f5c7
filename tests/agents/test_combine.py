"""Several intrinsic rewards as one stream: the product of what each pays."""

import pytest
import torch

import morello
from morello.agents.actor import Actor
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.agents.streams import stream_names
from morello.auxiliaries import IntrinsicReward, Scored

from ..support.plugins import weighed

B, T = 5, 11


class Paid(IntrinsicReward):
    """Pays a multiple of the frame's brightness, or of its darkness."""

    def __init__(self, dark=False):
        super().__init__(self.Config())
        self.dark = dark

    def score(self, rollout, features, state):
        light = rollout.observation["image"][1:].float().mean((2, 3, 4)) / 255
        return Scored(1 - light if self.dark else light)


class Both(Paid):
    def score(self, rollout, features, state):
        light = rollout.observation["image"][1:].float().mean((2, 3, 4)) / 255
        return Scored(light * (1 - light))


def learnt(rewards, combine, updates=3, **options):
    torch.manual_seed(0)
    env = morello.make("labyrinth:my_way_home_sparse", num_envs=B, frame_size=(36, 36), seed=5)
    config = LearnerConfig(constant_rate=True, combine=combine)
    model = ActorCritic(env.spec, torso="shallow", streams=stream_names(rewards, combine))
    learner = Learner(model, config, 10**6, plugins=rewards, **options)
    actor = Actor(env, model, T, seed=0)
    metrics = [learner.step(actor.collect()) for _ in range(updates)]
    return model.state_dict(), metrics[-1], learner


def test_a_product_is_one_stream_that_learns_as_one_reward_would():
    plain = {"normalise": "none", "gamma": 0.9, "value_cost": 0.3, "episodic": True}
    two = {"bright": weighed(Paid(), 0.5, **plain), "dark": weighed(Paid(dark=True), 3.0)}
    two["dark"].config = weighed(Paid(), 3.0, normalise="none", gamma=0.1).config
    weights, metrics, learner = learnt(two, "product")
    assert [stream.name for stream in learner.streams.all] == ["extrinsic", "product"]
    assert learner.streams.all[1]._replace(name="") == ("", 0.9, 1.5, 0.3, True)
    one, expected, _ = learnt({"both": weighed(Both(), 1.5, **plain)}, "sum")
    for name, x in one.items():
        torch.testing.assert_close(weights[name.replace("values.both", "values.product")], x)
    assert float(metrics["product/value"]) == pytest.approx(float(expected["both/value"]), rel=1e-5)
    assert {"bright/reward", "dark/reward", "bright/divisor"} <= metrics.keys()
    assert float(metrics["product/normalised"]) == pytest.approx(float(expected["both/normalised"]), rel=1e-5)
    assert 0 < float(metrics["product/normalised"]) < float(metrics["bright/reward"])
    summed, _, _ = learnt({"bright": weighed(Paid(), 0.5, **plain), "dark": weighed(Paid(True), 3.0, **plain)}, "sum")
    assert "values.dark.weight" in summed


def test_the_parts_of_the_advantage_are_logged():
    def sizes(weight):
        _, metrics, _ = learnt({"bright": weighed(Paid(), weight, normalise="none")}, "sum", updates=1)
        share = metrics.pop("intrinsic_share")
        sizes = {k: float(v) for k, v in metrics.items() if k.endswith("advantage")}
        own, other = sizes["bright/advantage"], sizes["extrinsic/advantage"]
        assert float(share) == pytest.approx(own / (own + other))
        return sizes

    one, two = sizes(1.0), sizes(2.0)
    assert one.keys() == {"advantage", "extrinsic/advantage", "bright/advantage"}
    assert two["bright/advantage"] == pytest.approx(2 * one["bright/advantage"])
    assert two["extrinsic/advantage"] == pytest.approx(one["extrinsic/advantage"])
    alone = learnt({}, "sum", updates=1)[1]
    assert "extrinsic/advantage" not in alone
    assert "intrinsic_share" not in alone


def test_the_advantage_of_one_stream_is_divided_and_its_reward_is_that_of_return():
    def metrics(normalise):
        return learnt({"bright": weighed(Paid(), 0.3, normalise=normalise)}, "sum", updates=1)[1]

    divided, plain = metrics("advantage"), metrics("return")
    assert float(divided["bright/normalised"]) == float(plain["bright/normalised"])
    divisor = float(divided["bright/advantage_divisor"])
    assert divisor > 0.1
    assert float(divided["bright/advantage"]) * divisor == pytest.approx(float(plain["bright/advantage"]), rel=1e-5)
    assert float(divided["extrinsic/advantage"]) == float(plain["extrinsic/advantage"])


def test_the_first_factors_normaliser_divides_the_advantage_of_a_product():
    two = {"bright": weighed(Paid(), 1.0, normalise="advantage"), "dark": weighed(Paid(dark=True), 1.0)}
    _, metrics, learner = learnt(two, "product")
    assert learner.streams.normalisers["bright"].advantages.count > 0
    with pytest.raises(ValueError, match="give it to that one"):
        learnt({"bright": two["bright"], "dark": weighed(Paid(dark=True), 1.0, normalise="advantage")}, "product")
    assert "product/advantage_divisor" in metrics
    assert "dark/advantage_divisor" not in metrics


def test_the_advantage_of_a_stream_that_warms_up_is_left_alone():
    bonus = {"bright": weighed(Paid(), 1.0, normalise="advantage", warmup_steps=2 * B * T)}
    _, metrics, learner = learnt(bonus, "sum", updates=2)
    assert "bright/advantage_divisor" not in metrics
    assert learner.streams.normalisers["bright"].advantages.count == 0
    assert "bright/advantage_divisor" in learnt(bonus, "sum", updates=3)[1]


def test_rewards_below_0_are_not_multiplied():
    two = {"bright": weighed(Paid(), 1.0, normalise="standard"), "dark": weighed(Paid(dark=True), 1.0)}
    with pytest.raises(ValueError, match="'bright' is to be multiplied and has normalise 'standard'"):
        learnt(two, "product")
    learnt(two, "sum", updates=1)


def test_rewards_of_weight_0_are_no_factors():
    both = {"bright": weighed(Paid(), 1.0), "dark": weighed(Paid(dark=True), 0.0)}
    with_it, _, _ = learnt(both, "product")
    without, _, _ = learnt({"bright": weighed(Paid(), 1.0)}, "product")
    assert all(with_it[name].equal(x) for name, x in without.items())
    nothing, _, learner = learnt({"bright": weighed(Paid(), 0.0)}, "product")
    assert [stream.name for stream in learner.streams.all] == ["extrinsic"]
    assert nothing.keys() == with_it.keys()


def test_a_model_with_other_heads_is_refused():
    env = morello.make("labyrinth:my_way_home_sparse", num_envs=B, frame_size=(36, 36))
    model = ActorCritic(env.spec, torso="shallow", streams=("extrinsic", "bright"))
    with pytest.raises(ValueError, match="streams=\\('extrinsic', 'product'\\)"):
        Learner(model, LearnerConfig(combine="product"), 10**6, plugins={"bright": weighed(Paid(), 1.0)})
