"""Settings: what is refused, in one sentence, and what a run folder gives back."""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import get_args

import pytest
import torch

from morello.agents.config.config import Config
from morello.agents.config.overrides import with_overrides
from morello.agents.config.registered import with_all_registered
from morello.agents.config.resolve import resolve
from morello.agents.config.saved import read_settings, saved_settings
from morello.agents.config.validation import fields_of, ranges_of
from morello.agents.evaluation.command import EvalFlags
from morello.agents.learner_config import LearnerConfig
from morello.agents.replay import ReplayConfig
from morello.agents.storage import checkpoint
from morello.agents.storage.run_folder import Run
from morello.auxiliaries import AUXILIARY_LOSSES
from morello.auxiliaries.intrinsic.count import CountConfig
from morello.auxiliaries.intrinsic.e3b import E3BConfig
from morello.auxiliaries.losses.cpc import CPCConfig
from morello.auxiliaries.losses.curl import CURLConfig
from morello.auxiliaries.losses.value_replay import ValueReplayConfig
from morello.envs.errors import UserError
from morello.envs.experience import Spec
from morello.envs.processes.workers import cores
from morello.flags import parse

SPEC = Spec({"vector": ((5,), torch.float32)}, 7, tuple("abcdefg"), ("one",), 4, None, True)
CONFIG = Config(env="counting:steps", threads=1, device="cpu")


def resolved(**changes):
    return resolve(with_overrides(CONFIG, changes))


def test_what_is_decided_is_decided():
    config = resolved(run=Path("a"), device=torch.device("cpu"), threads=None)
    assert (config.run, config.device, config.threads) == ("a", "cpu", cores())
    assert config.dtype in ("float32", "bfloat16")
    assert resolve(config) == config


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("steps", (0, -5, 2**63, "60", 1e6, True, None), (1,)),
        ("num_envs", (0, "3"), (1,)),
        ("unroll", (-1, 2.0), (1,)),
        ("memory_size", (0, 1), (2,)),
        ("log_every", (0, 10**22), (1,)),
        ("eval_every", (-1,), (0,)),
        ("seed", (-1, 2**63, 0.5), (0, 2**61)),
        ("frame_size", ((40,), (0, 40), (40, -7), 40, {40, 41}, (40, 40, 3)), ((37, 41), [37, 41], None)),
        ("gamma", (-0.1, 5, math.nan, "x", None), (0, 1, 0.5)),
        ("lambda_", (1.1, math.nan), (0, 1)),
        ("epochs", (0, -1, 2.0, None), (1, 7)),
        ("minibatches", (0, 2.5), (1, 5)),
        ("segment", (0, -3, 1.5), (None, 1)),
        ("clip", (0, -0.1, math.inf), (None, 0.2, 3)),
        ("value_clip", (0, math.nan), (None, 0.2)),
        ("target_kl", (0, -1, math.nan), (None, 0.01)),
        ("advantage", ("normalised", None), ("raw", "running", "standardised", "minibatch")),
        ("optimizer", ("sgd", None), ("rmsprop", "adam")),
        ("rms_decay", (1, 2, -0.1, math.nan), (0, 0.99)),
        ("learning_rate", (0, -1, math.nan, math.inf), (1e-9,)),
        ("epsilon", (0, -1, math.nan), (1e-20,)),
        ("max_grad_norm", (0, -1, math.inf), (1e-9,)),
        ("rho_bar", (0, -1, math.nan), (1e-9,)),
        ("c_bar", (0, -1, math.inf), (1e-9,)),
        ("value_cost", (-1, math.nan, math.inf), (0,)),
        ("entropy_cost", (-1, math.nan), (0,)),
        ("final_entropy_cost", (-1, math.nan), (None, 0, 0.1)),
        ("initial_mean_square", (-1, math.nan, "0"), (None, 0, 1.0)),
        ("quiet", (1, "yes"), (True,)),
        ("reward", ("clipp", None), ("clip",)),
        ("dtype", ("float16", 3), ("bfloat16",)),
        ("torso", ("natur", ["nature"]), ("nature",)),
        ("memory", ("lstmm",), ("gru",)),
        ("run", ("", " "), ("here",)),
    ],
)
def test_values_have_types_words_and_ranges(name, bad, good):
    for value in good:
        resolved(**{name: value})
    for value in bad:
        with pytest.raises(UserError) as caught:
            resolved(**{name: value})
        assert name.rstrip("_") in str(caught.value).replace("-", "_"), value
        assert "\n" not in str(caught.value)


def leaves(hint):
    return {hint}.union(*map(leaves, get_args(hint)))


def test_every_number_has_a_range():
    """But for threads, whose end is the cores that there are."""
    for kind in (Config, LearnerConfig, ReplayConfig, EvalFlags, *(loss.Config for loss in AUXILIARY_LOSSES.values())):
        numbers = {name for name, hint in fields_of(kind).items() if {int, float} & leaves(hint)}
        assert ranges_of(kind).keys() == numbers - {"threads"}, kind


@pytest.mark.parametrize(
    "changes",
    [
        {"num_envs": 10**11},
        {"unroll": 10**11},
        {"frame_size": (2_000_000, 2_000_000)},
        {"num_envs": 1, "unroll": 1, "frame_size": (60_000, 60_000)},
        {"memory": "lstm", "memory_size": 10**11},
        {"aux": {"value_replay": 1.0}, "replay": ReplayConfig(capacity=10**9)},
        {"num_envs": 2**62, "unroll": 2**62, "frame_size": (2**62, 2**62)},
    ],
)
def test_terabytes_are_refused_before_anything_asks_for_them(changes):
    with pytest.raises(UserError, match=r"TiB of memory or more: lower --num-envs"):
        resolved(**changes)


def test_a_processes_cores_are_those_it_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert resolved(threads=None).threads == 2
    with pytest.raises(UserError, match="2 cores"):
        resolved(threads=3)


def test_grids_take_one_thread_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    grid = {"env": "minigrid:Empty-5x5"}
    assert resolved(threads=None, **grid).threads == 1
    assert resolved(threads=2, **grid).threads == 2
    assert resolved(threads=None, env="mine:other").threads == 2  # an unknown family is refused where it is built


# Auxiliary losses


def test_losses_are_added_to_a_presets_by_weight_or_whole():
    config = with_overrides(CONFIG, {"aux": {"value_replay": ValueReplayConfig(weight=2.0, correct=False)}})
    assert with_overrides(config, {"aux": {}}).aux == config.aux
    assert resolved(aux={"value_replay": 0}).aux == {}
    kept = with_overrides(config, {"aux": {"value_replay": 0.5}}).aux["value_replay"]
    assert kept == ValueReplayConfig(weight=0.5, correct=False)


@pytest.mark.parametrize(
    ("aux", "said"),
    [
        ({"value_repaly": 1.0}, "value_replay"),
        ({"value_replay": -1.0}, "--aux.value-replay.weight must be at least 0 and finite"),
        (
            {"value_replay": ValueReplayConfig(weight=1.0, gamma=1.5)},
            "--aux.value-replay.gamma must be between 0 and 1",
        ),
        ({"value_replay": True}, "takes a number, its weight, or a ValueReplayConfig, not True"),
        ({"value_replay": CPCConfig(weight=1.0)}, "takes a number, its weight, or a ValueReplayConfig"),
        ({"curl": CURLConfig(weight=1.0, latent=0)}, "--aux.curl.latent must be between 1 and 2"),
        ({"curl": CURLConfig(weight=1.0, momentum=math.nan)}, "--aux.curl.momentum must be between 0 and 1"),
        ({"cpc": CPCConfig(weight=1.0, horizons=10**12)}, "--aux.cpc.horizons must be between 1 and 4096"),
        ("value_replay", "--aux must be"),
    ],
)
def test_wrong_losses_are_named(aux, said):
    with pytest.raises(UserError, match=said):
        resolved(aux=aux)


def test_flags_show_every_loss_and_a_run_keeps_those_that_are_on(tmp_path):
    assert with_all_registered(CONFIG).aux.keys() == AUXILIARY_LOSSES.keys()
    config = parse(Config, ["--aux.value-replay.weight", "0.5", "--gamma", "0.9"], "p", with_all_registered(CONFIG))
    assert config.learner.gamma == 0.9
    begun(tmp_path / "run", aux=dataclasses.asdict(resolve(config))["aux"])
    assert read_settings(tmp_path / "run")[1].aux == {"value_replay": ValueReplayConfig(weight=0.5)}


def test_a_run_with_a_loss_that_is_not_known_asks_for_its_file(tmp_path):
    begun(tmp_path / "run", aux={"mine": {"weight": 1.0}})
    with pytest.raises(UserError, match="a loss 'mine' that is not known here: --import its file"):
        read_settings(tmp_path / "run")


# Back from a run folder


def begun(folder, preset="a2c", **changes):
    """A run with a checkpoint; its config.json with ``changes``."""
    config = {**dataclasses.asdict(resolved(frame_size=(37, 41))), "preset": preset, "plugins": {}}
    with Run.create(folder, config, SPEC) as run:
        checkpoint.save(run.checkpoints, 5, {}, keep=1)
    saved = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(saved | changes))
    return saved


def test_a_run_gives_its_settings_back(tmp_path):
    begun(tmp_path / "run", preset="mine")
    assert read_settings(tmp_path / "run") == ("mine", resolved(frame_size=(37, 41)))
    asked = dataclasses.replace(CONFIG, run=str(tmp_path / "run"), resume=True)
    assert saved_settings(asked) == saved_settings(asked, "mine") == read_settings(tmp_path / "run")
    with pytest.raises(UserError, match="begun with preset mine, not a2c"):
        saved_settings(asked, "a2c")
    for other in ({"resume": False}, {"run": None}, {"run": str(tmp_path / "none")}):
        assert saved_settings(dataclasses.replace(asked, **other), "a2c") is None


def test_a_machine_with_fewer_cores_takes_a_run_over(tmp_path, monkeypatch):
    begun(tmp_path, threads=64)
    for module in ("resolve", "saved"):
        monkeypatch.setattr(f"morello.agents.config.{module}.cores", lambda: 3)
    assert resolve(read_settings(tmp_path)[1]).threads == 3


def test_a_setting_that_is_newer_than_the_run_has_the_value_that_reproduces_it(tmp_path):
    count = dataclasses.asdict(CountConfig(weight=0.5))
    begun(tmp_path, intrinsic={"episodic_count": {k: v for k, v in count.items() if k != "once"}})
    assert read_settings(tmp_path)[1].intrinsic == {"episodic_count": CountConfig(weight=0.5, once=False)}
    e3b = dataclasses.asdict(E3BConfig(weight=0.5))
    begun(tmp_path / "other", intrinsic={"e3b": {k: v for k, v in e3b.items() if k != "unit"}})
    assert read_settings(tmp_path / "other")[1].intrinsic == {"e3b": E3BConfig(weight=0.5, unit=False)}


def test_a_run_of_another_version_is_refused_by_the_settings_name(tmp_path):
    saved = begun(tmp_path)
    learner = saved["learner"]
    cases = {
        "lacks the setting 'preset'": {k: v for k, v in saved.items() if k != "preset"},
        "lacks the setting 'unroll'": {k: v for k, v in saved.items() if k != "unroll"},
        "lacks the setting 'gamma'": saved | {"learner": {k: v for k, v in learner.items() if k != "gamma"}},
        "has an unknown setting 'old_name'": saved | {"learner": learner | {"old_name": 1}},
        "lacks the setting 'c_bar'": saved | {"learner": {}},
    }
    for words, config in cases.items():
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match=f"another version of morello, for its config.json {words}"):
            read_settings(tmp_path)
