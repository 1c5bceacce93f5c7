"""Episode statistics against a per-environment walk in plain Python, on random flags."""

import math

import pytest
import torch

import morello
from morello.envs.experience import AgentState
from morello.envs.rows import empty_rollout
from morello.envs.statistics import EpisodeStatistics, summary

from ..support.experience import B, K, T, experience, rollout


def walk(first, last, task, reward, discount):
    """One environment and one step after the other: of each environment a list of its episodes, each (task, return,
    length, terminated, success).
    """
    every = []
    for b in range(first.shape[1]):
        total, length, episodes = 0.0, 0, []
        for t in range(len(reward)):
            if last[t, b]:
                continue
            total, length = total + float(reward[t, b]), length + 1
            if last[t + 1, b]:
                over = float(discount[t, b]) == 0.0
                episodes.append((int(task[t, b]), total, length, over, over and float(reward[t, b]) > 0))
                total, length = 0.0, 0
        every.append(episodes)
    return every


def mean(values):
    return sum(values) / len(values) if values else math.nan


def expected(environments, window, k=None):
    """Of task k, or of all: the mean over environments of the mean over their last episodes."""
    last = [[e for e in episodes[-window:] if k in (None, e[0])] for episodes in environments]
    last = [episodes for episodes in last if episodes]

    def each_alike(of):
        return mean([mean([of(e) for e in episodes]) for episodes in last])

    average = each_alike(lambda e: e[1])
    returns = [e[1] for episodes in last for e in episodes]
    return {
        "episodes": sum(k in (None, e[0]) for episodes in environments for e in episodes),
        "window": len(returns),
        "return": average,
        "return_std": math.sqrt(each_alike(lambda e: (e[1] - average) ** 2)) if last else math.nan,
        "return_min": min(returns, default=math.inf),
        "return_max": max(returns, default=-math.inf),
        "length": each_alike(lambda e: e[2]),
        "terminated": each_alike(lambda e: e[3]),
        "success": each_alike(lambda e: e[4]),
    }


@pytest.mark.parametrize("window", [1, 2, 3, 100])
def test_agrees_with_a_walk_through_every_episode(window):
    data = experience(seed=1)
    statistics = EpisodeStatistics(B, K, window=window)
    statistics.update(rollout(*data))
    drained, environments = statistics.drain(), walk(*data)
    assert min(map(len, environments)) > 3
    assert len({len(episodes) for episodes in environments}) > 3
    for row, k in enumerate((None, *range(K))):
        for name, value in expected(environments, window, k).items():
            assert float(drained[name][row]) == pytest.approx(value, abs=1e-9, nan_ok=True), (name, k)
    assert int(drained["valid_steps"]) == int((~data[1][:-1]).sum())
    assert drained["pending"].tolist() == [0] * (1 + K)


def test_a_window_holds_as_many_episodes_as_make_a_hundred():
    assert [EpisodeStatistics(n).window for n in (1, 7, 16, 64, 100, 101, 4096)] == [100, 15, 7, 2, 1, 1, 1]


@pytest.mark.parametrize("cuts", [[17], [1, 2, 3, 30], list(range(1, T))])
def test_rollouts_may_be_cut_anywhere(cuts):
    data = experience(seed=2)
    whole, parts = EpisodeStatistics(B, K), EpisodeStatistics(B, K)
    whole.update(rollout(*data))
    for a, b in zip([0, *cuts], [*cuts, T], strict=True):
        parts.update(rollout(*data, rows=slice(a, b)))
    one, many = whole.drain(), parts.drain()
    for name in one:
        torch.testing.assert_close(many[name], one[name], rtol=0, atol=0, equal_nan=True)


def test_what_is_left_of_a_crossing_row_is_never_read():
    first, last, task, reward, discount = experience(seed=3)
    clean, poisoned = EpisodeStatistics(B, K), EpisodeStatistics(B, K)
    clean.update(rollout(first, last, task, reward, discount))
    reward[last[:-1]], discount[last[:-1]] = torch.nan, torch.nan
    poisoned.update(rollout(first, last, task, reward, discount))
    expected = clean.drain()
    for name, value in poisoned.drain().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)


def test_an_episode_of_no_steps_is_none():
    first, last = torch.tensor([[1], [0], [1], [1]]).bool(), torch.tensor([[0], [1], [1], [0]]).bool()
    statistics = EpisodeStatistics(1)
    statistics.update(rollout(first, last, torch.zeros(4, 1).long(), torch.full((3, 1), 2.0), torch.ones(3, 1)))
    drained = statistics.drain()
    assert [drained[name].tolist() for name in ("episodes", "return", "length")] == [[1, 1], [2, 2], [1, 1]]
    assert int(drained["valid_steps"]) == 1


def test_drains_add_up_and_the_total_of_steps_and_the_window_stay():
    data = experience(seed=4)
    statistics = EpisodeStatistics(B, K)
    statistics.update(rollout(*data, rows=slice(0, 19)))
    before = statistics.drain()
    statistics.update(rollout(*data, rows=slice(19, T)))
    kept = before["episodes"].clone()
    after = statistics.drain()
    assert torch.equal(before["episodes"], kept)  # what was drained is the caller's
    assert int((before["episodes"] + after["episodes"])[0]) == sum(map(len, walk(*data)))
    assert int(after["valid_steps"]) == int((~data[1][:-1]).sum()) > int(before["valid_steps"]) > 0
    again = statistics.drain()
    assert not again.pop("episodes").any()
    assert all(torch.equal(value, after[name]) for name, value in again.items())


def test_resumes_to_the_bit_what_was_not_yet_drained_included():
    data = experience(seed=5)
    statistics = EpisodeStatistics(B, K, window=2)
    statistics.update(rollout(*data, rows=slice(0, 23)))
    saved = statistics.state_dict()
    statistics.update(rollout(*data, rows=slice(23, T)))
    resumed = EpisodeStatistics(B, K, window=2)
    resumed.load_state_dict(saved)
    resumed.update(rollout(*data, rows=slice(23, T)))
    expected = statistics.drain()
    for name, value in resumed.drain().items():
        assert torch.equal(value, expected[name]), name


def test_nothing_is_read_by_the_host():
    """A tensor without memory has nothing to read: whoever asks raises."""
    data = [x.to("meta") for x in experience(seed=9)]
    statistics = EpisodeStatistics(B, K, "meta")
    for _ in range(2):
        statistics.update(rollout(*data))
        drained = statistics.drain()
    assert {v.shape for name, v in drained.items() if name != "valid_steps"} == {(1 + K,)}


def test_an_environment_that_began_anew_drops_its_unfinished_episode():
    first, last, task, reward, discount = data = experience(seed=6)
    statistics = EpisodeStatistics(B, K, window=T)
    begun = rollout(first, torch.zeros_like(last), task, reward + 100, discount, rows=slice(0, 5))
    statistics.update(begun)  # nothing ended: five steps of an episode that a restart then forgets
    statistics.update(rollout(*data))
    assert float(statistics.drain()["return"][0]) == pytest.approx(expected(walk(*data), T)["return"])


def test_summary_names_means_and_leaves_out_what_did_not_happen():
    data = experience(seed=7)
    tasks = ("near", "far", "unplayed")
    data[2].clamp_(max=1)
    statistics = EpisodeStatistics(B, K, window=5)
    statistics.update(rollout(*data))
    drained, environments = statistics.drain(), walk(*data)
    metrics = summary(drained, tasks, (False, True, True))
    for k, suffix in ((None, ""), (0, "/near"), (1, "/far")):
        found = expected(environments, 5, k)
        counts = {f"episodes{suffix}": found["episodes"], f"window_episodes{suffix}": found["window"]}
        means = {f"episode_{name}{suffix}": found[name] for name in found if name.startswith(("return", "length"))}
        means[f"terminated{suffix}"] = found["terminated"]
        for name, value in (counts | means).items():
            assert metrics.pop(name) == pytest.approx(value), name
    assert metrics.pop("success/far") == pytest.approx(expected(environments, 5, 1)["success"])
    # Nobody knows what success is near, hence on the whole either.
    assert metrics == {"valid_steps": int((~data[1][:-1]).sum()), "episodes/unplayed": 0}
    assert "success" in summary(drained, tasks, (True, True, True))
    assert not any("success" in name for name in summary(drained, tasks))


def test_counts_what_the_counting_environment_plays():
    """Its lengths and returns are known; environments 3 to 7, through rollouts of 13 rows."""
    env = morello.make("counting:steps", 5, env_offset=3)
    statistics, done = EpisodeStatistics(5, 2), [0] * 5
    buffer = empty_rollout(env.spec, env.reset(), 13, AgentState((), torch.zeros(5), torch.zeros(5)))
    buffer.first[0], buffer.last[0], buffer.task[0] = True, False, torch.arange(3, 8) % 2
    for _ in range(7):
        for t in range(13):
            env.step(torch.zeros(5, dtype=torch.int64), out=buffer.row(t + 1))
        statistics.update(buffer)
        for rows in (buffer.first, buffer.last, buffer.task):
            rows[0] = rows[-1]
    lengths = [3 + (5 * i) % 7 for i in range(3, 8)]
    done = [(7 * 13 + 1) // (n + 1) for n in lengths]  # n steps and the crossing
    returns = [100 * (i + 1) * n + n * (n + 1) / 2 for i, n in zip(range(3, 8), lengths, strict=True)]
    drained = statistics.drain()
    for k in range(2):
        mine = [b for b in range(5) if (b + 3) % 2 == k]
        assert int(drained["episodes"][1 + k]) == sum(done[b] for b in mine)
        assert float(drained["return"][1 + k]) == pytest.approx(mean([returns[b] for b in mine]))
        assert float(drained["length"][1 + k]) == pytest.approx(mean([lengths[b] for b in mine]))
        assert float(drained["terminated"][1 + k]) == pytest.approx(0 if k else 1)
        assert float(drained["return_max"][1 + k]) == max(returns[b] for b in mine)
    assert int(drained["valid_steps"]) == sum(7 * 13 - 7 * 13 // (n + 1) for n in lengths)


def test_a_report_is_the_summary_of_a_drain():
    data = experience(seed=8)
    one, two = EpisodeStatistics(B, K), EpisodeStatistics(B, K)
    for statistics in (one, two):
        statistics.update(rollout(*data))
    tasks, success = ("near", "far", "farther"), (True, False, True)
    assert one.report(tasks, success) == summary(two.drain(), tasks, success)
    assert one.report(tasks, success) == summary(two.drain(), tasks, success)
