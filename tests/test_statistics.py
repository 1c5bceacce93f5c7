"""Episode statistics against a per-environment walk in plain Python, on random flags."""

import math

import pytest
import torch

import morello
from morello.envs.experience import AgentState, Rollout, empty_rollout
from morello.envs.statistics import EpisodeStatistics, summary

T, B, K = 53, 7, 3


def experience(seed, T=T, B=B, K=K):
    """[T + 1, B] rows as an environment would give them: crossings, terminations, time limits, lost lives."""
    rng = torch.Generator().manual_seed(seed)

    def chance(p):
        return torch.rand(T + 1, B, generator=rng) < p

    last = chance(0.2)
    last[0] = False
    for t in range(1, T + 1):
        last[t] &= ~last[t - 1]  # an episode has at least one transition here
    first = torch.zeros_like(last)
    first[0] = True
    first[1:] = last[:-1]
    task = torch.zeros(T + 1, B, dtype=torch.int64)
    task[0] = torch.randint(K, (B,), generator=rng)
    for t in range(1, T + 1):
        task[t] = torch.where(first[t], torch.randint(K, (B,), generator=rng), task[t - 1])
    reward = torch.where(chance(0.3)[:-1], 0.0, torch.randn(T, B, generator=rng) + 0.3)
    discount = torch.where(chance(0.5)[:-1], 0.0, 1.0)  # also 0 without last: a lost life
    reward[last[:-1]], discount[last[:-1]] = 0.0, 1.0
    return first, last, task, reward, discount


def rollout(first, last, task, reward, discount, rows=slice(None)):
    start, stop, _ = rows.indices(len(reward))
    more = slice(start, stop + 1)
    none = torch.zeros(0)
    state = AgentState((), none, none)
    return Rollout({}, first[more], last[more], task[more], {}, none, none, reward[rows], discount[rows], none, state)


def walk(first, last, task, reward, discount):
    """One environment and one step after the other: (task, return, length, terminated, success) of each
    episode.
    """
    episodes = []
    for b in range(first.shape[1]):
        total, length = 0.0, 0
        for t in range(len(reward)):
            if last[t, b]:
                continue
            total, length = total + float(reward[t, b]), length + 1
            if last[t + 1, b]:
                over = float(discount[t, b]) == 0.0
                episodes.append((int(task[t, b]), total, length, over, over and float(reward[t, b]) > 0))
                total, length = 0.0, 0
    return episodes


def expected(episodes, k):
    mine = [e for e in episodes if e[0] == k]
    returns = [e[1] for e in mine]
    return {
        "episodes": len(mine),
        "return": sum(returns),
        "return_square": sum(r * r for r in returns),
        "length": sum(e[2] for e in mine),
        "terminated": sum(e[3] for e in mine),
        "success": sum(e[4] for e in mine),
        "return_min": min(returns, default=math.inf),
        "return_max": max(returns, default=-math.inf),
    }


def test_agrees_with_a_walk_through_every_episode():
    data = experience(seed=1)
    statistics = EpisodeStatistics(B, K)
    statistics.update(rollout(*data))
    drained, episodes = statistics.drain(), walk(*data)
    assert len(episodes) > 40
    for k in range(K):
        for name, value in expected(episodes, k).items():
            assert float(drained[name][k]) == pytest.approx(value, abs=1e-9), (name, k)
    assert int(drained["valid_steps"]) == int((~data[1][:-1]).sum())


@pytest.mark.parametrize("cuts", [[17], [1, 2, 3, 30], list(range(1, T))])
def test_rollouts_may_be_cut_anywhere(cuts):
    data = experience(seed=2)
    whole, parts = EpisodeStatistics(B, K), EpisodeStatistics(B, K)
    whole.update(rollout(*data))
    for a, b in zip([0, *cuts], [*cuts, T], strict=True):
        parts.update(rollout(*data, rows=slice(a, b)))
    one, many = whole.drain(), parts.drain()
    for name in one:
        exact = name not in ("return", "return_square")  # these add up over environments in another order
        torch.testing.assert_close(many[name], one[name], rtol=0 if exact else 1e-14, atol=0)


def test_what_is_left_of_a_crossing_row_is_never_read():
    first, last, task, reward, discount = experience(seed=3)
    clean, poisoned = EpisodeStatistics(B, K), EpisodeStatistics(B, K)
    clean.update(rollout(first, last, task, reward, discount))
    reward[last[:-1]], discount[last[:-1]] = torch.nan, torch.nan
    poisoned.update(rollout(first, last, task, reward, discount))
    expected = clean.drain()
    for name, value in poisoned.drain().items():
        assert torch.equal(value, expected[name]), name


def test_an_episode_of_no_steps_is_none():
    first, last = torch.tensor([[1], [0], [1], [1]]).bool(), torch.tensor([[0], [1], [1], [0]]).bool()
    statistics = EpisodeStatistics(1)
    statistics.update(rollout(first, last, torch.zeros(4, 1).long(), torch.full((3, 1), 2.0), torch.ones(3, 1)))
    drained = statistics.drain()
    assert [float(drained[name]) for name in ("episodes", "return", "length")] == [1, 2, 1]
    assert int(drained["valid_steps"]) == 1


def test_drains_add_up_and_the_total_of_steps_stays():
    data = experience(seed=4)
    statistics = EpisodeStatistics(B, K)
    statistics.update(rollout(*data, rows=slice(0, 19)))
    before = statistics.drain()
    statistics.update(rollout(*data, rows=slice(19, T)))
    kept = before["episodes"].clone()
    after = statistics.drain()
    assert torch.equal(before["episodes"], kept)  # what was drained is the caller's
    assert float((before["episodes"] + after["episodes"]).sum()) == len(walk(*data))
    assert int(after["valid_steps"]) == int((~data[1][:-1]).sum()) > int(before["valid_steps"]) > 0
    empty = statistics.drain()
    assert float(empty["episodes"].sum()) == 0
    assert torch.isinf(empty["return_min"]).all()


def test_resumes_to_the_bit_undrained_sums_included():
    data = experience(seed=5)
    statistics = EpisodeStatistics(B, K)
    statistics.update(rollout(*data, rows=slice(0, 23)))
    saved = statistics.state_dict()
    statistics.update(rollout(*data, rows=slice(23, T)))
    resumed = EpisodeStatistics(B, K)
    resumed.load_state_dict(saved)
    resumed.update(rollout(*data, rows=slice(23, T)))
    expected = statistics.drain()
    for name, value in resumed.drain().items():
        assert torch.equal(value, expected[name]), name


def test_an_environment_that_began_anew_drops_its_unfinished_episode():
    first, last, task, reward, discount = experience(seed=6)
    statistics = EpisodeStatistics(B, K)
    begun = rollout(first, torch.zeros_like(last), task, reward + 100, discount, rows=slice(0, 5))
    statistics.update(begun)  # nothing ended: five steps of an episode that a restart then forgets
    statistics.update(rollout(first, last, task, reward, discount))
    drained = statistics.drain()
    assert float(drained["return"].sum()) == pytest.approx(sum(e[1] for e in walk(first, last, task, reward, discount)))


def test_summary_names_means_and_leaves_out_what_did_not_happen():
    data = experience(seed=7)
    tasks = ("near", "far", "unplayed")
    data[2].clamp_(max=1)
    statistics = EpisodeStatistics(B, K)
    assert summary(statistics.drain(), tasks) == {"episodes": 0, "valid_steps": 0}
    statistics.update(rollout(*data))
    metrics, episodes = summary(statistics.drain(), tasks), walk(*data)
    returns = torch.tensor([e[1] for e in episodes], dtype=torch.float64)
    assert metrics["episodes"] == len(episodes)
    assert metrics["episode_return"] == pytest.approx(float(returns.mean()))
    assert metrics["episode_return_std"] == pytest.approx(float(returns.std(correction=0)))
    assert metrics["episode_return_min"] == pytest.approx(float(returns.min()))
    assert metrics["episode_return_max"] == pytest.approx(float(returns.max()))
    assert metrics["episode_length"] == pytest.approx(sum(e[2] for e in episodes) / len(episodes))
    assert metrics["terminated"] == pytest.approx(sum(e[3] for e in episodes) / len(episodes))
    assert metrics["success"] == pytest.approx(sum(e[4] for e in episodes) / len(episodes))
    far = [e[1] for e in episodes if e[0] == 1]
    assert metrics["episode_return/far"] == pytest.approx(sum(far) / len(far))
    assert "episode_return/unplayed" not in metrics


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
        assert float(drained["episodes"][k]) == sum(done[b] for b in mine)
        assert float(drained["return"][k]) == sum(done[b] * returns[b] for b in mine)
        assert float(drained["length"][k]) == sum(done[b] * lengths[b] for b in mine)
        assert float(drained["terminated"][k]) == (0 if k else sum(done[b] for b in mine))
        assert float(drained["return_max"][k]) == max(returns[b] for b in mine)
    assert int(drained["valid_steps"]) == sum(7 * 13 - 7 * 13 // (n + 1) for n in lengths)


def test_a_report_is_the_summary_of_a_drain():
    data = experience(seed=8)
    one, two = EpisodeStatistics(B, K), EpisodeStatistics(B, K)
    for statistics in (one, two):
        statistics.update(rollout(*data))
    tasks = ("near", "far", "farther")
    assert one.report(tasks) == summary(two.drain(), tasks)
    assert one.report(tasks) == {"episodes": 0, "valid_steps": two.report(tasks)["valid_steps"]}
