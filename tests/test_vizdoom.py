"""EnvPool's ViZDoom against ViZDoom itself, whose rewards record_vizdoom.py wrote down."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import morello
from morello.envs.errors import UserError
from morello.envs.vizdoom import SCENARIOS

from .record_vizdoom import actions

RECORDS = json.loads(Path(__file__).with_name("vizdoom_rewards.json").read_text())


def test_every_scenario_is_recorded():
    assert set(RECORDS) == set(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_rewards_and_ends_are_those_of_vizdoom(name):
    record, scenario = RECORDS[name], SCENARIOS[name]
    expected, last = np.array(record["reward"]), np.array(record["last"], bool)
    env = morello.make(f"vizdoom:{name}", 1, seed=record["seed"], height=5, width=7)
    assert env.spec.num_actions == record["actions"]
    env.reset()
    reward, ends, timeouts = [], [], []
    for action in actions(record["seed"], len(expected), env.spec.num_actions):
        step = env.step(torch.tensor([action]))
        reward.append(float(step.reward))
        ends.append(bool(step.last))
        timeouts.append(bool(step.last & (step.discount == 1)))
    assert ends == last.tolist()
    assert timeouts == [bool(x) for x in record["timeout"]]
    given, terminated = np.array(reward), last & ~np.array(record["timeout"], bool)
    # What the script pays one step before the end is paid at the end, and the tics of the last step are a whole step's.
    before = np.append(terminated[1:], False)
    ordinary = ~(terminated | before)
    np.testing.assert_allclose(given[ordinary], expected[ordinary], atol=1e-4)
    ending = np.flatnonzero(terminated)
    np.testing.assert_allclose(
        given[ending] + given[ending - 1], expected[ending] + expected[ending - 1], atol=3 * abs(scenario.tic) + 1e-4
    )
    assert abs(expected).sum() > 0
    assert scenario.tics is None or last.any()


def test_the_recorded_plays_reach_what_pays():
    assert max(RECORDS["MyWayHome"]["reward"]) > 0.99
    assert max(RECORDS["Basic"]["reward"]) > 90
    assert max(RECORDS["RocketBasic"]["reward"]) > 90
    assert min(RECORDS["HealthGathering"]["reward"]) < -90
    assert {-1, 1} <= set(RECORDS["DefendTheCenter"]["reward"])


def test_buttons_move_the_view():
    env = morello.make("vizdoom:MyWayHome", 1, seed=1, height=24, width=32)
    assert env.spec.action_names == ("none", "turn left", "turn right", "move forward")
    still, turned = env.reset().observation["image"].clone(), None
    for _ in range(3):
        turned = env.step(torch.tensor([1])).observation["image"].clone()
    assert (turned != still).any()
    for _ in range(3):
        back = env.step(torch.tensor([2])).observation["image"].clone()
    assert (back.float() - still.float()).abs().mean() < (turned.float() - still.float()).abs().mean()


@pytest.mark.parametrize("name", ["Deathmatch", "PredictPosition", "MyWayHom"])
def test_scenarios_whose_rewards_are_not_reported_are_not_offered(name):
    with pytest.raises(UserError, match=f"vizdoom:{name}.*(MyWayHome|known)"):
        morello.make(f"vizdoom:{name}")


def simulators():
    """Process ids of ViZDoom's that this process started."""
    found = subprocess.run(["pgrep", "-P", str(os.getpid()), "vizdoom"], capture_output=True, text=True)
    return found.stdout.split()


def test_nothing_is_left_running_or_in_the_folder_one_works_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = morello.make("vizdoom:Basic", 6, height=5, width=7)
    env.reset()
    env.step(torch.zeros(6, dtype=torch.int64))
    assert len(simulators()) == 6
    env.reset(seed=3)
    assert len(simulators()) == 6
    env.close()
    assert not simulators()
    env.close()
    with pytest.raises(UserError, match="closed"):
        env.reset()
    assert not list(tmp_path.iterdir())
    assert Path.cwd() == tmp_path
