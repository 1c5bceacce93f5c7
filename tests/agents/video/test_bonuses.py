"""Rewards of a filmed agent: those of training, scored step by step, and nothing learns from them."""

import json

import pytest
import torch

from morello.agents.config.load import load
from morello.agents.normalisers import RewardDeviation, Standard
from morello.agents.streams import PRODUCT
from morello.agents.training.train import train
from morello.agents.video.bonuses import Bonuses, restored_bonuses
from morello.agents.video.film import watch
from morello.auxiliaries import INTRINSIC_REWARDS
from morello.backbones import Features, Sizes
from morello.envs.errors import UserError
from morello.envs.experience import Timestep

from ...support.checkpoints import same
from ...support.rewards import snapshot
from ...support.rollouts import features, rollout, spec
from ...support.small_run import SMALL_ROOMS
from ...support.video import read

T, A = 23, 5
SIZES = Sizes(None, 17, 13)
WORLD = spec(image=(7, 7, 3), actions=A)
STEPWISE = {"coverage", "deir", "e3b", "episodic_count", "etd", "icm", "noise", "ride"}
"""Rewards of a step that do not depend on what else is in the rollout, such as statistics of it."""


def built(name):
    torch.manual_seed(0)
    kind = INTRINSIC_REWARDS[name]
    return kind(kind.Config(weight=1.0), WORLD, SIZES)


def played(B=3):
    """A rollout of views and cells that repeat, and the agent's features of it."""
    of = rollout(WORLD, T, B, seed=2)
    cell = torch.randint(4, (T + 1, B), generator=torch.Generator().manual_seed(1))
    looks = torch.randint(9, (4, 7, 7, 3), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    of = of._replace(observation={"image": looks[cell]}, info={"cell": cell}, reward=of.reward.nan_to_num())
    of.first[0] = True
    seen = features(SIZES, T, B, A)
    return of, Features(None, *(x.detach() for x in seen[1:4]), {k: v.detach() for k, v in seen.value.items()})


def step_by_step(bonus, of, seen):
    """The rewards [T + 1, B] by stream, row after row as an environment answers."""
    found = []
    reward, discount = (torch.cat([torch.zeros_like(x[:1]), x]) for x in (of.reward, of.discount))
    action = torch.cat([of.action, of.action[-1:]])
    for t in range(T + 1):
        flags = (x[t] for x in (reward, discount, of.first, of.last, of.task))
        now = Timestep({"image": of.observation["image"][t]}, *flags, {k: v[t] for k, v in of.info.items()})
        part = Features(None, *(x[t : t + 1] for x in seen[1:4]), {k: v[t : t + 1] for k, v in seen.value.items()})
        found.append(bonus(now, part, action[t]))
    return {name: torch.stack([row[name] for row in found]) for name in bonus.names}


def by(divisor):
    """A normaliser that divides by this number."""
    found = RewardDeviation(0.99)
    found.include(torch.full((2, 2), divisor), torch.ones(2, 2, dtype=torch.bool), ())
    return found


@pytest.mark.parametrize("B", [1, 3])
@pytest.mark.parametrize("name", INTRINSIC_REWARDS)
def test_every_reward_is_scored_step_by_step_and_learns_nothing(name, B):
    module, (of, seen) = built(name), played(B)
    before = snapshot(module)
    paid = step_by_step(Bonuses({name: module}, {name: by(4.0)}), of, seen)[name]
    assert same(snapshot(module), before)
    assert paid.isfinite().all()
    assert not paid[of.first].any()
    if name in STEPWISE:
        with torch.no_grad():
            raw = module.score(of, seen, module.initial_state(B)).raw
        expected = torch.where(of.valid, raw / 4, 0.0)
        torch.testing.assert_close(paid[1:], expected, rtol=1e-4, atol=1e-6)
        assert expected.any()


def test_the_mean_is_subtracted_where_training_does():
    module, (of, seen) = built("episodic_count"), played()
    normaliser = Standard(0.99)
    normaliser.include(torch.tensor([[1.0, 4.0]]), torch.ones(1, 2, dtype=torch.bool), ())
    paid = step_by_step(Bonuses({"episodic_count": module}, {"episodic_count": normaliser}), of, seen)
    with torch.no_grad():
        raw = module.score(of, seen, module.initial_state(of.action.shape[1])).raw
    torch.testing.assert_close(paid["episodic_count"][1:], torch.where(of.valid, (raw - 2.5) / 1.5, 0.0))


def test_rewards_that_are_multiplied_are_one_stream():
    of, seen = played()
    modules = {name: built(name) for name in ("episodic_count", "rnd")}
    each = step_by_step(Bonuses(modules, {"episodic_count": by(2.0), "rnd": by(3.0)}), of, seen)
    both = Bonuses(modules, {"episodic_count": by(2.0), "rnd": by(3.0)}, product=True)
    assert both.names == (PRODUCT,)
    torch.testing.assert_close(step_by_step(both, of, seen)[PRODUCT], each["episodic_count"] * each["rnd"])


def test_an_environment_that_does_not_tell_what_a_reward_reads_is_refused():
    of, seen = played()
    with pytest.raises(UserError, match="'coverage' reads the 'cell'"):
        step_by_step(Bonuses({"coverage": built("coverage")}, {"coverage": by(1.0)}), of._replace(info={}), seen)


def test_a_film_of_a_curious_agent_shows_what_its_run_would_pay(tmp_path):
    rewards = {"icm": 0.5, "episodic_count": 1.0, "noise": 0.0}
    run = train(run=str(tmp_path / "run"), **SMALL_ROOMS | {"intrinsic": rewards, "log_every": 20})
    found = restored_bonuses(load(run.path), run.path)
    assert set(found.names) == {"icm", "episodic_count"}
    record = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])  # of one update
    divisors = {name: float(normaliser.divisor) for name, normaliser in found.normalisers.items()}
    assert divisors == pytest.approx({name: record[f"{name}/divisor"] for name in found.names})
    film = watch(run.path, seconds=0.4)
    assert len(read(film, 540 + 3 * 78 + 12, 960)[1]) == 6


@pytest.mark.parametrize("name", [n for n in INTRINSIC_REWARDS if n not in ("icm", "episodic_count", "noise")])
def test_every_reward_is_restored_from_a_run(name, tmp_path):
    config = INTRINSIC_REWARDS[name].Config(weight=1.0, warmup_steps=20)
    settings = {"intrinsic": {name: config}, "steps": 80, "num_envs": 4, "unroll": 8}
    run = train(run=str(tmp_path / "run"), **SMALL_ROOMS | settings)
    found = restored_bonuses(load(run.path), run.path)
    assert found is not None
    assert found.names == (name,)


def test_a_film_of_another_agent_is_as_it_was(tmp_path):
    run = train(run=str(tmp_path / "run"), **SMALL_ROOMS | {"intrinsic": {"count": 0.0}})
    assert restored_bonuses(load(run.path), run.path) is None
    assert len(read(watch(run.path, seconds=0.2), 540, 960)[1]) == 3


def test_a_product_without_one_of_its_factors_is_left_out(tmp_path, monkeypatch):
    settings = {"intrinsic": {"count": 1.0, "noise": 1.0, "coverage": 0.0}, "combine": "product"}
    run = train(run=str(tmp_path / "run"), **SMALL_ROOMS | settings)
    assert restored_bonuses(load(run.path), run.path).names == (PRODUCT,)
    monkeypatch.delitem(INTRINSIC_REWARDS, "noise")
    assert restored_bonuses(load(run.path), run.path) is None


def test_a_reward_that_still_warmed_up_is_left_out(tmp_path):
    settings = SMALL_ROOMS | {"intrinsic": {"count": INTRINSIC_REWARDS["count"].Config(weight=1.0, warmup_steps=1000)}}
    run = train(run=str(tmp_path / "run"), **settings)
    assert restored_bonuses(load(run.path), run.path) is None
