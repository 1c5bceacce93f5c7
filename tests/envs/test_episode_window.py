"""What training reports of a policy that does not learn: unbiased, or withheld. Every case is enumerated."""

import itertools
import math

import pytest
import torch

from morello.envs.experience import AgentState, Rollout
from morello.envs.statistics import EpisodeStatistics

SHORT, LONG = 2, 7
P_SHORT = 0.7
RETURN = {SHORT: 1.0, LONG: -4.0}
"""A bimodal policy: whoever fails, fails late."""
TRUE = P_SHORT * RETURN[SHORT] + (1 - P_SHORT) * RETURN[LONG]


def rows(lengths, steps):
    """[steps + 1, B] of environments whose episodes have these ``lengths`` [B][...] and pay at their end; the last of
    each never ends.
    """
    B = len(lengths)
    last = torch.zeros(steps + 1, B, dtype=torch.bool)
    reward = torch.zeros(steps, B)
    for b, planned in enumerate(lengths):
        now = 0
        for length in planned:
            now += length
            if now > steps:
                break
            last[now, b], reward[now - 1, b] = True, RETURN[length]
            now += 1  # the crossing
    first = torch.cat([torch.ones(1, B, dtype=torch.bool), last[:-1]])
    return first, last, reward


def play(lengths, steps, window, unroll=1):
    """The report after each rollout."""
    first, last, reward = rows(lengths, steps)
    statistics, none = EpisodeStatistics(len(lengths), window=window), torch.zeros(0)
    for t in range(0, steps, unroll):
        more = slice(t, t + unroll + 1)
        task = torch.zeros_like(first[more], dtype=torch.int64)
        now, state = reward[t : t + unroll], AgentState((), none, none)
        discount = torch.ones_like(now)
        statistics.update(Rollout({}, first[more], last[more], task, {}, none, none, now, discount, none, state))
        yield statistics.report()


def courses(num_envs, episodes):
    """Every course of events, (probability, lengths [B][episodes])."""
    for flat in itertools.product((SHORT, LONG), repeat=num_envs * episodes):
        chance = math.prod(P_SHORT if n == SHORT else 1 - P_SHORT for n in flat)
        yield chance, [flat[b * episodes : (b + 1) * episodes] for b in range(num_envs)]


@pytest.mark.parametrize("window", [1, 2, 5])
def test_the_first_figure_is_unbiased_whatever_ends_early(window):
    """With a record at each step. Old: a mean over what had ended in the interval, which was SHORT's."""
    total = early = 0.0
    for chance, lengths in courses(num_envs=2, episodes=3):
        reports = list(play(lengths, LONG + 1, window))
        figures = [r["episode_return"] for r in reports if "episode_return" in r]
        ended = next(n for n, r in enumerate(reports) if r["episodes"])
        total += chance * figures[0]
        early += chance * (RETURN[SHORT] if ended < LONG - 1 else RETURN[LONG])
        waiting = [r.get("environments_in_first_episode", 0) for r in reports]
        assert waiting == [sum(one[0] > n for one in lengths) for n in range(1, LONG + 2)]
        assert all(("episode_return" in r) == (not n) for r, n in zip(reports, waiting, strict=True))
    assert total == pytest.approx(TRUE, abs=1e-12)
    assert early > TRUE + 1  # what ended first anywhere


@pytest.mark.parametrize("every", [1, 5])
def test_between_records_short_episodes_leave_time_for_more(every):
    """What docs/metrics.md says of the first figure of one environment."""
    total = 0.0
    for chance, lengths in courses(num_envs=1, episodes=4):
        reports = list(play(lengths, 10, window=5, unroll=every))
        total += chance * next(r["episode_return"] for r in reports if "episode_return" in r)
    short = (total - RETURN[LONG]) / (RETURN[SHORT] - RETURN[LONG])
    assert short == pytest.approx(P_SHORT if every == 1 else 0.805, abs=1e-12)


@pytest.mark.parametrize("window", [1, 2, 5])
def test_at_each_step_the_expectation_is_that_of_episodes_no_longer_than_the_run(window):
    steps = 11
    total, shown = [0.0] * steps, [0.0] * steps
    for chance, lengths in courses(num_envs=1, episodes=4):
        for n, report in enumerate(play(lengths, steps, window)):
            if "episode_return" in report:
                total[n] += chance * report["episode_return"]
                shown[n] += chance
    for n, (sum_, weight) in enumerate(zip(total, shown, strict=True), start=1):
        if n < SHORT:
            assert weight == 0
        else:
            assert weight == pytest.approx(P_SHORT if n < LONG else 1)
            assert sum_ / weight == pytest.approx(RETURN[SHORT] if n < LONG else TRUE, abs=1e-12), n


def test_environments_count_alike_however_many_episodes_they_end():
    """A mean over episodes would lean to the environment that is done with many."""
    lengths = [[SHORT] * 20, [LONG] * 20, [SHORT, LONG] * 10]
    *_, report = play(lengths, 48, window=4, unroll=12)
    by_hand = [RETURN[SHORT], RETURN[LONG], (RETURN[SHORT] + RETURN[LONG]) / 2]
    assert report["episode_return"] == pytest.approx(sum(by_hand) / 3)
    assert report["window_episodes"] == 12
    assert report["episode_return_std"] == pytest.approx((RETURN[SHORT] - RETURN[LONG]) / 2)


def test_records_hold_how_many_episodes_are_behind_their_figures():
    lengths = [[SHORT] * 20, [LONG] * 20]
    reports = list(play(lengths, 40, window=3, unroll=8))
    assert [r["episodes"] for r in reports] == [4, 3, 4, 4, 3]
    assert [r["window_episodes"] for r in reports] == [4, 5, 6, 6, 6]
    assert [r["episode_return"] for r in reports] == [pytest.approx(-1.5)] * 5


def test_a_task_waits_for_those_who_play_it_and_for_nobody_else():
    first, last, reward = rows([[SHORT] * 9, [SHORT] * 9, [LONG] * 9], 6)
    task, none = torch.tensor([[0, 0, 1]]).expand(7, -1), torch.zeros(0)
    statistics = EpisodeStatistics(3, 2)
    statistics.update(
        Rollout({}, first, last, task, {}, none, none, reward, torch.ones(6, 3), none, AgentState((), none, none))
    )
    report = statistics.report(("quick", "slow"))
    assert report == {
        "valid_steps": 14.0,
        "episodes": 4.0,
        "environments_in_first_episode": 1.0,
        "episodes/quick": 4.0,
        "window_episodes/quick": 4.0,
        "episode_return/quick": 1.0,
        "episode_return_std/quick": 0.0,
        "episode_return_min/quick": 1.0,
        "episode_return_max/quick": 1.0,
        "episode_length/quick": 2.0,
        "terminated/quick": 0.0,
        "episodes/slow": 0.0,
        "environments_in_first_episode/slow": 1.0,
    }
