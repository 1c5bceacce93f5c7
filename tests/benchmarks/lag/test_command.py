"""``morello bench lag`` at a tiny size: its record, its folder of finished runs, its errors; and its summary."""

import json

import pytest

from morello.__main__ import main
from morello.benchmarks.lag import command
from morello.benchmarks.lag.summary import best, reached, rows
from morello.benchmarks.lag.training import ENVS, ESTIMATORS, UNROLL

SMALL = ["--steps", str(10 * ENVS * UNROLL), "--seeds", "3", "4", "--lags", "0", "2"]


def bench(folder, *words):
    return main(["bench", "lag", *SMALL, *words, "--work", str(folder / "work"), "--out", str(folder / "out")])


def test_the_record_holds_every_run_and_finished_runs_are_not_made_again(tmp_path, capsys, monkeypatch):
    assert bench(tmp_path, "--estimators", "vtrace", "uncorrected") == 0
    record = json.loads((tmp_path / "out" / "lag-part-cpu.json").read_text())
    assert (tmp_path / "out" / "lag-part-cpu.png").stat().st_size > 5000
    said = capsys.readouterr().out
    assert "uncorrected" in said
    rates = ESTIMATORS["vtrace"].rates
    assert {(r["estimator"], r["lag"], r["rate"], r["seed"]) for r in record["runs"]} == {
        (e, lag, rate, seed) for e in ("vtrace", "uncorrected") for lag in (0, 2) for rate in rates for seed in (3, 4)
    }
    assert len(record["table"]) == len(record["runs"]) / 2
    assert record["settings"]["steps"] == 10 * ENVS * UNROLL
    assert all(8 < run["final"] < 100 for run in record["runs"])

    made = []
    monkeypatch.setattr(command, "train", lambda case: made.append(case) or {"step": [1], "final": 0.0})
    assert bench(tmp_path, "--estimators", "vtrace", "uncorrected") == 0
    assert made == []
    again = json.loads((tmp_path / "out" / "lag-part-cpu.json").read_text())
    assert again["runs"] == record["runs"]


def test_a_run_of_other_settings_is_made_again(tmp_path, monkeypatch):
    made = []
    found = {"step": [256], "episode_return": [20.0], "final": 20.0}
    monkeypatch.setattr(command, "train", lambda case: made.append(case.name) or found)
    words = ("--estimators", "ppo")
    assert bench(tmp_path, *words) == 0
    assert len(made) == 4
    other = {"ppo": ESTIMATORS["ppo"]._replace(on_policy=True)}
    monkeypatch.setitem(ESTIMATORS, "ppo", other["ppo"])
    assert bench(tmp_path, *words) == 0
    assert made[4:] == made[:4]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--estimators", "vtrase"], "vtrace"),
        (["--lags", "-1"], "--lags"),
        (["--seeds", "2", "2"], "--seeds"),
        (["--steps", "255"], "--steps"),
    ],
)
def test_mistakes_get_one_sentence(tmp_path, capsys, words, said):
    assert main(["bench", "lag", *words, "--work", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def run(rate, seed, final, returns):
    steps = [100 * (i + 1) for i in range(len(returns))]
    of = {"estimator": "vtrace", "lag": 10, "rate": rate, "seed": seed}
    return {**of, "step": steps, "episode_return": returns, "final": final}


def test_rows_summarise_seeds():
    runs = [
        run(0.1, 0, 30.0, [None, 250.0, 30.0]),
        run(0.1, 1, 50.0, [None, 199.0, 50.0]),
        run(0.2, 0, 10.0, [20.0, 199.0, 200.0]),
        run(0.2, 1, 60.0, [None, 20.0, 201.0]),
    ]
    slow, fast = rows(runs)
    assert (slow["final"], slow["least"], slow["most"], slow["reached"], slow["steps"]) == (40, 30, 50, 1, 200)
    assert (fast["final"], fast["reached"], fast["steps"]) == (35, 2, 300)
    assert (slow["best"], fast["best"], best(runs, "vtrace", 10)) == (True, False, 0.1)
    assert reached(runs[1]) is None
