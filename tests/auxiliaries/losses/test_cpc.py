"""Contrastive predictive coding on an agent's features: pairs within episodes, known information, what is read."""

import copy
import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from morello.auxiliaries.losses.cpc import CPCConfig, CPCLoss
from morello.auxiliaries.reduction import reduce
from morello.backbones import Sizes

from ...support.figures import figures
from ...support.rollouts import features, rollout, spec

T, B, E, D = 13, 5, 7, 11
SPEC, SIZES = spec(vector=2), Sizes((2, 3, 5), E, D)
ALL = 10**6  # more than there are
SOURCES = ["batch", "others", "sequence", "both"]


def build(sizes=SIZES, **options):
    return CPCLoss(CPCConfig(**options), SPEC, sizes)


def with_episodes(played, first):
    """The same rollout with episodes that begin where ``first`` [T + 1, B] says."""
    return played._replace(first=first, last=torch.cat([first[1:], torch.zeros_like(first[:1])]))


def brute(first, horizons):
    """(k, t, b) of every pair, one by one."""
    rows, B = first.shape
    return {
        (k, t, b)
        for k in horizons
        for t in range(rows)
        for b in range(B)
        if t + k < rows and not any(first[t + j, b] for j in range(1, k + 1))
    }


def test_predictions_do_not_cross_a_reset():
    first = torch.zeros(7, 1, dtype=torch.bool)
    first[[0, 3]] = True
    played = with_episodes(rollout(SPEC, 6, 1), first)
    value, mask = build(horizons=8, queries=ALL, negatives=ALL)(played, features(SIZES, 6, 1))
    assert value.shape == mask.shape == (8, 7)
    assert [row.nonzero().flatten().tolist() for row in mask[:3]] == [[0, 1, 3, 4, 5], [0, 3, 4], [3]]
    assert not mask[3:].any()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_mask_is_that_of_pairs_counted_one_by_one(source, seed):
    played = rollout(SPEC, T, B, seed, ends=0.1 * seed)
    _, mask = build(horizons=17, queries=ALL, negatives=ALL, source=source)(played, features(SIZES, T, B))
    found = {(i + 1, n // B, n % B) for i, n in mask.nonzero().tolist()}
    assert found == brute(played.first, range(1, 18))


def test_each_horizon_asks_its_share_and_only_where_there_is_a_pair():
    played, seen = rollout(SPEC, T, B, seed=4), features(SIZES, T, B)
    first = torch.zeros_like(played.first)
    first[6, 2] = True
    loss = build(horizons=17, queries=50, negatives=19)
    value, mask = loss(with_episodes(played, first), seen)
    assert value.shape == (17, 4)  # 50 among the 13 that fit
    assert mask[:13].all()  # B have a pair even at k = 13, but environment 2
    assert not mask[13:].any()
    asked = set()
    for i, n in mask.nonzero().tolist():
        (read,) = torch.autograd.grad(value[i, n], seen.memory, retain_graph=True)
        ((t, b),) = read.abs().sum(-1).nonzero().tolist()
        asked.add((i + 1, t, b))
    assert len(asked) == 13 * 4
    assert asked <= brute(first, range(1, 14))
    assert len({(t, b) for _, t, b in asked}) > 4  # horizons ask elsewhere


@pytest.mark.parametrize("same", ["scores", "codes"])
def test_uniform_scores_and_constant_codes_give_log_n(same):
    seen, loss = features(SIZES, T, B), build(horizons=3, negatives=7)
    if same == "scores":
        torch.nn.init.zeros_(loss.cpc.head.weight)
    else:
        seen.vector.data[:] = torch.randn(E)
    value, mask = loss(rollout(SPEC, T, B), seen)
    known = torch.tensor([7.0, 8.0]).log()  # 7 where the right one was drawn again
    torch.testing.assert_close(value[mask], known[(value[mask] > 2).long()], atol=1e-6, rtol=0)
    assert value[mask].max().item() == pytest.approx(2.07944, abs=1e-5)
    assert figures(loss)["accuracy"] == 0
    assert figures(loss)["bound"].abs() < 1e-6


def exact_bound(symbols, p, candidates):
    """ln N - L of the optimal critic, by the binomial number of negatives that match the query."""
    a, b, others, loss = symbols * p, symbols * (1 - p) / (symbols - 1), candidates - 1, 0.0
    for j in range(others + 1):
        weight = math.comb(others, j) * symbols**-j * (1 - 1 / symbols) ** (others - j)
        rest = j * a + (others - j) * b
        loss -= weight * (p * math.log(a / (a + rest)) + (1 - p) * math.log(b / (b + rest)))
    return math.log(candidates) - loss


def information(symbols, p):
    return p * math.log(symbols * p) + (1 - p) * math.log(symbols * (1 - p) / (symbols - 1))


def channel(T, B, generator, p=0.7, symbols=4):
    """A rollout whose observation is the one before it with probability p, else any of the others, told by vector and
    memory alike.
    """
    x = [torch.randint(symbols, (B,), generator=generator)]
    for _ in range(T):
        wrong = torch.randint(1, symbols, (B,), generator=generator)
        x.append((x[-1] + torch.where(torch.rand(B, generator=generator) < p, 0, wrong)) % symbols)
    shown = F.one_hot(torch.stack(x), symbols).float()
    seen = features(Sizes(None, symbols, symbols), T, B)._replace(vector=shown, memory=shown)
    return with_episodes(rollout(SPEC, T, B), torch.zeros(T + 1, B, dtype=torch.bool)), seen


@pytest.mark.parametrize(("candidates", "known"), [(2, 0.18983), (8, 0.37762), (64, 0.43739)])
def test_bound_with_the_optimal_critic_is_the_exact_one(candidates, known):
    assert exact_bound(4, 0.7, candidates) == pytest.approx(known, abs=6e-6)
    loss = build(Sizes(None, 4, 4), horizons=1, queries=ALL, negatives=candidates - 1)
    loss.cpc.head.weight.data = (4 * (0.1 + 0.6 * torch.eye(4))).log().unsqueeze(0)
    found = []
    for _ in range(200):
        loss(*channel(2, 499, torch.Generator().manual_seed(len(found))))
        found.append(figures(loss)["bound"])
    error = torch.stack(found).std().item() / math.sqrt(200)
    assert abs(torch.stack(found).mean().item() - known) < 3 * error
    assert error < 0.003


def test_trained_loss_reaches_the_information_of_each_horizon_from_below():
    """k steps of the channel are one with p - 1 / 4 shrunk to (0.6^k) 3 / 4."""
    generator, horizons = torch.Generator().manual_seed(0), range(1, 4)
    correct = [0.25 + 0.75 * 0.6**k for k in horizons]
    loss = build(Sizes(None, 4, 4), horizons=3, queries=ALL, negatives=127, source="others")
    optimizer = torch.optim.Adam(loss.parameters(), 0.1)
    for step in range(120):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 120)
        optimizer.zero_grad()
        reduce(*loss(*channel(5, 61, generator))).backward()
        optimizer.step()
    found = []
    for _ in range(40):
        loss(*channel(5, 61, generator))
        found.append(figures(loss)["cap"] - figures(loss)["loss_by_horizon"])
    mean, error = torch.stack(found).mean(0), torch.stack(found).std(0) / math.sqrt(40)
    known = torch.tensor([information(4, p) for p in correct])
    assert known[0].item() == pytest.approx(0.4458, abs=5e-5)
    assert (mean < known + 3 * error).all()
    assert (mean > 0.95 * torch.tensor([exact_bound(4, p, 126) for p in correct]) - 3 * error).all()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("queries", [37, ALL])
def test_memory_without_a_pair_and_what_else_is_in_a_rollout_are_not_read(source, queries):
    played, seen = rollout(SPEC, T, B, ends=0.3), features(SIZES, T, B)
    loss = build(horizons=5, queries=queries, negatives=17, source=source)
    again = build(horizons=5, queries=queries, negatives=17, source=source)
    again.load_state_dict(loss.state_dict())
    value, mask = loss(played, seen)
    reduce(value, mask).backward()
    idle = played.last.clone()
    idle[-1] = True
    poisoned = features(SIZES, T, B)
    poisoned.memory.data[idle] = torch.nan
    broken = played._replace(
        observation={},
        logits=played.logits * torch.nan,
        reward=played.reward * torch.nan,
        discount=played.discount * torch.nan,
        action=played.action - 999,
    )
    other, also = again(broken, poisoned)
    reduce(other, also).backward()
    assert torch.equal(mask, also)
    assert torch.equal(value[mask], other[mask])
    assert all(torch.isfinite(x).all() for k, x in figures(again).items() if "by_horizon" not in k)
    counts = mask.sum(-1)
    for x in (figures(again)["loss_by_horizon"], figures(again)["accuracy_by_horizon"]):
        assert torch.equal(torch.isfinite(x), counts[: len(x)] > 0)
    for mine, theirs in ((seen.vector, poisoned.vector), (seen.memory, poisoned.memory)):
        assert torch.equal(mine.grad, theirs.grad)
    assert torch.equal(loss.cpc.head.weight.grad, again.cpc.head.weight.grad)
    assert (poisoned.memory.grad[idle] == 0).all()


def test_gradients_reach_encoder_memory_and_head_and_nothing_else():
    played, seen = rollout(SPEC, T, B), features(SIZES, T, B)
    loss = build(horizons=4)
    reduce(*loss(played, seen)).backward()
    for x in (seen.vector, seen.memory, loss.cpc.head.weight):
        assert torch.isfinite(x.grad).all()
        assert x.grad.abs().sum() > 0
    assert (loss.cpc.head.weight.grad.flatten(1).abs().sum(-1) > 0).all()
    assert [x.grad for x in (seen.map, seen.logits, *seen.value.values())] == [None] * 3
    assert {name for name, _ in loss.named_parameters()} == {"cpc.head.weight"}  # linear predictors only
    assert not any(x.requires_grad for x in figures(loss).values())


@pytest.mark.parametrize("source", SOURCES)
def test_permuting_environments_changes_nothing(source):
    played, seen = rollout(SPEC, T, B), features(SIZES, T, B)
    loss, order = build(horizons=4, queries=ALL, negatives=ALL, source=source), torch.randperm(B)
    moved = seen._replace(vector=seen.vector[:, order], memory=seen.memory[:, order])
    one = reduce(*loss(played, seen)), figures(loss)["accuracy_by_horizon"]
    two = reduce(*loss(played._replace(first=played.first[:, order], last=played.last[:, order]), moved))
    torch.testing.assert_close(one, (two, figures(loss)["accuracy_by_horizon"]), atol=1e-5, rtol=1e-5)


def test_a_loaded_loss_draws_as_the_saved_one_would_have():
    played, seen = rollout(SPEC, T, B), features(SIZES, T, B)
    loss, other = (build(horizons=4, queries=20, negatives=7) for _ in range(2))
    for _ in range(3):
        before = loss(played, seen)
    other.load_state_dict(loss.state_dict())
    after = loss(played, seen)
    assert not torch.equal(after[0], before[0])
    assert all(torch.equal(a, b) for a, b in zip(after, other(played, seen), strict=True))


def test_metrics_are_means_over_pairs_and_horizons():
    loss = build(horizons=17, queries=60, negatives=23)
    value, mask = loss(rollout(SPEC, T, B), features(SIZES, T, B))
    shown = figures(loss)
    assert shown["bound"].item() == pytest.approx((shown["cap"] - reduce(value, mask)).item(), abs=1e-5)
    assert 1 / 24 <= shown["chance"] < 1 / 22
    assert math.log(23) < shown["cap"] <= math.log(24)
    assert len(shown["loss_by_horizon"]) == min(17, T)
    for i, row in enumerate(value[: min(17, T)]):
        expected = row[mask[i]].mean().item() if mask[i].any() else 0
        assert shown["loss_by_horizon"][i].item() == pytest.approx(expected, abs=1e-5)
    pairs = mask.sum(-1)[: min(17, T)]
    assert shown["accuracy"].item() == pytest.approx(
        ((shown["accuracy_by_horizon"] * pairs).sum() / pairs.sum()).item(), abs=1e-6
    )


@pytest.mark.parametrize("source", SOURCES)
def test_shapes_do_not_depend_on_data(source):
    loss = build(horizons=17, queries=20, negatives=7, source=source)
    with FakeTensorMode(allow_non_fake_inputs=True):
        value, mask = loss(rollout(SPEC, T, B), features(SIZES, T, B))
        reduce(value, mask).backward()
    assert value.shape == mask.shape == (17, 2)


def test_what_cannot_be_asked_is_refused():
    for wrong in ({"horizons": 0, "source": "both"}, {"queries": 0}, {"negatives": 0}):
        with pytest.raises(ValueError, match="CPC needs a horizon, a query and a negative at least, not "):
            build(**wrong)


def test_two_threads_give_the_same_gradient_every_time():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        wide = Sizes(None, 256, 256)
        played, loss = rollout(SPEC, T, B), build(wide)
        state, seen = copy.deepcopy(loss.state_dict()), []
        for _ in range(20):
            loss.load_state_dict(state)
            given = features(wide, T, B)
            reduce(*loss(played, given)).backward()
            seen.append(torch.cat([given.vector.grad, given.memory.grad], dim=-1))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(x, seen[0]) for x in seen)
