"""The progress view: right numbers, right place, and a terminal that survives."""

import io
import threading

import pytest
from rich.console import Console

from morello.agents.config.config import Config
from morello.agents.training.progress import Progress, duration, number, sparkline

ENV = "labyrinth:seekavoid_arena_01"
RECORD = {
    "step": 20_000,
    "frames": 80_000,
    "episodes": 64.0,
    "window_episodes": 112.0,
    "episode_return": 3.25,
    "episode_length": 300.0,
    "terminated": 0.5,
    "success": 0.37,
    "loss/policy": -0.0123,
    "loss/value": 0.5,
    "loss/entropy": -1.7,
    "loss/rnd": 0.2,
    "entropy": 1.71,
    "learning_rate": 3e-4,
    "gradient_norm/agent": 0.61,
    "extrinsic/reward": 0.012,
    "extrinsic/value": 0.53,
    "extrinsic/explained_variance": 0.72,
    "extrinsic/advantage": 0.041,
    "rnd/reward": 1.2,
    "rnd/normalised": 0.31,
    "rnd/value": 20.4,
    "rnd/explained_variance": -0.3,
    "time/seconds": 4.0,
    "time/steps_per_second": 5000.0,
    "time/environment": 2.0,
    "time/acting": 1.0,
    "time/learning": 0.8,
    "time/other": 0.2,
}


class Clock:
    """Says what it is told."""

    now = 1000.0

    def __call__(self):
        return self.now


def console(terminal):
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=110,
        height=50,
        color_system="truecolor",
        _environ={"TERM": "xterm"},
    )


def progress(terminal, *, quiet=False, steps=1_000_000, step=0):
    config = Config(env=ENV, steps=steps, quiet=quiet)
    return Progress(config, "runs/here/0-now", step, console=console(terminal), clock=Clock())


def output(view):
    return view.console.file.getvalue()


def panel(view):
    """The panel as plain text."""
    plain = Console(width=110, record=True, file=io.StringIO())
    plain.print(view.panel())
    return plain.export_text()


def test_the_panel_shows_all_of_a_record():
    with progress(True) as view:
        view.clock.now += 4
        view.update(RECORD)
        view.update(RECORD | {"step": 40_000, "frames": 160_000, "eval/return": 7.25})
        view.update(RECORD | {"step": 40_000, "frames": 160_000})
        text = panel(view)
    for shown in (
        ENV,
        "runs/here/0-now",
        "40,000 of 1,000,000 steps",
        "4%",
        "10,000 steps/s",
        "40,000 frames/s",
        "0:01:36 left",
        "episode return 3.25",
        "length 300",
        "mean of 112 episodes",
        "success 37%",
        "evaluation 7.25",
        "environment 50%",
        "acting 25%",
        "learning 20%",
        "other 5%",
    ):
        assert shown in text, shown
    words = " ".join(text.split())
    assert "stream reward normalised value explained variance advantage" in words
    assert "extrinsic 0.012 - 0.530 0.720 0.041" in words
    assert "rnd 1.20 0.310 20.40 -0.300 -" in words
    for name in ("policy loss -0.012", "value loss 0.500", "rnd loss 0.200", "entropy 1.71", "learning rate 3.0e-04"):
        assert name in words
    assert "entropy loss" not in words
    assert "agent gradient 0.610" in words


def test_the_panel_says_only_what_it_knows():
    view = progress(True)
    assert "waiting for the first record" in panel(view)
    view.clock.now += 1
    view.update({"step": 500})
    text = panel(view)
    for absent in ("waiting", "episode return", "stream", "loss", "environment", "success"):
        assert absent not in text
    view.update({"step": 500, "episodes": 3, "episode_return": 1.0, "terminated": 1.0})
    assert "success" not in panel(view)  # of a task without a goal
    assert "success" not in str(view.line())


def test_rates_are_recent_and_so_is_the_time_left():
    view = progress(True, steps=100_000, step=60_000)
    assert view.seconds_left is None
    for n in range(1, 31):
        view.clock.now += 1 if n <= 15 else 4  # it slows down
        view.update({"step": 60_000 + 1000 * n})
    assert view.steps_per_second == pytest.approx(250)
    assert view.seconds_left == pytest.approx(10_000 / 250)
    view.update({"step": 101_000})
    assert view.seconds_left == 0
    assert "100%" in panel(view)


def test_ticks_move_the_bar_between_records_at_most_once_a_second():
    with progress(True) as view:
        view.clock.now += 0.5
        view.tick(400)
        assert "400 of" not in output(view)
        view.clock.now += 0.5
        view.tick(500)
        assert "500 of 1,000,000 steps" in output(view)
        view.tick(600)
        assert view.steps_per_second == 500
        view.clock.now += 3
        view.update({"step": 2000})
        assert view.steps_per_second == 500
    with progress(False) as view:
        view.clock.now += 10
        view.tick(500)
    assert output(view) == ""


def test_the_return_is_the_records_and_why_there_is_none_is_said():
    view = progress(True)
    view.update({"step": 1, "episodes": 5, "environments_in_first_episode": 3})
    assert "return none until 3 more environments ended an episode" in str(view.line())
    assert "episode return none until 3 more environments ended an episode" in panel(view)
    view.update({"step": 2, "episodes": 5, "environments_in_first_episode": 1})
    assert "1 more environment ended" in panel(view)
    for n, (mean, episodes) in enumerate(((1.0, 9), (8.0, 1), (8.0, 0), (4.0, 2))):
        view.update({"step": 3 + n, "episodes": episodes, "episode_return": mean})
    assert "return 4.00" in str(view.line())
    assert "none until" not in panel(view)
    assert "▁█▄" in panel(view)  # no point for a record in which nothing ended


def test_elsewhere_than_on_a_terminal_each_record_is_a_line():
    with progress(False) as view:
        view.message("checkpoint at step 0")
        view.clock.now += 4
        view.update(RECORD)
    first, second = output(view).splitlines()
    assert first == "checkpoint at step 0"
    assert second == (
        "step 20,000/1,000,000 (2%)  5,000 steps/s  0:03:16 left  return 3.25  64 episodes  success 37%  "
        "entropy 1.71  loss/policy -0.012  loss/value 0.500"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_nothing_but_warnings(terminal):
    with progress(terminal, quiet=True) as view:
        view.message("checkpoint at step 0")
        view.update(RECORD)
        assert output(view) == ""
        view.message("the disk is full", warning=True)
    assert "the disk is full" in output(view)
    assert "checkpoint" not in output(view)


def test_messages_stay_in_the_panel_and_warnings_above_it():
    with progress(True) as view:
        for n in range(5):
            view.message(f"checkpoint {n}")
        view.message("the disk is full", warning=True)
        text = panel(view)
    assert "checkpoint 1" not in text
    assert all(f"checkpoint {n}" in text for n in (2, 3, 4))
    assert "the disk is full" not in text
    assert "the disk is full" in output(view)


def test_a_crash_leaves_the_terminal_as_it_was():
    hide, show = "\x1b[?25l", "\x1b[?25h"
    view = progress(True)

    def train():
        with view:
            view.update(RECORD)
            assert output(view).rfind(hide) > output(view).rfind(show)  # no cursor
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert output(view).rfind(show) > output(view).rfind(hide)
    view.console.print("after")
    assert output(view).endswith("after\n")


def test_nothing_runs_beside_the_training():
    before = threading.active_count()
    with progress(True) as view:
        view.update(RECORD)
        written = output(view)
        assert threading.active_count() == before
    assert "20,000" in written


def test_numbers_durations_and_sparklines():
    values = (0.0, 0.0123, 1.5, -20.345, 12345.6, 3e-5, 2.5e7, float("inf"))
    assert [number(x) for x in values] == ["0.000", "0.012", "1.50", "-20.34", "12,346", "3.0e-05", "2.5e+07", "inf"]
    assert duration(3725.4) == "1:02:05"
    assert [duration(x) for x in (1e12, 1e18, float("inf"))] == ["31,688 years", "3.2e+10 years", "inf years"]
    assert sparkline([0.0, 3.5, 7.0]) == "▁▅█"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([]) == ""
    assert sparkline([0.0, 1.0], ascii_only=True).isascii()
