"""Programs that are measured count each environment step once, on a pool that counts along."""

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from morello.benchmarks.versus.peers import pool
from morello.benchmarks.versus.peers.pool import BUTTONS, FRAME, Batch
from morello.envs.adapters.vizdoom import resolution, task


class Pool:
    """EnvPool's interface: step t has images of t; ``ends`` are the environments that end at each step."""

    ends: tuple = ()

    def __init__(self, task, **options):
        self.task, self.options, self.taken, self.resets = task, options, 0, []
        self.images = np.zeros((options["num_envs"], *FRAME), np.uint8)

    def reset(self, indices=None):
        self.resets.append(indices if indices is None else indices.tolist())
        return np.zeros((len(self.images) if indices is None else len(indices), *FRAME), np.uint8), {}

    def step(self, buttons):
        assert buttons.shape == (len(self.images), BUTTONS.shape[1])
        self.taken += 1
        ended = np.isin(np.arange(len(self.images)), self.ends)
        return self.images + self.taken, np.ones(len(ended), np.float32), ended, np.zeros_like(ended), {}


@pytest.fixture
def pools(monkeypatch, tmp_path):
    """The pools that are made, in place of EnvPool's."""
    made = []

    def make(task, **options):
        made.append(Pool(task, **options))
        return made[-1]

    module = ModuleType("envpool")
    module.make = make
    config = tmp_path / "my_way_home.cfg"
    config.write_text("mode = PLAYER\nscreen_resolution = RES_320X240\n")
    module.make_spec = lambda task: SimpleNamespace(config=SimpleNamespace(cfg_path=str(config)))
    monkeypatch.setitem(sys.modules, "envpool", module)
    return made


def test_episodes_that_end_begin_anew_within_the_step(pools, monkeypatch):
    batch = Batch(3, 2, 5)
    (made,) = pools
    assert made.task == pool.TASK
    assert {k: made.options[k] for k in ("num_envs", "num_threads", "seed", "frame_skip", "stack_num")} == {
        "num_envs": 3,
        "num_threads": 2,
        "seed": 5,
        "frame_skip": 4,
        "stack_num": 1,
    }
    batch.reset()
    action = np.array([0, 1, 2])
    image, *_, last = batch.step(action)
    assert (image == 1).all()
    assert last is None
    monkeypatch.setattr(Pool, "ends", (0, 2))
    image, _, terminated, truncated, last = batch.step(action)
    assert image[:, 0, 0, 0].tolist() == [0, 2, 0]
    assert (last == 2).all()
    assert terminated.tolist() == [True, False, True]
    assert not truncated.any()
    assert made.resets == [None, [0, 2]]
    scenario = Path(made.options["cfg_path"])
    assert scenario.read_text() == "mode = PLAYER\nscreen_resolution = RES_160X120\n"
    assert made.options["use_inter_area_resize"] is False
    batch.close()
    assert batch.pool is None
    assert not scenario.parent.exists()


def test_the_screen_is_that_of_our_environment():
    ours = task("MyWayHome", frame_size=FRAME[1:], frame_stack=1, action_repeat=pool.ACTION_REPEAT)
    assert "RES_{}X{}".format(*resolution(FRAME[1:])) == pool.SCREEN
    assert ours.settings["use_inter_area_resize"] is False


def counting(monkeypatch, module, taken, most):
    """Have a program report to a list of (steps reported, environment steps taken); it is stopped after ``most``."""
    found = []

    def report(steps):
        found.append((steps, taken()))
        return len(found) >= most

    monkeypatch.setattr(module, "to_parent", lambda seconds: report)
    return found


def test_stable_baselines3_counts_each_step_once_and_stops(pools, monkeypatch):
    pytest.importorskip("stable_baselines3")
    from morello.benchmarks.versus.peers import sb3_a2c

    monkeypatch.setattr(Pool, "ends", (1,))
    monkeypatch.setattr(sb3_a2c.torch, "set_num_threads", lambda number: None)
    found = counting(monkeypatch, sb3_a2c, lambda: 3 * pools[0].taken, 4)
    closed = []
    monkeypatch.setattr(sb3_a2c.PoolVecEnv, "close", lambda env: closed.append(env))
    settings = {"num_envs": 3, "seed": 0, "seconds": 1.0, "pool_threads": 1, "torch_threads": 1, "a2c": {"n_steps": 5}}
    sb3_a2c.main(settings)
    assert found == [(0, 0), (15, 15), (30, 30), (45, 45)]
    assert pools[0].taken <= 15 + 1
    assert len(closed) == 1


def test_simulators_are_closed_when_training_fails(pools, monkeypatch):
    pytest.importorskip("stable_baselines3")
    from morello.benchmarks.versus.peers import sb3_a2c

    def leave(steps):
        raise SystemExit(143)

    batches = []
    monkeypatch.setattr(sb3_a2c.torch, "set_num_threads", lambda number: None)
    monkeypatch.setattr(sb3_a2c, "to_parent", lambda seconds: leave)
    monkeypatch.setattr(sb3_a2c, "Batch", lambda *arguments: batches.append(Batch(*arguments)) or batches[-1])
    settings = {"num_envs": 2, "seed": 0, "seconds": 1.0, "pool_threads": 1, "torch_threads": 1, "a2c": {}}
    with pytest.raises(SystemExit):
        sb3_a2c.main(settings)
    assert [batch.pool for batch in batches] == [None]


SAMPLE_FACTORY = {
    "algo.runners.runner": ("AlgoObserver", "Runner"),
    "algo.utils.misc": ("ExperimentStatus",),
    "cfg.arguments": ("parse_full_cfg", "parse_sf_args"),
    "envs.env_utils": ("register_env",),
    "train": ("make_runner",),
}


@pytest.fixture
def appo(monkeypatch):
    """The program of Sample Factory, without the library."""
    for name, members in SAMPLE_FACTORY.items():
        module = ModuleType(f"sample_factory.{name}")
        for member in members:
            setattr(module, member, type(member, (), {}))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    name = "morello.benchmarks.versus.peers.appo"
    monkeypatch.delitem(sys.modules, name, raising=False)
    found = importlib.import_module(name)
    yield found
    del sys.modules[name]


def test_workers_of_sample_factory_have_seeds_of_their_own(pools, appo):
    for number in range(3):
        appo.make_env(4, 1, 100, "name", None, SimpleNamespace(env_id=number))
    each = [set(range(made.options["seed"], made.options["seed"] + made.options["num_envs"])) for made in pools]
    assert len(set.union(*each)) == 3 * 4
    assert min(set.union(*each)) == 100


def test_sample_factory_reports_what_was_learned_from_and_stops(appo):
    told = []
    observer = appo.Reporting(lambda steps: told.append(steps) or len(told) == 2)
    runner = SimpleNamespace(env_steps={0: 64}, cfg=SimpleNamespace(train_for_env_steps=1000))
    observer.on_training_step(runner, 1)
    assert runner.cfg.train_for_env_steps == 1000
    runner.env_steps = {0: 96}
    observer.on_training_step(runner, 2)
    assert told == [64, 96]
    assert runner.cfg.train_for_env_steps == 0


def test_simulators_of_a_worker_that_is_ended_are_closed(pools, appo):
    env = appo.make_env(4, 1, 0, "name", None, None)
    with pytest.raises(SystemExit):
        appo.close_and_leave(15, None)
    assert env.batch.pool is None
