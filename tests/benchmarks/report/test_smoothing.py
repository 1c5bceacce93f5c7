"""What is drawn of curves, those of earlier versions too."""

from pathlib import Path

import numpy as np
import pytest

from morello.__main__ import main
from morello.benchmarks.report.smoothing import drawn, margin, trailing_mean

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def test_a_trailing_mean_counts_every_episode_once():
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 60, size=83)
    counts[:2] = 7, 0
    episodes = [rng.normal(size=n) for n in counts]
    means = np.array([e.mean() if len(e) else 5.0 for e in episodes])
    found, behind = trailing_mean(means, counts.astype(float), 100)
    for i in range(len(counts)):
        begin = i
        while begin > 0 and counts[begin : i + 1].sum() < 100:
            begin -= 1
        while counts[begin : i + 1].sum() > 0 and counts[begin] == 0:
            begin += 1
        each = np.concatenate(episodes[begin : i + 1])
        assert behind[i] == len(each)
        assert found[i] == pytest.approx(each.mean())


def test_records_of_a_window_are_drawn_as_they_are():
    curve = {"step": [1, 2, 3], "episode_return": [1.0, 5.0, 3.0], "episodes": [2, 0, 90]}
    steps, returns = drawn(curve | {"window_episodes": [100, 100, 101]})
    assert (steps.tolist(), returns.tolist()) == ([1, 2, 3], [1, 5, 3])
    steps, returns = drawn({k: v for k, v in curve.items() if k != "episodes"})
    assert (steps.tolist(), returns.tolist()) == ([1, 2, 3], [1, 5, 3])


def test_records_of_an_interval_are_averaged_by_their_episodes_and_begin_where_there_are_enough():
    """The first records of a policy that does not learn: only early finishers."""
    curve = {"step": [1, 2, 3, 4, 5], "episode_return": [1.0, 0.06, 0.67, 0.08, 0.02], "episodes": [5, 66, 6, 64, 52]}
    steps, returns = drawn(curve)
    assert steps.tolist() == [4, 5]
    assert returns.tolist() == [
        pytest.approx((66 * 0.06 + 6 * 0.67 + 64 * 0.08) / 136),
        pytest.approx((64 * 0.08 + 52 * 0.02) / 116),
    ]
    few = {"step": [1, 2], "episode_return": [1.0, 3.0], "episodes": [1, 3]}
    steps, returns = drawn(few)
    assert (steps.tolist(), returns.tolist()) == ([2], [2.5])


def test_a_mean_is_as_sure_as_its_episodes_make_it():
    curve = {"step": [1, 2], "episode_return": [1.0, 5.0], "episode_return_std": [2.0, 3.0]}
    assert margin(curve) is None
    assert margin(curve | {"window_episodes": [4, 100]}).tolist() == [pytest.approx(1.96), pytest.approx(0.588)]
    assert np.isnan(margin(curve | {"window_episodes": [1, 100]})).tolist() == [True, False]


@pytest.mark.parametrize("path", sorted(RESULTS.glob("learning-*.json")), ids=lambda path: path.stem)
def test_every_stored_record_is_still_drawn(path, tmp_path, capsys):
    assert main(["bench", "curves", str(path), "--out", str(tmp_path)]) == 0
    (picture,) = tmp_path.glob("*.png")
    assert picture.stat().st_size > 5000
