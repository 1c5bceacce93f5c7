"""EnvPool's ViZDoom against ViZDoom itself, whose rewards record_vizdoom.py wrote down."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import morello
from morello.envs.adapters.envpool import NICER, EnvPool
from morello.envs.adapters.vizdoom import SCENARIOS, ScenarioRewards, resolution, task
from morello.envs.errors import UserError
from morello.envs.rows import leaves

from ...support.record_vizdoom import REWARDS, actions

RECORDS = json.loads(REWARDS.read_text())


def test_every_scenario_is_recorded():
    assert set(RECORDS) == set(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_rewards_and_ends_are_those_of_vizdoom(name):
    record, scenario = RECORDS[name], SCENARIOS[name]
    expected, last = np.array(record["reward"]), np.array(record["last"], bool)
    env = morello.make(f"vizdoom:{name}", 1, seed=record["seed"], frame_size=(5, 7))
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
    env = morello.make("vizdoom:MyWayHome", 1, seed=1, frame_size=(24, 32))
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
    env = morello.make("vizdoom:Basic", 6, frame_size=(5, 7))
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


def test_a_kill_on_the_very_step_of_the_limit_is_a_kill():
    def play(limit):
        chosen = task("Basic", frame_size=(5, 7), frame_stack=1, action_repeat=4)
        env = EnvPool(chosen._replace(limit=limit), 1, torch.device("cpu"), 1)
        env.reset()
        generator = torch.Generator().manual_seed(2)
        for t in range(1, limit + 1):
            now = env.step(torch.randint(4, (1,), generator=generator))
            if now.last:
                return t, float(now.reward), float(now.discount)
        raise AssertionError("no end")

    t, reward, discount = play(75)
    assert (discount, reward > 90) == (0, True), "another seed"
    assert play(t) == (t, reward, discount)


def test_the_last_shot_is_charged_once():
    rewards = ScenarioRewards(SCENARIOS["Basic"], 4, 2)
    none, both = np.zeros(2, bool), np.ones(2, bool)
    rewards.begin(both, {"AMMO2": np.array([50.0, 50.0])})

    def step(ammunition, terminated=none, first=none):
        return rewards(np.zeros(2), np.array(terminated), np.array(first), {"AMMO2": np.array(ammunition)})[0].tolist()

    assert step([49.0, 50.0]) == [-9, -4]
    # The first has paid for the shot that kills; the second's is not seen to be spent.
    assert step([49.0, 50.0], [True, True]) == [102, 97]
    assert step([50.0, 50.0], first=[True, True]) == [0, 0]
    step([49.0, 49.0])
    rewards.begin(np.array([True, False]), {"AMMO2": np.array([50.0, 49.0])})  # a new episode has spent nothing
    assert step([50.0, 49.0], [True, True]) == [97, 102]


def test_a_scenario_lasts_as_many_tics_as_it_says():
    for repeat, steps in ((1, 2100), (4, 525), (8, 263)):
        env = morello.make("vizdoom:MyWayHome", 1, action_repeat=repeat, frame_size=(5, 7))
        assert (env.spec.max_steps, env.spec.frames_per_step) == (steps, repeat)
        env.close()
    env = morello.make("vizdoom:TakeCover", 1, frame_size=(5, 7))
    assert env.spec.max_steps == 525


def test_wrappers_leave_two_pools_their_turns():
    options = {"seed": 3, "preprocessing": "icm", "frame_size": (9, 11), "noisy_tv": "region", "time_limit": 9}
    one, two = (morello.make("vizdoom:Basic", 3, pools=n, **options) for n in (1, 2))
    assert [columns for columns, _ in two.parts] == [slice(0, 2), slice(2, 3)]
    assert two.spec == one.spec
    x, y = one.reset(), two.reset()
    generator = torch.Generator().manual_seed(0)
    for _ in range(25):
        for key, value in leaves(x).items():
            assert torch.equal(leaves(y)[key], value), key
        action = torch.randint(4, (3,), generator=generator)
        x, y = one.step(action), two.step(action)


KILLED = """
import os, signal, sys, time, torch, morello
from morello.envs.wrappers import unwrapped
env = morello.make("vizdoom:Basic", 2, frame_size=(5, 7), pools=1)
env.reset()
print(env._end.peek()[2][1].path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="who runs in a folder is asked of /proc")
def test_simulators_end_with_a_process_that_was_killed():
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=120)
    assert done.returncode == -9
    folder = Path(done.stdout.strip())
    assert folder.is_absolute()
    for _ in range(200):
        if not folder.exists():
            break
        time.sleep(0.1)
    assert not folder.exists()
    assert not [home for home in map(where, Path("/proc").glob("[0-9]*/cwd")) if home.startswith(str(folder))]


def where(link):
    try:
        return os.readlink(link)
    except OSError:  # it has ended meanwhile
        return ""


@pytest.mark.parametrize(
    ("frame_size", "screen"),
    [
        ((84, 84), (160, 120)),
        ((120, 160), (160, 120)),
        ((120, 161), (200, 150)),
        ((121, 84), (200, 150)),
        ((240, 320), (320, 240)),
        ((900, 900), (640, 480)),
    ],
)
def test_doom_draws_no_larger_screen_than_the_frame_needs(frame_size, screen):
    assert resolution(frame_size) == screen
    env = morello.make("vizdoom:MyWayHome", 1, frame_size=frame_size, render=True)
    shape = env.reset().observation["image"].shape
    assert shape == (1, *frame_size, 3)
    assert env.render().shape == (*screen[::-1], 3)
    env.close()


@pytest.mark.parametrize("side", [84, 42, 200])
def test_an_image_shows_what_envpools_own_settings_show(side, monkeypatch, tmp_path):
    """Frames from a smaller screen differ in their finest texture only."""
    import envpool

    monkeypatch.chdir(tmp_path)  # where Doom leaves files
    settings = {"img_height": side, "img_width": side, "stack_num": 1, "frame_skip": 4, "num_envs": 1}
    theirs = envpool.make("MyWayHome-v1", env_type="gymnasium", env_seed=[3], **settings)
    env = morello.make("vizdoom:MyWayHome", 1, seed=3, frame_size=(side, side))
    image, step = theirs.reset()[0], env.reset()
    turn, expected, found = env.spec.action_names.index("turn left"), [], []
    for _ in range(12):
        expected.append(torch.from_numpy(image[0].copy()))
        found.append(step.observation["image"][0].permute(2, 0, 1).clone())
        image = theirs.step(np.array([[1.0, 0, 0, 0, 0]]))[0]
        step = env.step(torch.tensor([turn]))
    env.close()
    del theirs  # which ends its simulator
    a, b = (F.avg_pool2d(torch.stack(x).float(), side // 14) for x in (expected, found))
    assert (a - b).abs().mean() < 3
    assert (a - b.roll(1, 0)).abs().mean() > 6  # the frames of other moments are further away


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
def test_simulators_let_the_agent_go_first():
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    env = morello.make("vizdoom:Basic", 2, frame_size=(5, 7))
    env.reset()
    processes = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    doom = [int(child) for children in processes for child in children.read_text().split()]
    priorities = {os.getpriority(os.PRIO_PROCESS, p) for p in doom if "vizdoom" in Path(f"/proc/{p}/comm").read_text()}
    assert priorities == {min(mine + NICER, 19)}
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine
