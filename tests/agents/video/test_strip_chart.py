"""The strip below a film: bars and lines of each stream, and what the cells of a map look like."""

import numpy as np
import pytest
import torch

import morello
from morello.agents.video.drawing import CHERRY, GOLD, STEEL
from morello.agents.video.frame import ACTIONS, TRACE_STEPS, TRACES, Moment, Picture
from morello.agents.video.strip_chart import GAP, LEFT, RIGHT, ROW, StripChart
from morello.agents.video.visits import FLOOR, HERE, Visits

FRAME = np.full((540, 960, 3), 7, np.uint8)


def moment(step, reward=0.0, value=None, **streams):
    return Moment(step, 0, reward, 0.0, False, value=value, streams=streams)


def bars(picture, row, colour):
    """Rows and columns of a stream's plot that have this colour."""
    top = 540 + ROW * row + 22
    return (picture[top : 540 + ROW * (row + 1) - GAP - 5, LEFT:RIGHT] == colour).all(-1)


def test_it_stands_below_the_frame_as_wide_as_that():
    strip = StripChart(["bonus"])
    for width in (960, 1192):
        picture = strip.draw(np.full((540, width, 3), 7, np.uint8), moment(0, bonus=(0.0, 0.0)))
        assert picture.shape == (540 + strip.height, width, 3)
        assert strip.height % 2 == 0
        assert (picture[:540] == 7).all()


def test_bars_are_as_high_as_rewards_and_in_the_row_of_their_stream():
    strip = StripChart(["near", "far"])
    for step, paid in enumerate((0.0, 1.0, 2.0)):
        picture = strip.draw(FRAME, moment(step, reward=-paid, near=(0.0, 0.0), far=(paid, np.nan)))
    pitch = (RIGHT - LEFT - 24) / TRACE_STEPS
    low, high = (bars(picture, 2, STEEL)[:, int(12 + pitch * n) + 1].sum() for n in (1, 2))
    assert high == pytest.approx(2 * low, abs=2)
    assert high > 35
    assert not bars(picture, 1, STEEL).any()
    assert bars(picture, 0, GOLD)[:, int(12 + 2 * pitch) + 1].sum() == pytest.approx(high, abs=2)


def test_values_are_lines_and_begin_anew_with_the_episode():
    strip = StripChart(["bonus"], extrinsic=False)
    for step in range(TRACE_STEPS + 50):
        picture = strip.draw(FRAME, moment(step, value=9.0, bonus=(0.0, float(step))))
    rows, columns = np.nonzero(bars(picture, 1, CHERRY))
    assert rows[columns < 60].mean() > rows[columns > 860].mean() + 5  # it rises
    assert not bars(picture, 0, CHERRY).any()  # nobody has learnt that value
    picture = strip.draw(FRAME, moment(0, bonus=(0.0, 1.0)))
    assert np.nonzero(bars(picture, 1, CHERRY))[1].max(initial=0) < 30


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_drawn_all_the_same(bad):
    strip = StripChart(["bonus"])
    for step in range(3):
        strip.draw(FRAME, moment(step, reward=bad, value=bad, bonus=(bad, bad)))


def test_actions_take_the_place_of_the_traces_that_are_below():
    pictures = [Picture(("a", "b"), traces=traces).draw(moment(0, value=1.0)) for traces in (True, False)]
    between = [picture[(ACTIONS[3] + TRACES[1]) // 2, ACTIONS[0] + 50].tolist() for picture in pictures]
    assert between[0] != between[1] == pictures[1][TRACES[1] + 50, ACTIONS[0] + 50].tolist()


def test_visits_of_the_episode_are_drawn_where_the_map_has_them():
    env = morello.make("minigrid:Empty-5x5", 1, seed=0)
    visits, now = Visits(env), env.reset()
    assert visits.draw(100) is None
    visits.add(now)  # at (1, 1), facing right
    for _ in range(2):
        now = env.step(torch.tensor([2]))
        visits.add(now)
    picture = visits.draw(100)
    unit = 100 // 5

    def at(row, column):
        return tuple(picture[row * unit + unit // 2, column * unit + unit // 2].tolist())

    assert at(1, 3) == HERE
    assert at(1, 1) == at(1, 2) != FLOOR
    assert at(2, 1) == at(3, 3) == FLOOR
    visits.add(now._replace(first=torch.tensor([True])))
    picture = visits.draw(100)
    assert at(1, 1) == FLOOR


def test_where_no_cells_are_told_there_is_nothing():
    env = morello.make("gym:CartPole-v1", 1)
    visits = Visits(env)
    visits.add(env.reset())
    assert visits.draw(100) is None
