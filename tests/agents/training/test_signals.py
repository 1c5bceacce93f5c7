"""Signals: training stops where its state is whole, with a checkpoint, and says 128 + signal."""

import json
import os
import signal
import threading
import time

import gymnasium
import pytest

from morello.__main__ import main
from morello.agents.storage import checkpoint
from morello.agents.training import interim, signals
from morello.agents.training.train import train
from morello.agents.video import film

from ...support.small_run import SMALL, records, same, weights

CART = {"env": "gym:CartPole-v1", "num_envs": 3, "unroll": 5, "frame_size": None, "torso": "auto", "memory": "none"}
HERE = os.getpid()


def send(number=signal.SIGTERM):
    os.kill(HERE, number)


def saved(folder):
    return checkpoint.load(folder / "checkpoints")[0]


def at(record, *steps, number=signal.SIGTERM):
    """A listener that sends a signal at these records."""

    def hear(found):
        record.append(found["step"])
        if len(record) in steps:
            send(number)

    return hear


@pytest.mark.parametrize("number", signals.SIGNALS, ids=lambda n: n.name)
def test_every_signal_stops_with_a_checkpoint_of_the_step_and_its_code(number, tmp_path, capsys):
    seen, folder = [], tmp_path / "a run"
    ends = KeyboardInterrupt if number == signal.SIGINT else SystemExit
    with pytest.raises(ends) as caught:
        train(SMALL, run=str(folder), on_record=at(seen, 2, number=number))
    assert type(caught.value) is ends  # of one derived from KeyboardInterrupt Python's exit code is 1, not 130
    assert ends is KeyboardInterrupt or caught.value.code == 128 + number
    assert saved(folder) == seen[-1] == 480
    said = capsys.readouterr().err  # SMALL is quiet: this is said all the same
    assert f"stopped by {number.name} at step 480; to go on: morello train --run '{folder}' --resume\n" == said


def test_a_loop_over_seeds_ends_at_ctrl_c(tmp_path):
    begun = []

    def several():
        for seed in range(3):
            begun.append(seed)
            train(SMALL, run=str(tmp_path / str(seed)), seed=seed, on_record=at([], 1, number=signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        several()
    assert begun == [0]
    assert saved(tmp_path / "0") == 240
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


EVALUATED = {"eval_every": 400, "eval_episodes": 4, "steps": 1000}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    train(SMALL, run=str(folder), **EVALUATED)
    return folder


def test_an_evaluation_is_dropped_at_the_next_step_and_made_again_on_resume(evaluated, tmp_path, monkeypatch):
    folder, steps = tmp_path / "run", []

    def interrupted(*arguments, each_step, **more):
        def step():
            steps.append(1)
            if len(steps) == 7:
                send()
            each_step()

        return real(*arguments, each_step=step, **more)

    real = interim.evaluate
    with monkeypatch.context() as patch:
        patch.setattr(interim, "evaluate", interrupted)
        with pytest.raises(SystemExit):
            train(SMALL, run=str(folder), **EVALUATED)
    assert len(steps) == 7
    assert saved(folder) == 400
    assert records(folder)[-1]["step"] == 400
    assert "eval/return" not in records(folder)[-1]
    train(SMALL, run=str(folder), resume=True, **EVALUATED)
    assert records(folder) == records(evaluated)
    assert same(weights(folder), weights(evaluated))


def test_so_is_a_film(evaluated, tmp_path, monkeypatch):
    folder, drawn = tmp_path / "run", []

    def frames(*arguments, **more):
        for frame in real(*arguments, **more):
            drawn.append(1)
            if len(drawn) == 7:
                send(signal.SIGHUP)
            yield frame

    real = film.frames
    with monkeypatch.context() as patch:
        patch.setattr(film, "frames", frames)
        with pytest.raises(SystemExit, match="129"):
            train(SMALL, run=str(folder), eval_video=True, **EVALUATED)
    assert len(drawn) == 7
    assert saved(folder) == 400
    train(SMALL, run=str(folder), resume=True, **EVALUATED)
    assert records(folder) == records(evaluated)


def test_a_run_stopped_in_its_last_evaluation_is_finished_by_resuming(evaluated, tmp_path, monkeypatch, capsys):
    folder, calls = tmp_path / "run", []

    def third(*arguments, **more):
        calls.append(1)
        if len(calls) == 3:
            send()
        return real(*arguments, **more)

    real = interim.evaluate
    with monkeypatch.context() as patch:
        patch.setattr(interim, "evaluate", third)
        with pytest.raises(SystemExit):
            train(SMALL, run=str(folder), **EVALUATED)
    assert saved(folder) == 1000
    train(SMALL, run=str(folder), resume=True, **EVALUATED)
    assert records(folder) == records(evaluated)
    train(SMALL, run=str(folder), resume=True, **EVALUATED | {"quiet": False})
    assert "is finished" in capsys.readouterr().out
    assert records(folder) == records(evaluated)


class Signalling(gymnasium.Wrapper):
    """CartPole that sends a signal at a step or in its constructor, and counts."""

    when, steps = None, 0

    def __init__(self, **arguments):
        super().__init__(gymnasium.make("CartPole-v1", **arguments))
        if Signalling.when == "built":
            send()
        if callable(Signalling.when) or isinstance(Signalling.when, signal.Handlers):
            signal.signal(signal.SIGTERM, Signalling.when)

    def step(self, action):
        Signalling.steps += 1
        if Signalling.steps == Signalling.when:
            send()
        return self.env.step(action)


gymnasium.register("Signalling-v0", entry_point=Signalling)


@pytest.fixture
def signalling(monkeypatch):
    monkeypatch.setattr(Signalling, "steps", 0)
    return lambda when: monkeypatch.setattr(Signalling, "when", when)


def test_where_episodes_begin_anew_anyway_a_rollout_is_not_finished_first(tmp_path, signalling):
    signalling(150)  # in the second rollout of 120
    cart = CART | {"env": "gym:Signalling-v0", "unroll": 40}
    with pytest.raises(SystemExit):
        train(SMALL, run=str(tmp_path / "run"), **cart)
    assert Signalling.steps <= 152  # the other environments take the same step
    assert saved(tmp_path / "run") == 120
    run = train(SMALL, run=str(tmp_path / "run"), **cart | {"steps": 300}, resume=True)
    assert saved(run.path) == 360


def test_while_the_environment_is_built_it_stops_at_once(tmp_path, signalling, capsys):
    signalling("built")
    words = ["train", "a2c", "--env", "gym:Signalling-v0", "--threads", "1", "--run", str(tmp_path / "run")]
    assert main(words) == 143
    assert capsys.readouterr().err == "morello: stopped by SIGTERM\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["ignored", "taken"])
def test_a_simulator_that_takes_signals_for_itself_does_not_keep_them(handler, tmp_path, signalling):
    signalling(handler)
    with pytest.raises(SystemExit, match="143"):
        train(SMALL, run=str(tmp_path / "run"), **CART | {"env": "gym:Signalling-v0"}, on_record=at([], 1))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("step", [0, 300])
def test_a_checkpoint_under_way_is_finished_and_not_written_twice(step, tmp_path, monkeypatch):
    real, steps = checkpoint.save, []

    def save(folder, now, *arguments, **more):
        steps.append(now)
        if now == step:
            send()
        return real(folder, now, *arguments, **more)

    monkeypatch.setattr(checkpoint, "save", save)
    with pytest.raises(SystemExit, match="143"):
        train(SMALL, run=str(tmp_path / "run"))
    assert saved(tmp_path / "run") == steps[-1] == step


def test_while_a_run_is_read_back_nothing_of_it_changes(evaluated, monkeypatch, capsys):
    before = {path: path.read_bytes() for path in evaluated.glob("*.json*") if path.name != "provenance.json"}
    real = checkpoint.load
    monkeypatch.setattr(checkpoint, "load", lambda *arguments: (send(signal.SIGINT), real(*arguments))[1])
    assert main(["train", "--run", str(evaluated), "--resume", "--steps", "2000"]) == 130
    assert capsys.readouterr().err == "morello: stopped by SIGINT\n"
    assert {path: path.read_bytes() for path in before} == before


def test_a_signal_that_is_sent_twice_is_one(tmp_path):
    seen = []
    with pytest.raises(SystemExit):
        train(SMALL, run=str(tmp_path / "run"), on_record=lambda r: (seen.append(r["step"]), send(), send()))
    assert saved(tmp_path / "run") == seen[-1] == 240


def test_a_second_signal_stops_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(signals, "SAME_SECONDS", 0.0)
    with pytest.raises(SystemExit, match="138"):
        train(SMALL, run=str(tmp_path / "run"), on_record=lambda r: (send(), send(signal.SIGUSR1)))
    assert saved(tmp_path / "run") == 0
    assert "go on" not in capsys.readouterr().err


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        train(SMALL, run=str(tmp_path / "run"), steps=600, on_record=at([], 1, number=signal.SIGHUP))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert saved(tmp_path / "run") == 600


def test_a_forked_child_ends_of_a_signal_as_it_would(tmp_path):
    ends = []

    def fork(record):
        ready, here = os.pipe()
        child = os.fork()
        if not child:
            os.write(here, b"!")  # before this Python would forget the signal
            time.sleep(60)
            os._exit(0)
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        ends.append(os.waitpid(child, 0)[1])

    train(SMALL, run=str(tmp_path / "run"), steps=40, on_record=fork)
    assert list(map(os.WTERMSIG, ends)) == [signal.SIGTERM]


def test_other_threads_train_and_leave_signals_alone(tmp_path):
    handlers = []
    thread = threading.Thread(
        target=lambda: train(
            SMALL,
            run=str(tmp_path / "run"),
            steps=40,
            on_record=lambda r: handlers.append(signal.getsignal(signal.SIGTERM)),
        )
    )
    thread.start()
    thread.join()
    assert handlers == [signal.SIG_DFL]
    assert saved(tmp_path / "run") == 40


def test_the_exit_code_survives_a_disk_that_takes_no_checkpoint(tmp_path, monkeypatch, capsys):
    real = checkpoint.save

    def full(folder, step, *arguments, **more):
        if step:
            raise checkpoint.CheckpointNotWritten("No space left on device")
        return real(folder, step, *arguments, **more)

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(SystemExit, match="143"):
        train(SMALL, run=str(tmp_path / "run"), on_record=at([], 1))
    said = capsys.readouterr().err
    assert "No space left" in said
    assert "stopped by SIGTERM at step 240, without a checkpoint of it; to go on" in said


def test_other_commands_stop_at_once_and_leave_nothing_half_done(evaluated, monkeypatch, capsys):
    real = film.frames

    def frames(*arguments, **more):
        for n, frame in enumerate(real(*arguments, **more)):
            if n == 9:
                send()
            yield frame

    monkeypatch.setattr(film, "frames", frames)
    before = sorted(evaluated.rglob("*"))
    assert main(["watch", str(evaluated)]) == 143
    assert capsys.readouterr().err.endswith("morello: stopped by SIGTERM\n")
    assert sorted(evaluated.rglob("*")) == before
    assert json.loads((evaluated / "config.json").read_text())["steps"] == 1000
