"""Reports of throughput: the arithmetic holds, files are whole."""

import json

import pytest

from morello.benchmarks.records import write
from morello.benchmarks.throughput.tables import derived


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
