"""Learning-progress monitoring: its ring against a list, which model is the previous one, noise and what is learnt."""

import copy
import math

import pytest
import torch

from morello.auxiliaries.intrinsic.lpm import LPM, LPMConfig, log_error
from morello.auxiliaries.intrinsic.parts.error_ring import Ring, places
from morello.auxiliaries.reduction import reduce
from morello.backbones import Sizes

from ...support.figures import figures
from ...support.rewards import NOTHING
from ...support.rollouts import rollout, spec

T, B, A, V, N = 13, 7, 3, 5, 211
BOTH = spec(image=(23, 29, 3), vector=V, actions=A)
VECTOR = spec(vector=V, actions=A)


def built(world, seed=0, **settings):
    torch.manual_seed(seed)
    settings = {"size": 11, "hidden": 17, "blocks": 1, "ring": 101, **settings}
    reward = LPM(LPMConfig(**settings), world, Sizes(None, 5, 7))
    reward.warm_up(rollout(world, 11, 7, seed=99))
    return reward


def snapshot(reward):
    return {name: x.clone() for name, x in reward.state_dict().items()}


def scored_of(reward, seen, observe=True):
    with torch.no_grad():
        scored = reward.score(seen, NOTHING, ())
        if observe:
            reward.observe(seen, NOTHING, scored)
    return scored


def test_the_error_is_the_logarithm_of_a_mean_and_has_a_floor():
    guess, target = torch.tensor([[1.0, 2.0], [3.0, 3.0]]), torch.tensor([[1.0, 0.0], [3.0, 3.0]])
    torch.testing.assert_close(log_error(guess, target, 0.5), torch.tensor([math.log(2.5), math.log(0.5)]))


@pytest.mark.parametrize("size", [3, 17, 101, 1009])
def test_the_ring_is_a_list_of_the_newest(size):
    """Smaller than a rollout, larger, and never filled; rows that cross resets never enter."""
    ring, expected = Ring(size, 2), []
    for seed in range(7):
        g = torch.Generator().manual_seed(seed)
        valid = torch.rand(T, B, generator=g) < 0.7
        phi, error = torch.randn(T, B, 2, generator=g), torch.randn(T, B, generator=g)
        action = torch.randint(A, (T, B), generator=g)
        ring.add(phi, action, torch.where(valid, error, torch.nan), valid)
        for t, b in valid.nonzero().tolist():
            expected.append((phi[t, b].tolist(), action[t, b].item(), error[t, b].item()))
        expected = expected[-size:]
        count = len(expected)
        assert int(ring.filled.sum()) == count
        mine = zip(ring.phi[:count].tolist(), ring.action[:count].tolist(), ring.error[:count].tolist(), strict=True)
        assert sorted(mine) == sorted(expected)
        assert ring.mean.item() == pytest.approx(sum(error for *_, error in expected) / count, abs=1e-5)
        drawn = ring.sample(1000, torch.Generator().manual_seed(seed))
        mine = list(zip(*(x.tolist() for x in drawn), strict=True))
        assert all(entry in expected for entry in mine)
        assert len({entry[2] for entry in mine}) > 0.6 * min(count, 1000)


def test_no_place_of_the_ring_is_written_twice():
    """On a GPU the older of two might win."""
    valid = torch.tensor([True, False, True, True, True, False, True])
    assert places(valid, torch.tensor(4), 3).tolist() == [3, 3, 3, 0, 1, 3, 2]
    assert places(valid, torch.tensor(4), 7).tolist() == [4, 7, 5, 6, 0, 7, 1]


def test_an_empty_ring_has_no_mean_and_draws_zeros():
    ring = Ring(7, 2)
    ring.add(torch.ones(T, B, 2), torch.ones(T, B), torch.ones(T, B), torch.zeros(T, B, dtype=torch.bool))
    assert ring.mean == 0
    assert int(ring.seen) == 0
    assert not ring.sample(5, torch.Generator())[2].any()


def test_scores_one_by_one():
    """0 before there is a previous model; then what is expected of it, less the present error."""
    reward, seen = built(BOTH), rollout(BOTH, T, B, seed=3)
    assert not scored_of(reward, seen).raw.any()
    scored = scored_of(reward, rollout(BOTH, T, B, seed=4), observe=False).raw
    seen = rollout(BOTH, T, B, seed=4)

    def phi(t, b):
        views = reward.view({name: x[t : t + 1, b : b + 1] for name, x in seen.observation.items()})
        z = reward.embedding(reward.whitening(views))[0]
        return (z - z.mean()) / (z.var(correction=0) + 1e-5).sqrt()

    mean = sum(reward.ring.error[: min(101, int(reward.ring.seen))].tolist()) / min(101, int(reward.ring.seen))
    assert not seen.valid.all()
    with torch.no_grad():
        for t, b in seen.valid.nonzero().tolist():
            action = seen.action[t, b]
            guess = reward.dynamics(phi(t, b).unsqueeze(0), action.view(1))[0, 0]
            error = math.log(sum(x**2 for x in (guess - phi(t + 1, b)).tolist()) / 11 + 0.01)
            done = torch.tensor([float(action == i) for i in range(A)])
            expected = mean + reward.expectation(torch.cat([phi(t, b), done])).item()
            assert scored[t, b].item() == pytest.approx(expected - error, abs=1e-3)


def test_nothing_is_read_across_a_reset():
    reward, seen = built(BOTH), rollout(BOTH, T, B, seed=3)
    scored_of(reward, rollout(BOTH, T, B, seed=4))
    found = []
    for one in (seen, seen._replace(action=torch.where(seen.valid, seen.action, 10**9))):
        fresh = copy.deepcopy(reward)
        scored = scored_of(fresh, one)
        assert int(fresh.ring.seen) == int(reward.ring.seen + seen.valid.sum())
        value, mask = fresh(one, NOTHING, scored)
        assert torch.equal(mask[0], seen.valid)
        reduce(value, mask).backward()
        gradient = torch.cat([p.grad.flatten() for p in fresh.parameters() if p.grad is not None])
        assert gradient.isfinite().all()
        found.append((scored.raw[seen.valid], gradient, fresh.ring.error[:-1]))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_neither_neighbours_nor_a_cut_matter_and_scoring_changes_nothing():
    reward, seen = built(VECTOR), rollout(VECTOR, T, B, seed=3)
    scored_of(reward, rollout(VECTOR, T, B, seed=4))
    before = snapshot(reward)
    whole = scored_of(reward, seen, observe=False).raw
    after = snapshot(reward)
    assert all(torch.equal(before[name], after[name]) for name in before)
    names = ("first", "last", "task", "action", "reward", "discount")
    column = {k: getattr(seen, k)[:, 2:3] for k in names}
    alone = seen._replace(observation={k: x[:, 2:3] for k, x in seen.observation.items()}, **column)
    torch.testing.assert_close(scored_of(reward, alone, observe=False).raw, whole[:, 2:3])
    halves = []
    for begin, end in ((0, 6), (6, T)):
        rows = {k: x[begin : end + 1] for k, x in seen.observation.items()}
        ends = {k: getattr(seen, k)[begin : end + 1] for k in names[:3]}
        steps = {k: getattr(seen, k)[begin:end] for k in names[3:]}
        halves.append(scored_of(reward, seen._replace(observation=rows, **ends, **steps), observe=False).raw)
    torch.testing.assert_close(torch.cat(halves), whole)


class Life:
    """A reward that scores, observes and learns, rollout by rollout, in ``epochs`` passes over each."""

    def __init__(self, reward, at, rate=1e-2, epochs=1):
        self.reward, self.at, self.epochs = reward, at, epochs
        self.optimizer = torch.optim.Adam([p for p in reward.parameters() if p.requires_grad], rate)

    def __call__(self, update):
        seen = self.at(update)
        scored = scored_of(self.reward, seen)
        for _ in range(self.epochs):
            self.optimizer.zero_grad()
            reduce(*self.reward(seen, NOTHING, scored)).backward()
            self.optimizer.step()
        return scored


def test_the_previous_model_is_that_which_scored_the_rollout_before():
    """However many updates there were since: the ring holds its errors, on transitions it had not learnt from."""
    reward = built(VECTOR, ring=T * B)
    live = Life(reward, lambda update: rollout(VECTOR, T, B, seed=update, ends=0), epochs=3)
    live(0)
    scorer = copy.deepcopy(reward)  # of rollout 1
    live(1)
    assert not torch.equal(scorer.dynamics.enter.weight, reward.dynamics.enter.weight)
    seen = rollout(VECTOR, T, B, seed=1, ends=0)
    with torch.no_grad():
        expected = scorer.error(scorer.embed(seen), seen.action)
    torch.testing.assert_close(reward.ring.error[:-1].sort().values, expected.flatten().sort().values)


def test_a_restart_goes_on_alike():
    lives = [Life(built(VECTOR, seed=seed), lambda update: rollout(VECTOR, T, B, seed=update)) for seed in (0, 1)]
    for update in range(3):
        lives[0](update)
    lives[1].reward.load_state_dict(lives[0].reward.state_dict())
    lives[1].optimizer.load_state_dict(copy.deepcopy(lives[0].optimizer.state_dict()))
    for update in (3, 4):
        assert torch.equal(lives[0](update).raw, lives[1](update).raw)


def worlds(update):
    """Action 0 shows noise, action 1 turns what is seen, which can be learnt; action 2 does not occur."""
    seen, own = rollout(VECTOR, 1, N, update, ends=0), torch.Generator().manual_seed(update)
    before, noise = torch.randn(2, N, V, generator=own)
    action = torch.randint(2, (1, N), generator=own)
    after = torch.where((action[0] == 0).unsqueeze(-1), noise, before.roll(1, -1))
    return seen._replace(action=action, observation={"vector": torch.stack([before, after])})


def test_noise_is_worth_nothing_and_what_can_be_learnt_is_as_long_as_it_is_being_learnt():
    """Where prediction error pays noise most. Rewards of an update vary: means over many."""
    reward = built(VECTOR, hidden=48, ring=1013)
    reward.warm_up(worlds(10**6))
    live, noise, learnt, errors = Life(reward, worlds, rate=3e-3), [], [], []
    for update in range(500):
        if update == 350:
            live.optimizer.param_groups[0]["lr"] = 3e-4
        seen, scored = worlds(update), live(update)
        noise.append(scored.raw[seen.action == 0].mean())
        learnt.append(scored.raw[seen.action == 1].mean())
        errors.append([scored.context.error[seen.action == a].mean() for a in (0, 1)])
    noise, learnt = torch.stack(noise), torch.stack(learnt)
    assert learnt[5:150].mean() > 0.05
    assert learnt[5:150].mean() > 5 * noise[50:150].mean().abs()
    assert learnt[-100:].mean().abs() < 0.02
    assert noise[-100:].mean().abs() < 0.02
    late = torch.tensor(errors[-50:]).mean(0)
    assert late[0] > late[1] + 1.5  # the noise is still there
    assert figures(reward)["expectation"] > 0.5
    assert figures(reward)["ring"] == 1


def test_the_more_there_is_to_learn_the_more_is_paid():
    """Of actions whose outcome is noise, half noise and half a turn, or a turn alone, in total over the learning."""

    def worlds(update):
        seen, own = rollout(VECTOR, 1, N, update, ends=0), torch.Generator().manual_seed(update)
        before, noise = torch.randn(2, N, V, generator=own)
        action = torch.randint(3, (1, N), generator=own)
        known = torch.arange(V) < torch.tensor([0, 3, V])[action[0]].unsqueeze(-1)
        after = torch.where(known, before.roll(1, -1), noise)
        return seen._replace(action=action, observation={"vector": torch.stack([before, after])})

    reward = built(VECTOR, hidden=48, ring=1013)
    reward.warm_up(worlds(10**6))
    live, paid = Life(reward, worlds, rate=3e-3), torch.zeros(3)
    for update in range(200):
        seen, raw = worlds(update), live(update).raw
        paid += torch.stack([raw[seen.action == a].mean() for a in range(3)])
    assert paid[0] < 0  # learning of the others disturbs what was best for noise
    assert paid[1] > paid[0] + 5
    assert paid[2] > paid[1] + 10
