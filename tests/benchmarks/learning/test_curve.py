"""The training return and what is read off it, against plain loops."""

import math
import random

import numpy as np
import pytest

from morello.benchmarks.learning.curve import Curve, median_curve, moving_average, over_seeds, reached, thinned


def episodes(count=61, seed=3):
    """Ends in order, several at one step now and then, of unequal returns."""
    draw, step, found = random.Random(seed), 0, {"step": [], "seconds": [], "return": []}
    for _ in range(count):
        step += draw.choice([0, 3, 7, 11])
        found["step"].append(step)
        found["seconds"].append(step / 13)
        found["return"].append(draw.gauss(5, 4))
    return found


@pytest.mark.parametrize("window", [1, 23, 60])
def test_the_training_return_is_the_mean_of_the_episodes_in_a_window_of_steps(window):
    logged = episodes()
    curve = moving_average(logged, window)
    expected = []
    for end in sorted(set(logged["step"])):
        inside = [r for s, r in zip(logged["step"], logged["return"], strict=True) if end - window < s <= end]
        if end >= window:
            expected.append((end, end / 13, sum(inside) / len(inside)))
    assert np.allclose(np.array(curve).T, expected)


def test_without_a_full_window_there_is_no_curve():
    curve = moving_average(episodes(), 10**6)
    assert len(curve.step) == 0
    assert reached(curve, -100.0) is None
    assert moving_average({"step": [], "seconds": [], "return": []}, 1).mean.tolist() == []
    assert len(thinned(curve).step) == 0


def test_a_return_is_reached_at_the_first_point_that_is_as_high():
    curve = Curve(*map(np.array, ([10.0, 20.0, 30.0, 40.0], [1.0, 2.5, 3.0, 4.0], [1.0, 6.0, 2.0, 9.0])))
    assert reached(curve, 6.0) == (20.0, 2.5)
    assert reached(curve, 6.5) == (40.0, 4.0)
    assert reached(curve, 9.5) is None


def test_a_seed_that_never_arrives_takes_for_ever():
    assert over_seeds([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert over_seeds([3.0, None, 2.0]) == (3.0, 2.0, math.inf)
    assert over_seeds([None, None, 2.0]) == (math.inf, 2.0, math.inf)
    assert over_seeds([4.0, 1.0]) == (2.5, 1.0, 4.0)


def test_thinning_keeps_both_ends():
    x = np.arange(1000.0)
    few = thinned(Curve(x, x / 7, -x), 17)
    assert len(few.step) == 17
    assert (few.step[0], few.step[-1]) == (0, 999)
    assert np.all(np.abs(np.diff(few.step) - 999 / 16) <= 1)
    assert np.array_equal(few.mean, -few.step)
    short = Curve(x[:5], x[:5], x[:5])
    assert np.array_equal(thinned(short, 17).step, x[:5])


def test_the_median_curve_spans_what_all_seeds_have():
    """Of straight lines, whose median is the line in the middle; each has its own speed."""
    curves = []
    for slope, speed, begin, end in ((1.0, 2.0, 5, 40), (3.0, 5.0, 8, 50), (2.0, 1.0, 3, 45)):
        step = np.arange(begin, end, dtype=float)
        curves.append(Curve(step, step / speed, slope * step))
    x, median = median_curve(curves, "step")
    assert (x[0], x[-1]) == (8, 39)
    assert np.allclose(median, 2 * x)
    seconds, _ = median_curve(curves, "seconds")
    assert seconds[0] == max(5 / 2, 8 / 5, 3 / 1)
    assert seconds[-1] == min(39 / 2, 49 / 5, 44 / 1)
    assert [len(part) for part in median_curve([*curves, Curve(*[np.empty(0)] * 3)], "step")] == [0, 0]
