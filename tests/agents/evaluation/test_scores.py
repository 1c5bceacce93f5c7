"""Scores: the intervals cover, the normalisation is the formula, the table and the file say what was played."""

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from morello.agents.evaluation.scores import Evaluation, Recorded, as_dict, normalised_score
from morello.agents.evaluation.statistics import bootstrap_means, interval, normalised
from morello.agents.evaluation.table import scores_table


def evaluation(returns, task=None, tasks=("maze",), terminated=None, goals=True):
    returns = np.asarray(returns, np.float64)
    n = len(returns)
    over = np.ones(n, bool) if terminated is None else np.asarray(terminated)
    task = np.zeros(n, np.int64) if task is None else np.asarray(task)
    defined = goals if isinstance(goals, tuple) else (goals,) * len(tasks)
    return Evaluation(returns, np.arange(1, n + 1), over, over & (returns > 2), task, tasks, defined)


def test_bootstrap_means_have_the_spread_of_the_mean():
    x = np.random.default_rng(1).exponential(size=37)
    means = bootstrap_means(x)
    assert len(means) == 5000
    assert means.mean() == pytest.approx(x.mean(), abs=3 * x.std() / math.sqrt(37 * 5000))
    assert means.std() == pytest.approx(x.std() / math.sqrt(37), rel=0.05)
    assert np.array_equal(means, bootstrap_means(x))
    assert not np.array_equal(means, bootstrap_means(x, seed=1))


def test_intervals_hold_the_true_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        low, high = interval(bootstrap_means(rng.normal(3.0, 2.0, size=31), resamples=400))
        hits += low < 3.0 < high
    assert 0.89 < hits / 300 < 0.98


def test_many_episodes_are_resampled_in_pieces():
    x = np.random.default_rng(3).normal(size=400_000)
    assert bootstrap_means(x, resamples=5).shape == (5,)
    assert bootstrap_means(x, resamples=5).std() < 0.01


def test_normalised_is_zero_for_chance_and_one_for_the_oracle():
    scores = normalised(np.array([3.0, 7.0, 5.5, -1.0]), np.array(3.0), np.array(7.0))
    np.testing.assert_allclose(scores, [0.0, 1.0, 0.625, -1.0])
    assert np.isnan(normalised(np.array(5.0), np.array(2.0), np.array(2.0)))


def test_the_interval_of_a_normalised_score_knows_that_all_three_are_estimates():
    rng = np.random.default_rng(4)
    agent = evaluation(rng.normal(5, 1, 50))
    sure = normalised_score(agent, evaluation(np.full(50, 3.0)), evaluation(np.full(50, 7.0)))
    unsure = normalised_score(agent, evaluation(3 + rng.normal(0, 2, 50)), evaluation(7 + rng.normal(0, 2, 50)))
    low, high = agent.interval
    assert sure == pytest.approx(((agent.mean - 3) / 4, (low - 3) / 4, (high - 3) / 4))
    assert unsure[2] - unsure[1] > 1.4 * (sure[2] - sure[1])
    assert all(math.isnan(x) for x in normalised_score(agent, evaluation([3.0]), evaluation([3.0])))


def test_several_tasks_count_alike_however_much_they_pay():
    tasks = ("cheap", "dear")
    agent = evaluation([0.5, 0.5, 800.0, 800.0], [0, 0, 1, 1], tasks)
    random = evaluation([0.0, 0.0, 0.0, 0.0], [0, 0, 1, 1], tasks)
    oracle = evaluation([1.0, 1.0, 1000.0, 1000.0], [0, 0, 1, 1], tasks)
    assert normalised_score(agent, random, oracle) == pytest.approx((0.65, 0.65, 0.65))
    known = Recorded.mixture({"cheap": Recorded(1.0, 1.0, 1.0, 9), "dear": Recorded(1000.0, 1000.0, 1000.0, 9)})
    assert normalised_score(agent, random, known) == pytest.approx((0.65, 0.65, 0.65))


def test_a_task_that_not_all_played_is_not_measured_by_the_others():
    tasks = ("near", "far")
    agent = evaluation([2.0, 2.0, 90.0, 90.0], [0, 0, 1, 1], tasks)
    random, oracle = evaluation([1.0, 1.0], [0, 0], tasks), evaluation([5.0, 5.0, 100.0], [0, 0, 1], tasks)
    scores = {"agent": agent, "random": random, "oracle": oracle}
    assert normalised_score(agent, random, oracle)[0] == pytest.approx(0.25)
    ratios = as_dict(scores)["normalised"]
    assert ratios.keys() == {"all", "near"}
    assert ratios["all"]["mean"] == ratios["near"]["mean"] == pytest.approx(0.25)
    assert "far" in shown(scores)


def test_what_was_recorded_is_as_uncertain_as_it_says():
    known = Recorded(10.0, 8.04, 11.96, 100)
    samples = known.resampled(seed=1)
    assert samples.mean() == pytest.approx(10, abs=0.05)
    assert samples.std() == pytest.approx(1, rel=0.05)
    assert known.as_dict() == {"mean": 10.0, "low": 8.04, "high": 11.96, "episodes": 100, "recorded": True}
    both = Recorded.mixture({"one": known, "two": Recorded(20.0, 17.06, 22.94, 30)})
    assert both.mean == 15
    assert both.episodes == 130
    assert both.high - 15 == pytest.approx(1.96 * math.hypot(1.0, 1.5) / 2)
    text = shown({"agent": evaluation([9.0, 11.0]), "random": Recorded(0.0, -1.0, 1.0, 9), "oracle": known})
    assert "random*" in text
    assert "* as recorded" in text
    assert "10.00 [8.04, 11.96]" in text
    assert "1.00 [" in text


def test_tasks_are_told_apart():
    mixed = evaluation([1.0, 5.0, 2.0, 6.0, 9.0], task=[0, 2, 0, 2, 2], tasks=("near", "unplayed", "far"))
    parts = mixed.by_task()
    assert list(parts) == ["near", "far"]
    assert parts["near"].mean == 1.5
    assert parts["far"].returns.tolist() == [5.0, 6.0, 9.0]
    assert parts["far"].lengths.tolist() == [2, 4, 5]
    assert parts["near"].success == 0
    assert parts["far"].success == 1


def shown(scores):
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(scores_table(scores, "labyrinth:maze after 12 steps"))
    return console.export_text()


def test_the_table_shows_every_policy_and_task():
    tasks = ("near", "far")
    agent = evaluation([1.0, 3.0, 5.0, 7.0], [0, 0, 1, 1], tasks)
    scores = {
        "agent": agent,
        "random": evaluation([0.0, 0.0, 2.0, 2.0], [0, 0, 1, 1], tasks),
        "oracle": evaluation([4.0, 4.0, 10.0, 10.0], [0, 0, 1, 1], tasks),
    }
    lines = {line.split()[0]: line for line in shown(scores).splitlines() if line.strip()}
    assert list(lines)[2:] == ["agent", "near", "far", "random", "oracle"]
    assert "4.00" in lines["agent"]
    assert "75%" in lines["agent"]  # three of four returned more than 2
    assert "0.50 [" in lines["agent"]  # (4 - 1) / (7 - 1)
    assert "0.50 [" in lines["near"]  # (2 - 0) / (4 - 0)
    assert "0.50 [" in lines["far"]  # (6 - 2) / (10 - 2)


def test_the_table_leaves_out_what_cannot_be_said():
    text = shown({"agent": evaluation([2.0], terminated=[False])})
    assert "normalised" not in text
    assert text.split()[-5:] == ["agent", "2.00", "1", "1", "0%"]


def test_there_is_no_success_without_a_goal():
    """Whatever pays as it ends, as CartPole does."""
    scores = {"agent": evaluation([5.0, 7.0], goals=False), "random": Recorded(0.0, -1.0, 1.0, 9)}
    assert scores["agent"].success is None
    assert "success" not in shown(scores)
    assert "success" not in as_dict(scores)["agent"]
    assert Evaluation(*(getattr(scores["agent"], k) for k in list(vars(scores["agent"]))[:-1])).success is None
    mixed = evaluation([1.0, 3.0, 3.0, 9.0], [0, 0, 1, 1], ("goal", "none"), goals=(True, False))
    assert mixed.success is None
    assert {name: part.success for name, part in mixed.by_task().items()} == {"goal": 0.5, "none": None}
    rest = {name: evaluation([0.0, 1.0, 2.0, 3.0], [0, 0, 1, 1], ("goal", "none")) for name in ("random", "oracle")}
    lines = {line.split()[0]: line for line in shown({"agent": mixed, **rest}).splitlines() if line.strip()}
    assert "50%" in lines["goal"]
    assert "%" not in lines["agent"] + lines["none"]


def test_the_file_holds_every_episode_and_only_json():
    scores = {"agent": evaluation([1.0, 4.0]), "random": evaluation([1.0, 1.0]), "oracle": evaluation([5.0, 5.0])}
    data = json.loads(json.dumps(as_dict(scores), allow_nan=False))
    assert data["agent"]["returns"] == [1.0, 4.0]
    assert data["agent"]["mean"] == 2.5
    assert data["agent"]["success"] == 0.5
    assert data["agent"]["mean_length"] == 1.5
    assert data["normalised"]["all"]["mean"] == pytest.approx(0.375)
    assert data["normalised"]["all"]["low"] == pytest.approx(0.0)
    equal = {"agent": evaluation([1.0]), "random": evaluation([1.0]), "oracle": evaluation([1.0])}
    assert as_dict(equal)["normalised"] == {}
