"""ETD: a quasimetric, whose order is that of steps once it has learnt, and the nearest state of the episode in it."""

import copy
import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from morello.auxiliaries.intrinsic import etd
from morello.auxiliaries.intrinsic.etd import ETD, ETDConfig, contrast, offset_of, quasimetric, steps_left
from morello.auxiliaries.reduction import reduce
from morello.backbones import Sizes

from ...support.figures import figures
from ...support.rewards import NOTHING, UNSCORED
from ...support.rollouts import rollout, spec
from ...support.screens import WORLD as BESIDE
from ...support.screens import pulls

T, B, V = 11, 5, 3
SPEC, SIZES = spec(vector=V), Sizes(None, 7, 11)


def build(shown=SPEC, seed=0, **options):
    torch.manual_seed(seed)
    return ETD(ETDConfig(**{"size": 6, "hidden": 13, **options}), shown, SIZES)


def piece(played, begin, end):
    """Steps ``begin`` to ``end`` of a rollout."""
    rows, steps = slice(begin, end + 1), slice(begin, end)
    return played._replace(
        observation={k: x[rows] for k, x in played.observation.items()},
        **{k: getattr(played, k)[rows] for k in ("first", "last", "task", "skill")},
        **{k: getattr(played, k)[steps] for k in ("action", "logits", "reward", "discount")},
    )


def column(played, b):
    """One environment of a rollout."""
    one = slice(b, b + 1)
    return played._replace(
        observation={k: x[:, one] for k, x in played.observation.items()},
        **{k: getattr(played, k)[:, one] for k in ("first", "last", "task", "skill", "action", "reward", "discount")},
    )


def scored_in_pieces(module, played, *cuts):
    """The bonus of a rollout that came in pieces."""
    state, found, bounds = module.initial_state(played.action.shape[1]), [], [0, *cuts, len(played.action)]
    for begin, end in itertools.pairwise(bounds):
        scored = module.score(piece(played, begin, end), NOTHING, state)
        state = scored.state
        found.append(scored.raw)
    return torch.cat(found)


def by_hand(x, y):
    """The quasimetric of two lists."""
    half = len(x) // 2
    ahead = max(max(0.0, a - b) for a, b in zip(x[:half], y[:half], strict=True))
    return ahead + math.dist(x[half:], y[half:])


@torch.no_grad()
def places(module, x):
    return module.place(module.embed({"vector": x.reshape(-1, x.shape[-1])})).view(*x.shape[:-1], -1)


def test_distance_is_that_by_hand():
    x, y = torch.tensor([1.0, 5.0, 0.0, 0.0]), torch.tensor([3.0, 1.0, 3.0, 4.0])
    assert quasimetric(x, y).item() == pytest.approx(4 + 5)
    assert quasimetric(y, x).item() == pytest.approx(2 + 5)
    points = torch.randn(17, 10)
    found = quasimetric(points.unsqueeze(1), points)
    expected = torch.tensor([[by_hand(a, b) for b in points.tolist()] for a in points.tolist()])
    torch.testing.assert_close(found, expected)


def test_it_is_a_quasimetric():
    points = torch.randn(29, 10, dtype=torch.float64)
    d = quasimetric(points.unsqueeze(1), points)
    assert not d.diagonal().any()
    assert (d >= 0).all()
    assert (d.unsqueeze(1) <= d.unsqueeze(2) + d.unsqueeze(0) + 1e-12).all()  # d(x, z) <= d(x, y) + d(y, z)
    assert (d - d.T).abs().max() > 0.5


@pytest.mark.parametrize("chunk", [1, 500, 10**6])
@pytest.mark.parametrize("memory", [3, 50])
def test_bonus_is_that_of_a_loop(monkeypatch, memory, chunk):
    monkeypatch.setattr(etd, "CPU_CHUNK", chunk)
    played, module = rollout(SPEC, 23, B, seed=1), build(memory=memory)
    x, expected = places(module, played.observation["vector"]), torch.zeros(23, B)
    for b in range(B):
        seen = []
        for t in range(24):
            if played.first[t, b]:
                seen = []
            elif t:
                expected[t - 1, b] = min(by_hand(s, x[t, b].tolist()) for s in seen[-memory:])
            seen.append(x[t, b].tolist())
    for cuts in ((), (1, 2, 13)):
        raw = scored_in_pieces(module, played, *cuts)
        torch.testing.assert_close(raw[played.valid], expected[played.valid], atol=1e-5, rtol=1e-4)
        assert not raw[~played.valid].any()


def test_nothing_is_read_across_a_reset_and_neighbours_do_not_matter():
    played, module = rollout(SPEC, T, B, seed=3, ends=0.3), build()
    raw = scored_in_pieces(module, played, 4)
    for b in range(B):
        torch.testing.assert_close(scored_in_pieces(module, column(played, b), 4), raw[:, b : b + 1])
    last_begin = torch.where(played.first, torch.arange(T + 1).unsqueeze(-1), 0).amax(0)
    earlier = torch.arange(T + 1).unsqueeze(-1) < last_begin
    seen = torch.where(earlier.unsqueeze(-1), 77.0, played.observation["vector"])
    other = scored_in_pieces(module, played._replace(observation={"vector": seen}), 4)
    late = torch.arange(T).unsqueeze(-1) >= last_begin
    assert late.any()
    assert not late.all()
    assert torch.equal(other[late], raw[late])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_steps_left_are_those_counted_one_by_one(seed):
    first = rollout(SPEC, T, B, seed, ends=0.25).first
    for b in range(B):
        for t in range(T):
            k = 0
            while t + k + 1 <= T and not first[t + k + 1, b]:
                k += 1
            assert steps_left(first)[t, b] == k


@pytest.mark.parametrize("horizon", [0.5, 0.99])
@pytest.mark.parametrize("left", [1, 2, 7])
def test_offsets_are_geometric_within_the_episode(left, horizon):
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    shares = torch.bincount(offset_of(u, torch.full_like(u, left, dtype=torch.int64), horizon), minlength=left + 1)
    weight = horizon ** torch.arange(1, left + 1, dtype=torch.float64)
    assert len(shares) == left + 1
    torch.testing.assert_close(shares[1:].double() / 200_000, weight / weight.sum(), atol=1e-4, rtol=0)
    assert offset_of(torch.tensor([0.0, 1 - 2**-24]), torch.tensor([left, left]), horizon).tolist() == [1, left]


@pytest.mark.parametrize("horizon", [0.3, 0.9, 0.99, 0.999])
def test_no_offset_leaves_the_episode(horizon):
    left = torch.arange(1, 2000)
    for u in (0.0, 1 - 2**-24):
        k = offset_of(torch.full((len(left),), u), left, horizon)
        assert (k >= 1).all()
        assert (k <= left).all()


def test_contrast_is_that_of_two_softmaxes_one_by_one():
    energy, present = torch.randn(11, 11, requires_grad=True), torch.rand(11) < 0.6
    value = contrast(energy, present)
    e, there = energy.tolist(), present.nonzero().flatten().tolist()
    for i in there:
        row = sum(math.exp(e[i][j]) for j in there)
        rest = sum(math.exp(e[j][i]) for j in there)
        assert value[i].item() == pytest.approx((math.log(row) + math.log(rest)) / 2 - e[i][i], abs=1e-5)
    reduce(value, present).backward()
    assert energy.grad.isfinite().all()
    assert not energy.grad[~present].any()
    assert not energy.grad[:, ~present].any()
    same = contrast(torch.zeros(7, 7), torch.ones(7, dtype=torch.bool))
    torch.testing.assert_close(same, torch.full((7,), math.log(7)))


@pytest.mark.parametrize("batch", [7, 10**4])
@pytest.mark.parametrize("horizon", [0.3, 0.99])
def test_pairs_are_of_one_episode_in_the_order_of_time(monkeypatch, batch, horizon):
    """What is seen tells environment, episode and time."""
    played, pairs, distances = rollout(SPEC, T, B, seed=5, ends=0.3), [], set()
    number = torch.arange(B) * 100 + played.first.cumsum(0)
    time = torch.arange(T + 1).unsqueeze(-1).expand(-1, B)
    played.observation["vector"] = torch.stack([number, time, torch.zeros_like(time)], -1).float()
    module = build(batch=batch, horizon=horizon)
    look = module.view.__call__
    monkeypatch.setattr(module, "view", lambda seen: pairs.append(seen["vector"]) or look(seen))
    for _ in range(20):
        value, mask = module(played, NOTHING, module.score(played, NOTHING, module.initial_state(B)))
        x, y = pairs[-1].chunk(2)
        assert len(value) == min(batch, T * B)
        assert torch.equal(x[mask, 0], y[mask, 0])
        assert (x[mask, 1] < y[mask, 1]).all()
        distances |= {*(y - x)[mask, 1].tolist()}
        if batch > T * B:
            assert torch.equal(mask, played.valid.flatten())
        else:
            assert mask.all()
    assert len(distances) > 2


def test_loss_reads_observations_and_resets_only():
    played, one, two = rollout(SPEC, T, B, seed=4, ends=0.3), build(), build()
    broken = played._replace(
        action=played.action - 99, reward=played.reward * torch.nan, discount=played.discount * torch.nan
    )
    for module, seen in ((one, played), (two, broken)):
        reduce(*module(seen, NOTHING, module.score(seen, NOTHING, module.initial_state(B)))).backward()
    for mine, its in zip(one.parameters(), two.parameters(), strict=True):
        assert mine.grad.isfinite().all()
        assert torch.equal(mine.grad, its.grad)
        assert mine.grad.any()


def test_a_rollout_of_resets_only_teaches_nothing():
    played = rollout(SPEC, T, B)
    everywhere = torch.ones_like(played.first)
    module = build()
    value, mask = module(played._replace(first=everywhere, last=everywhere), NOTHING, UNSCORED)
    assert not mask.any()
    reduce(value, mask).backward()
    assert all(p.grad.isfinite().all() and not p.grad.any() for p in module.parameters())


def trained(walk, positions, steps=120, **options):
    """The distances of a reward that has seen walks [T + 1, B] of one-hot places, and what its loss found, in nats."""
    shown = spec(vector=positions)
    module = build(shown, size=16, hidden=32, batch=96, **options)
    optimizer, found = torch.optim.Adam(module.parameters(), 1e-2), []
    for step in range(steps):
        seen = F.one_hot(walk(), positions).float()
        played = rollout(shown, len(seen) - 1, seen.shape[1], ends=0)._replace(observation={"vector": seen})
        optimizer.zero_grad()
        loss = reduce(*module(played, NOTHING, UNSCORED))
        loss.backward()
        optimizer.step()
        if step >= steps - 20:
            found.append(-loss.detach() - figures(module)["chance"].log())
    x = places(module, torch.eye(positions))
    return quasimetric(x.unsqueeze(1), x), torch.stack(found).mean()


def test_on_a_ring_walked_at_random_distance_grows_with_the_number_of_steps():
    n = 12

    def walk():
        move = torch.randint(2, (40, 16)) * 2 - 1
        return torch.cat([torch.randint(n, (1, 16)), move]).cumsum(0) % n

    d, information = trained(walk, n, horizon=0.8)
    by_steps = torch.stack([(d.roll(-k, 1).diagonal() + d.roll(k, 1).diagonal()).mean() / 2 for k in range(n // 2 + 1)])
    assert by_steps[0] == 0
    assert (by_steps[1:].diff() > 0).all(), by_steps
    assert information > 0.2


def test_on_a_ring_walked_one_way_the_way_back_is_the_longer():
    n = 9

    def walk():
        return torch.cat([torch.randint(n, (1, 16)), torch.ones(40, 16, dtype=torch.int64)]).cumsum(0) % n

    d, _ = trained(walk, n, horizon=0.5)
    on, back = d.roll(-1, 1).diagonal(), d.roll(1, 1).diagonal()
    assert (back > on).all(), (on, back)
    assert back.mean() > 3 * on.mean()


def test_where_anything_follows_there_is_nothing_to_learn():
    """The control: no state is nearer than another, and the loss is that of guessing."""
    n = 12
    d, information = trained(lambda: torch.randint(n, (41, 16)), n)
    assert information < 0.02
    assert d.max() < 0.5


def test_staying_and_coming_back_pay_nothing_and_the_next_episode_pays_again():
    module, points = build(size=32, hidden=64), torch.randn(4, V)
    path = points[torch.tensor([0, 0, 1, 0, 1, 2, 0, 1])]
    played = rollout(SPEC, 7, 1, ends=0)._replace(observation={"vector": path.unsqueeze(1)})
    played.first[6], played.last[5] = True, True
    raw = module.score(played, NOTHING, module.initial_state(1)).raw.flatten()
    assert (raw[[0, 2, 3, 5]].abs() < 1e-6).all()
    assert (raw[[1, 4, 6]] > 0.05).all()


def test_scoring_changes_nothing_and_it_goes_on_from_its_state():
    one, two = build(batch=7), build(seed=1, batch=7)
    played = rollout(SPEC, T, B, seed=1)
    one(played, NOTHING, UNSCORED)
    before = copy.deepcopy(one.state_dict())
    one.score(played, NOTHING, one.initial_state(B))
    assert all(torch.equal(x, before[k]) for k, x in one.state_dict().items())
    two.load_state_dict(before)
    assert all(
        torch.equal(x, y) for x, y in zip(one(played, NOTHING, UNSCORED), two(played, NOTHING, UNSCORED), strict=True)
    )


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="even number of features"):
        build(size=7)


def test_images_of_both_kinds():
    for image in ((7, 7, 3), (45, 47, 3)):
        shown = spec(image=image)
        module, played = build(shown), rollout(shown, T, B)
        assert module.score(played, NOTHING, module.initial_state(B)).raw.isfinite().all()
        assert module(played, NOTHING, UNSCORED)[0].isfinite().all()


@pytest.mark.parametrize("moves", [True, False])
def test_noise_fades_as_it_tells_nothing_of_time(moves):
    """Beside places that do, it falls behind them; the control: where anything follows, both fade."""
    before, after = pulls(build(BESIDE, size=16, hidden=32, batch=96), moves, steps=100)
    assert before > 1
    assert after < 0.6 if moves else after > 0.8
