"""Choices that are a registry's: a line there is a choice of the flag, and a setting that is refused names it."""

import json
import re

import pytest

from morello.__main__ import main
from morello.agents.config.config import Config
from morello.agents.config.resolve import resolve
from morello.agents.config.saved import read_settings
from morello.agents.config.validation import fields_of
from morello.agents.runners import RUNNERS, Sync
from morello.agents.training.train import train
from morello.auxiliaries import INTRINSIC_REWARDS
from morello.backbones import MEMORIES, TORSOS
from morello.envs.errors import UserError
from morello.flags import parse

COUNTING = {
    "env": "counting:steps",
    "num_envs": 2,
    "unroll": 4,
    "steps": 80,
    "log_every": 16,
    "threads": 1,
    "quiet": True,
}


@pytest.mark.parametrize(("name", "registry"), [("torso", TORSOS), ("memory", MEMORIES), ("runner", RUNNERS)])
def test_a_registry_line_is_a_choice(monkeypatch, capsys, name, registry):
    with pytest.raises(UserError, match=f"Unknown {name} 'mine'"):
        resolve(Config(env="counting:steps", **{name: "mine"}))
    with pytest.raises(UserError, match="invalid choice 'mine'"):
        parse(Config, [f"--{name}", "mine"], "p")
    monkeypatch.setitem(registry, "mine", next(iter(registry.values())))
    assert resolve(Config(env="counting:steps", **{name: "mine"})).memory_size == 256
    assert getattr(parse(Config, [f"--{name}", "mine"], "p"), name) == "mine"
    with pytest.raises(SystemExit):
        main(["train", "a2c", "--help"])
    assert "mine}" in capsys.readouterr().out
    assert fields_of(Config)[name].__args__[-1] == "mine"


def test_the_loop_runs_what_the_setting_names(tmp_path, monkeypatch):
    class Mine(Sync):
        updates = 0

        def __iter__(self):
            for found in super().__iter__():
                Mine.updates += 1
                yield found

    monkeypatch.setitem(RUNNERS, "mine", Mine)
    run = train("a2c", run=str(tmp_path), runner="mine", **COUNTING)
    assert Mine.updates == 10
    assert run.config["runner"] == "mine"


def test_a_run_from_before_there_were_runners_goes_on_in_sync(tmp_path):
    train("a2c", run=str(tmp_path), **COUNTING)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved.pop("runner") == "sync"
    (tmp_path / "config.json").write_text(json.dumps(saved))
    assert read_settings(tmp_path)[1].runner == "sync"
    assert main(["train", "--resume", "--run", str(tmp_path), "--steps", "96", "--quiet"]) == 0
    assert train("a2c", run=str(tmp_path), resume=True, **COUNTING | {"steps": 112}).config["steps"] == 112


def test_the_list_of_rewards_tells_what_each_trains_and_costs(capsys):
    assert main(["list", "intrinsic"]) == 0
    found = {line.split()[0]: line.rstrip() for line in capsys.readouterr().out.splitlines()}
    assert set(found) >= set(INTRINSIC_REWARDS)
    assert re.search(r"\| over life \| trains a predictor \| \+[1-9]\d?% time$", found["rnd"])
    assert re.search(r"\| over episode \| \+\d+% time$", found["episodic_count"])
