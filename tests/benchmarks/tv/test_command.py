"""``morello bench tv`` at a tiny size: its record and its errors; what a rollout pays, and how curves are judged."""

import json
import math

import pytest
import torch

from morello.__main__ import main
from morello.auxiliaries import INTRINSIC_REWARDS
from morello.benchmarks.tv.measure import UNKNOWN, Levels, levels, measure, points, signals
from morello.benchmarks.tv.rooms import Walk
from morello.benchmarks.tv.summary import ratio, summary, verdict


def bench(folder, *words):
    return main(["bench", "tv", *words, "--out", str(folder)])


def test_the_record_holds_curves_of_what_was_asked_for(tmp_path, capsys):
    assert bench(tmp_path, "count", "prediction_error/random", "--rollouts", "24") == 0
    record = json.loads((tmp_path / "tv-part-cpu.json").read_text())
    assert (tmp_path / "tv-part-cpu.png").stat().st_size > 5000
    said = capsys.readouterr().out
    assert "prediction_error/random" in said
    assert list(record["curves"]) == ["count", "prediction_error/random"]
    assert record["steps"] == [256 * (i + 1) for i in range(24)]
    for its in record["curves"].values():
        assert set(its) == {"fresh", "remote"}
    error = record["curves"]["prediction_error/random"]["fresh"]["elsewhere"]
    assert error[:16] == [None] * 16  # 4096 steps set statistics
    assert 0 < error[-1] < error[16]  # it learns
    fresh = record["table"]["count"]["fresh"]
    assert 0.5 < fresh["end"] < 1.1 * fresh["rest"]  # noise changes the mean colour of a view too little


def test_what_a_reward_pays_does_not_depend_on_the_others():
    every = signals()
    both, alone = (
        measure("fresh", {name: every[name] for name in names}, 3, 1, lambda _: None)
        for names in (["disagreement", "icm"], ["icm"])
    )
    assert both["icm"] == alone["icm"]
    assert 0 < both["icm"].metrics["accuracy"] < 1
    assert all(math.isnan(row.size) for row in both["disagreement"].curve)


def test_every_reward_is_measured():
    assert {signal.reward for signal in signals().values()} == set(INTRINSIC_REWARDS)


def test_levels_are_means_of_their_rows():
    raw = torch.tensor([[1.0, -2.0, 9.0, 7.0], [3.0, 4.0, 9.0, 8.0]])
    watching, elsewhere, _, resting = (torch.arange(4) == i for i in torch.arange(4))
    nothing, masks = torch.zeros(0), [x.expand(2, -1) for x in (watching, resting, elsewhere)]
    assert levels(raw, Walk(nothing, nothing, nothing, nothing, *masks)) == (2.0, 7.5, 1.0, 3.0)
    assert ratio(2.0, 3.0) == pytest.approx(2 / 3)
    assert ratio(0.0, 0.0) is None


def test_points_leave_out_what_was_not_paid():
    rows = [UNKNOWN] * 3 + [Levels(2.0, 7.0, 4.0, 4.0), Levels(1.0, 1.0, 1.0, 1.0), Levels(3.0, 3.0, 1.0, 1.0)]
    empty, half, whole = points(rows, 3)
    assert math.isnan(empty.size)
    assert half == (2.0, 7.0, 4.0, 4.0)
    assert whole == (2.0, 2.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ([], "none"),
        ([0.4, 1.2, 1.1], "ignored"),
        ([-0.4, -3.0], "ignored"),
        ([1.0, 1.3, 1.19], "faded"),
        ([5.0, 4.1, 3.9], "fading"),
        ([5.0, 4.0], "attracted"),
        ([1.0, 2.0, 9.0], "attracted"),
        ([1.3, 1.6, 1.5], "slight"),
    ],
)
def test_verdicts_follow_the_rule(ratios, said):
    assert verdict(ratios) == said


def test_a_summary_tells_the_start_from_the_end():
    curve = [UNKNOWN, *(Levels(8.0 / (i + 1), 0.5, 1.0, 1.0) for i in range(10))]
    found = summary(curve)
    assert found == {"start": 8.0, "highest": 8.0, "end": 0.8, "rest": 0.5, "trend": 0.1, "verdict": "faded"}
    assert summary([UNKNOWN])["verdict"] == "none"
    assert summary([Levels(0.0, 0.0, 0.0, 0.0)]) == summary([UNKNOWN])


@pytest.mark.parametrize(
    ("words", "said"),
    [(["rnb"], "rnd"), (["--rollouts", "0"], "--rollouts"), (["--seed", "-1"], "--seed")],
)
def test_mistakes_get_one_sentence(tmp_path, capsys, words, said):
    assert bench(tmp_path, *words) == 2
    assert said in capsys.readouterr().err
