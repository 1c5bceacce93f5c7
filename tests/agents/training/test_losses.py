"""Training with auxiliary losses: what is recorded, and how a run with a replay goes on."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from morello.agents.config.config import Config
from morello.agents.config.overrides import with_overrides
from morello.agents.config.presets import PRESETS
from morello.agents.config.registered import with_all_registered
from morello.agents.config.resolve import resolve
from morello.agents.replay import ReplayConfig
from morello.agents.training import loop
from morello.agents.training.train import train
from morello.auxiliaries import AUXILIARY_LOSSES, AuxiliaryLoss
from morello.auxiliaries.losses.cpc import CPCLoss
from morello.envs.errors import UserError

from ...support.small_run import records, same, weights

SMALL = Config(
    env="labyrinth:seekavoid_arena_01",
    steps=480,
    num_envs=4,
    unroll=6,
    frame_size=(36, 36),
    torso="shallow",
    memory="lstm",
    memory_size=16,
    log_every=120,
    checkpoint_every=240,
    threads=1,
    quiet=True,
    replay=ReplayConfig(capacity=240),
    checkpoint_replay=True,
)
EVERY = with_overrides(SMALL, {"aux": dict.fromkeys(AUXILIARY_LOSSES, 0.1)})


class Stop(Exception):
    pass


def interrupted(config, folder, at):
    """Trains until the record at step ``at``, and goes on from the checkpoint before it."""

    def stop(record):
        if record["step"] >= at:
            raise Stop

    with pytest.raises(Stop):
        train(config, run=str(folder), on_record=stop)
    train(config, run=str(folder), resume=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("losses") / "run"
    train(EVERY, run=str(folder))
    return folder


def test_with_its_replay_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(whole, tmp_path):
    interrupted(EVERY, tmp_path / "run", at=360)
    assert records(tmp_path / "run") == records(whole)
    assert same(weights(tmp_path / "run"), weights(whole))


def test_without_it_the_replay_begins_empty_and_that_is_said(tmp_path, capsys):
    config = replace(EVERY, checkpoint_replay=False, quiet=False)
    interrupted(config, tmp_path / "run", at=360)
    assert "the replay was not in the checkpoint (--checkpoint-replay): it begins empty" in " ".join(
        "".join(capsys.readouterr()).split()
    )
    assert records(tmp_path / "run")[-1]["step"] == 480


def test_every_loss_is_in_the_record_with_its_share_of_the_gradient(whole):
    *others, last = records(whole)
    shares = [last[f"{name}/gradient_share"] for name in (*AUXILIARY_LOSSES, "policy", "value", "entropy")]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert last["encoder/effective_rank"] > 1
    assert len(others) == 3
    for record in (*others, last):
        assert all(f"loss/{name}" in record for name in AUXILIARY_LOSSES)
        assert 0 <= record["cpc/accuracy"] <= 1
        assert {f"cpc/accuracy_by_horizon/{k}" for k in range(1, 7)} <= record.keys()
        assert "cpc/accuracy_by_horizon/7" not in record, "an unroll of 6 is too short"


@pytest.mark.parametrize(
    ("updates", "diagnosed"),
    # A record each 10 rollouts; 64 updates are passed after 70 rollouts, or 20 of 4 updates each.
    [(1, [70, 140, 200]), (4, [20, 40, 60, 80, 100, 120, 140, 160, 180, 200])],
)
def test_costly_diagnostics_are_far_apart_but_for_the_last(updates, diagnosed, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "DIAGNOSED", 64)
    small = {"num_envs": 2, "unroll": 2, "memory": "none", "steps": 800, "log_every": 40, "epochs": updates}
    train(with_overrides(SMALL, small), run=str(tmp_path / "run"))
    rows = records(tmp_path / "run")
    assert [row["step"] // 4 for row in rows] == list(range(10, 201, 10))
    assert [row["step"] // 4 for row in rows if "policy/gradient_share" in row] == diagnosed
    assert [row["step"] // 4 for row in rows if "encoder/effective_rank" in row] == diagnosed


def test_other_losses_make_another_run(whole):
    with pytest.raises(UserError, match="was begun with aux"):
        train(SMALL, run=str(whole), resume=True, steps=600)


def test_what_does_not_fit_is_one_sentence(tmp_path, monkeypatch):
    def refused(**changes):
        with pytest.raises(UserError) as caught:
            train(with_overrides(SMALL, changes), run=str(tmp_path / "run"))
        return str(caught.value)

    assert "does not hold one rollout of 4 x 6" in refused(aux={"curl": 1.0}, replay=ReplayConfig(capacity=20))
    assert "--aux.pixel-control: a grid of 6x6 cells" in refused(aux={"pixel_control": 1.0}, frame_size=(24, 24))
    assert "leaves nothing of an unroll of 6" in refused(aux={"curl": 1.0}, replay=ReplayConfig(240, burn_in=6))
    monkeypatch.setattr("morello.agents.replay.total_memory", lambda device: 2**31)
    # 7 rows of 3,888 bytes for 6 steps are 4.2 GiB, and there are states.
    assert "takes 4.3 GiB of memory and there are 2.0" in refused(aux={"curl": 1.0}, replay=ReplayConfig(10**6))
    off = AUXILIARY_LOSSES["cpc"].Config(horizons=7)
    assert "has settings but weight 0, which disables it: add --aux.cpc.weight 1" in refused(aux={"cpc": off})
    far = AUXILIARY_LOSSES["spr"].Config(weight=1.0, steps=10**9)
    assert "--aux.spr.steps must be between 1 and 4096" in refused(aux={"spr": far})
    assert not (tmp_path / "run").exists()


def test_horizons_that_few_episodes_reach_are_averaged_over_the_pairs_that_there_are(tmp_path, monkeypatch):
    """One cart at a time: most rollouts hold no pair 20 steps apart, and none one 60 steps apart."""
    forward, seen = CPCLoss.forward, []

    def noted(self, rollout, features):
        value, mask = forward(self, rollout, features)
        seen.append(torch.stack([torch.where(mask, value, 0.0).sum(-1), mask.sum(-1)]).detach())
        return value, mask

    monkeypatch.setattr(CPCLoss, "forward", noted)
    config = Config(env="gym:CartPole-v1", steps=1600, num_envs=1, unroll=64, log_every=1600, threads=1, quiet=True)
    run = train(config, aux={"cpc": CPCLoss.Config(weight=0.1, horizons=60)}, run=str(tmp_path / "run"))
    record, each = records(run.path)[-1], torch.stack(seen)  # [updates, 2, K]
    assert len(each) == 25
    updates = (each[:, 1] > 0).sum(0).tolist()
    assert updates[0] == 25 > updates[19] > 0 == updates[59]
    total, pairs = each.double().sum(0)
    for k, count in enumerate(updates):
        if count:
            assert record[f"cpc/loss_by_horizon/{k + 1}"] == pytest.approx((total[k] / pairs[k]).item(), rel=1e-4)
        else:
            assert f"cpc/loss_by_horizon/{k + 1}" not in record


def test_what_a_preset_has_may_be_off():
    """UNREAL's value replay is not as its Config has it."""
    off = replace(PRESETS["unreal"].config.aux["value_replay"], weight=0.0)
    for given in ({"value_replay": 0}, {"value_replay": off, "cpc": CPCLoss.Config()}):
        losses = resolve(with_overrides(PRESETS["unreal"].config, {"env": SMALL.env, "aux": given})).aux
        assert list(losses) == ["pixel_control", "reward_prediction"]


class Grown(AuxiliaryLoss):
    size = 3

    def __init__(self, config, spec, sizes):
        super().__init__(config)
        self.head = nn.Linear(sizes.vector, self.size)

    def forward(self, rollout, features):
        return self.head(features.vector[:-1]).square().mean(-1), rollout.valid


def test_a_loss_that_has_changed_since_does_not_go_on(tmp_path, monkeypatch):
    monkeypatch.setitem(AUXILIARY_LOSSES, "grown", Grown)
    config = with_overrides(SMALL, {"aux": {"grown": 1.0}, "run": str(tmp_path / "run")})
    train(config)
    monkeypatch.setattr(Grown, "size", 4)
    with pytest.raises(UserError, match=r"the 'grown' of the checkpoint does not match the current one: .*head\.bias"):
        train(replace(config, resume=True, steps=960))
    monkeypatch.setattr(Grown, "size", 3)
    assert records(train(replace(config, resume=True, steps=960)).path)[-1]["step"] == 960


def test_what_is_registered_and_no_loss_is_named(monkeypatch):
    monkeypatch.setitem(AUXILIARY_LOSSES, "odd", dict)
    with pytest.raises(UserError, match="registered as the loss 'odd' is not valid: it must derive"):
        with_all_registered(SMALL)
    monkeypatch.setitem(AUXILIARY_LOSSES, "odd", type("Odd", (Grown,), {"Config": dict}))
    with pytest.raises(UserError, match="The Config of the loss 'odd' does not derive from LossConfig"):
        with_all_registered(SMALL)
