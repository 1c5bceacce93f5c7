"""`morello bench`: each part is what it says, turns are taken, the arithmetic holds, a missing peer is no failure."""

import json
import os
import sys
from collections import Counter
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from morello.__main__ import main
from morello.agents.config.config import Config
from morello.agents.config.resolve import resolve
from morello.agents.learner import Learner
from morello.agents.model import ActorCritic
from morello.backbones.encoder import Encoder
from morello.benchmarks import timing
from morello.benchmarks.records import write
from morello.benchmarks.throughput import command, peers
from morello.benchmarks.throughput.same_step import SameStep
from morello.benchmarks.throughput.stages import own_parts
from morello.benchmarks.throughput.tables import as_json, derived
from morello.benchmarks.timing import Measurement, Part, measure
from morello.envs import make
from morello.envs.errors import UserError
from morello.envs.labyrinth.labyrinth import Labyrinth
from morello.envs.labyrinth.launcher import Launcher

T, B = 2, 3
ENV = "labyrinth:seekavoid_arena_01"
TINY = f"--env {ENV} --num-envs {B} --unroll {T} --frame-size 36 37 --torso shallow --seconds 0.001".split()
THREADS = min(2, os.cpu_count())


@pytest.fixture
def no_peers(monkeypatch):
    for name in peers.PEERS:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def config():
    return resolve(
        Config(
            env=ENV, num_envs=B, unroll=T, frame_size=(36, 37), torso="shallow", device="cpu", threads=1, steps=10**6
        )
    )


# The command


def test_throughput_writes_what_it_measured(tmp_path, capsys, no_peers):
    words = [*TINY, "--device", "cpu", "--threads", "1", "--repeats", "3", "--out", str(tmp_path)]
    assert main(["bench", "throughput", *words]) == 0
    shown = capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["throughput-cpu.json"]
    found = json.loads((tmp_path / "throughput-cpu.json").read_text())

    assert set(found["parts"]) == {"environment", "acting", "learning", "torso", "training"}
    rate = {}
    for name, part in found["parts"].items():
        assert part["steps_per_call"] == T * B
        assert part["threads"] == 1
        assert len(part["seconds"]) == 3
        rates = sorted(part["calls"] * T * B / s for s in part["seconds"])
        assert sorted(part["steps_per_second"]) == pytest.approx(rates)
        assert part["median"] == pytest.approx(rates[1])
        assert part["spread"] == pytest.approx((rates[2] - rates[0]) / rates[1])
        rate[name] = rates[1]

    seconds_a_step = 1 / rate["environment"] + 1 / rate["acting"] + 1 / rate["learning"]
    expected = {
        "composed_ceiling": 1 / seconds_a_step,
        "training_of_ceiling": rate["training"] * seconds_a_step,
        "learning_of_torso": rate["learning"] / rate["torso"],
    }
    assert found["derived"] == pytest.approx(expected)
    assert f"{rate['training']:,.0f}" in shown
    assert f"{expected['composed_ceiling']:,.0f}" in shown

    asked = {"env": ENV, "num_envs": B, "unroll": T, "frame_size": [36, 37], "torso": "shallow", "repeats": 3}
    asked |= {"device": "cpu", "threads": 1, "seconds": 0.001}
    assert {k: found["settings"][k] for k in asked} == asked
    assert found["settings"]["dtype"] in ("float32", "bfloat16")
    assert found["hardware"]["cores"] == os.cpu_count()
    assert found["versions"]["torch"] == torch.__version__
    assert found["command"].startswith(f"morello bench throughput --env {ENV}")

    assert len(found["notes"]) == 2
    for note in found["notes"]:
        assert "pip install" in note
        assert note in shown


def test_peers_can_be_left_out(tmp_path, capsys):
    words = [
        "throughput",
        *TINY,
        "--device",
        "cpu",
        "--threads",
        "1",
        "--repeats",
        "1",
        "--no-peers",
        "--out",
        str(tmp_path),
    ]
    assert main(["bench", *words]) == 0
    assert json.loads((tmp_path / "throughput-cpu.json").read_text())["notes"] == []


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--repeats", "0"], "--repeats"),
        (["--seconds", "0"], "--seconds"),
        (["--seconds", "nan"], "--seconds"),
        (["--num-envs", "0"], "--num-envs"),
        (["--device", "cpu", "--sweep"], "--sweep"),
        (["--env", "labyrinth:seekavoid"], "seekavoid_arena_01"),
        (["--torso", "natur"], "nature"),
    ],
)
def test_mistakes_are_one_sentence(words, hint, capsys, tmp_path):
    assert main(["bench", "throughput", "--out", str(tmp_path), *words]) == 2
    err = capsys.readouterr().err
    assert hint in err
    assert err.count("\n") == 1


def test_a_folder_that_cannot_be_is_said_before_measuring(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "run", lambda *_: pytest.fail("measured first"))
    (tmp_path / "file").write_text("")
    assert main(["bench", "throughput", *TINY, "--out", str(tmp_path / "file" / "results")]) == 2
    assert "--out" in capsys.readouterr().err


# What is timed


def test_each_part_is_what_it_says(config, monkeypatch):
    """Counted from outside: environment steps, acts, rows through the network, learner steps and backward passes."""
    seen = Counter()

    def count(owner, method, name, amount=lambda *arguments: 1):
        inner = getattr(owner, method)

        def counted(self, *arguments, **options):
            seen[name] += amount(*arguments)
            return inner(self, *arguments, **options)

        monkeypatch.setattr(owner, method, counted)

    count(Labyrinth, "step", "stepped", lambda action, *out: len(action))
    count(ActorCritic, "act", "acted")
    count(Encoder, "forward", "rows", lambda observation: observation["image"].shape[:2].numel())
    count(Learner, "step", "learned")
    count(torch.Tensor, "backward", "backward")
    parts = own_parts(config)
    expected = {
        "environment": {"stepped": T * B},
        "acting": {"acted": T, "rows": T * B},
        "learning": {"learned": 1, "backward": 1, "rows": (T + 1) * B},
        "torso": {"backward": 1, "rows": (T + 1) * B},
        "training": {"stepped": T * B, "acted": T, "learned": 1, "backward": 1, "rows": T * B + (T + 1) * B},
    }
    assert set(parts) == set(expected)
    for name, part in parts.items():
        assert part.steps == T * B
        assert part.threads == 1
        seen.clear()
        part.run(5)
        assert seen == {what: 5 * n for what, n in expected[name].items()}, name


@pytest.mark.skipif(THREADS < 2, reason="needs a second core")
def test_a_second_thread_is_compared_with_one(config):
    parts = own_parts(replace(config, threads=2))
    torch.set_num_threads(1)
    assert {name: part.threads for name, part in parts.items()} == {
        "environment_one_thread": 1, "environment": 2, "acting": 2, "learning": 2, "torso": 2, "training": 2,
    }  # fmt: skip
    used = set()
    with pytest.MonkeyPatch.context() as patch:
        inner = Launcher.run
        patch.setattr(Launcher, "run", lambda self, *launch: (used.add(len(self.parts)), inner(self, *launch))[1])
        for name in ("environment_one_thread", "environment"):
            parts[name].run(1)
            assert used == {parts[name].threads}, name
            used.clear()


def test_random_actions_differ_from_rollout_to_rollout(config, monkeypatch):
    taken = []
    inner = Labyrinth.step
    monkeypatch.setattr(Labyrinth, "step", lambda self, a, out=None: (taken.append(a.clone()), inner(self, a, out))[1])
    own_parts(replace(config, num_envs=31))["environment"].run(7)
    actions = torch.stack(taken[-7 * T :])
    assert len(actions.unique(dim=0)) == 7 * T
    assert len(actions.unique()) == len(make(ENV).spec.action_names)


def test_learning_alone_leaves_rollout_and_training_alone(config, monkeypatch):
    """The rollout it is given again and again stays the same, and the agent that trains does not learn from it."""
    given = []
    inner = Learner.step
    monkeypatch.setattr(Learner, "step", lambda self, r: (given.append((self, r)), inner(self, r))[1])
    parts = own_parts(config)
    parts["learning"].run(1)
    parts["training"].run(1)
    (alone, rollout), (trained, _) = given
    before = (rollout.observation["image"].clone(), rollout.action.clone(), rollout.logits.clone())
    weights = [p.clone() for p in trained.model.parameters()]
    for name in ("learning", "acting", "torso", "environment"):
        parts[name].run(2)
    assert all(given[i][1] is rollout for i in (2, 3))
    assert all(torch.equal(a, b) for a, b in zip(weights, trained.model.parameters(), strict=True))
    assert alone is not trained
    parts["training"].run(2)
    after = (rollout.observation["image"], rollout.action, rollout.logits)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not torch.equal(weights[0], next(trained.model.parameters()))


# Timing


class Clock:
    """Seconds pass only when something is run."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def perf_counter(self):
        return self.now

    def part(self, name, seconds, steps, threads=1, late=0.0):
        def run(calls):
            self.log.append((name, calls, torch.get_num_threads()))
            self.now += calls * seconds
            self.pending = late

        return Part(name, steps, run, threads)

    def synchronize(self):
        self.now += self.pending
        self.pending = 0.0

    pending = 0.0


def test_parts_take_turns_and_the_device_is_waited_for(monkeypatch):
    clock, told = Clock(), []
    monkeypatch.setattr(timing, "time", clock)
    # b's calls return at once: the device works on for 3 seconds, however many there were.
    parts = {"a": clock.part("a", 0.25, 7), "b": clock.part("b", 0.0, 11, THREADS, late=3.0)}
    timed = measure(parts, 3, 2.0, clock.synchronize, lambda *what: told.append(what))
    assert timed.notes == []
    a, b = timed.measurements["a"], timed.measurements["b"]
    assert (a.calls, b.calls) == (8, 1)
    assert clock.log[-6:] == [("a", 8, 1), ("b", 1, THREADS)] * 3
    assert a.seconds == (2.0, 2.0, 2.0)
    assert b.seconds == (3.0, 3.0, 3.0)
    assert a.median == 28.0
    assert b.median == pytest.approx(11 / 3)
    assert told[-6:] == [(f"repeat {r} of 3", name) for r in (1, 2, 3) for name in "ab"]
    assert torch.get_num_threads() == 1


def test_a_part_that_outgrows_the_gpu_is_left_out():
    def too_large(calls):
        raise torch.OutOfMemoryError("CUDA out of memory")

    parts = {"large": Part("l", 1, too_large), "small": Part("s", 1, lambda calls: sum(range(calls)))}
    timed = measure(parts, 1, 1e-6, lambda: None, lambda *_: None)
    assert set(timed.measurements) == {"small"}
    assert timed.notes == ["large: not enough GPU memory."]


def test_median_and_spread_of_repeats():
    m = Measurement("", 1, steps=5, calls=7, seconds=(35.0, 7.0, 5.0, 3.5))  # 1, 5, 7, 10 steps a second
    assert m.median == 6.0
    assert m.spread == 1.5


def test_ratios_by_hand():
    rates = {"environment": 20.0, "acting": 30.0, "learning": 60.0, "torso": 80.0, "training": 9.0}
    assert derived(rates) == pytest.approx(
        {"composed_ceiling": 10.0, "training_of_ceiling": 0.9, "learning_of_torso": 0.75}
    )
    more = derived({**rates, "environment_one_thread": 12.0, "miniworld": 0.5, "stable_baselines3": 4.0})
    assert more["threads_speedup"] == pytest.approx(5 / 3)
    assert more["environment_over_miniworld"] == pytest.approx(24.0)  # one thread, one process
    assert more["training_over_stable_baselines3"] == pytest.approx(2.25)
    assert derived({"environment": 20.0, "miniworld": 0.5}) == {"environment_over_miniworld": 40.0}
    assert derived({}) == {}


def test_results_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.json"
    write(path, {"a": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        write(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1.5}


def test_a_sweep_measures_every_number_of_environments(config, monkeypatch, tmp_path):
    """Its GPU is not needed to see that."""
    monkeypatch.setattr(command, "SWEEP", (2, 5))
    settings = command.ThroughputFlags(seconds=0.001, repeats=1, peers=False, sweep=True)
    with (tmp_path / "screen").open("w+") as screen:
        found = command.run(settings, config, Console(file=screen, width=120))
    assert found["parts"]["environment"]["steps_per_call"] == T * B
    assert [point["num_envs"] for point in found["sweep"]] == [2, 5]
    for point in found["sweep"]:
        assert all(part["steps_per_call"] == T * point["num_envs"] for part in point["parts"].values())
        assert point["derived"].keys() >= {"composed_ceiling", "training_of_ceiling"}
        json.dumps(point, allow_nan=False)
    assert as_json({}) == {"parts": {}, "derived": {}}


@pytest.mark.gpu
def test_throughput_on_cuda(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "SWEEP", (5, 11))
    words = ["--device", "cuda", "--threads", "1", "--repeats", "1", "--no-peers", "--sweep", "--out", str(tmp_path)]
    assert main(["bench", "throughput", *TINY, *words]) == 0
    found = json.loads((tmp_path / "throughput-cuda.json").read_text())
    assert found["hardware"]["gpus"]
    for point in (found, *found["sweep"]):
        assert set(point["parts"]) == {"environment", "acting", "learning", "torso", "training"}
        assert all(part["median"] > 0 for part in point["parts"].values())


# Peers


def test_same_step_resets_as_stable_baselines3_does():
    """Against the counting environments, one at a time, in plain Python."""
    B, H, W = 5, 3, 2
    env = SameStep(make("counting:steps", B, height=H, width=W))
    length = [3 + (5 * i) % 7 for i in range(B)]
    episode, step = [0] * B, [0] * B

    def picture(i, e, s):
        return np.broadcast_to(np.array([i, e, s], np.uint8), (H, W, 3))

    previous = env.reset(seed=11)
    expected = np.stack([picture(i, 0, 0) for i in range(B)])
    assert np.array_equal(previous, expected)
    endings = 0
    for n in range(23):
        kept = expected
        image, reward, done, infos = env.step(np.full(B, n % 3))
        assert np.array_equal(previous, kept)  # the observation before the step outlives it
        rows = []
        for i in range(B):
            step[i] += 1
            assert reward[i] == 100 * (i + 1) + step[i]
            ended = step[i] == length[i]
            assert bool(done[i]) == ended
            if ended:
                endings += 1
                assert infos[i].keys() == {"terminal_observation", "TimeLimit.truncated"}
                assert np.array_equal(infos[i]["terminal_observation"], picture(i, episode[i], step[i]))
                assert infos[i]["TimeLimit.truncated"] == (i % 2 == 1)
                episode[i], step[i] = episode[i] + 1, 0
            else:
                assert infos[i] == {}
            rows.append(picture(i, episode[i], step[i]))
        expected = np.stack(rows)
        assert np.array_equal(image, expected)
        previous = image
    assert endings > B
    assert reward.dtype == np.float32
    assert done.dtype == np.bool_


def test_miniworld_without_opengl_names_what_to_install(monkeypatch, config):
    def make_without_opengl(*arguments, **options):
        raise ImportError('Library "EGL" not found.')

    for name in ("miniworld", "pyglet"):
        module = ModuleType(name)
        module.__spec__ = SimpleNamespace(name=name)
        module.options = {}
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("gymnasium.make", make_without_opengl)
    with pytest.raises(peers.UnavailableError, match=r'Library "EGL" not found.*apt-get install .*libegl1'):
        peers.miniworld(config)


def test_stable_baselines3_learns_through_our_batch(config):
    pytest.importorskip("stable_baselines3")
    with pytest.raises(peers.UnavailableError, match="Nature CNN"):
        peers.stable_baselines3(config)
    part = peers.stable_baselines3(replace(config, torso="nature", num_envs=B))
    assert part.steps == T * B
    seen = []
    inner = SameStep.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SameStep, "step", lambda self, a: (seen.append(a.shape), inner(self, a))[1])
        part.run(1)
        part.run(5)
    assert seen == [(B,)] * (6 * T)


def test_adapters_are_measured_beside_what_they_adapt(tmp_path, monkeypatch, capsys):
    from morello.benchmarks.throughput import adapters

    monkeypatch.setattr(adapters, "POOLS", {"minigrid:Empty-5x5": 3})
    monkeypatch.setattr(adapters, "WORLDS", ("miniworld:Nowhere",))
    assert adapters.main(["--repeats", "2", "--seconds", "0.02", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "adapters-cpu.json").read_text())
    assert set(found["parts"]) == {"minigrid:Empty-5x5, EnvPool alone", "minigrid:Empty-5x5"}
    median = {name: part["median"] for name, part in found["parts"].items()}
    ratio = median["minigrid:Empty-5x5"] / median["minigrid:Empty-5x5, EnvPool alone"]
    assert found["ratios"] == {"minigrid:Empty-5x5 / EnvPool alone": ratio}
    assert "not measured" in found["notes"][0]
    assert "EnvPool alone" in capsys.readouterr().out
    assert adapters.ratios({"miniworld:Nowhere, two workers": 6.0, "miniworld:Nowhere, one process": 4.0}) == {
        "miniworld:Nowhere, two workers / one process": 1.5
    }
    with pytest.raises(UserError, match="--threads"):
        adapters.main(["--threads", "0"])
