"""CPC|A: pairs within episodes, the actions between them and no others, and a world where the actions say it all."""

import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from morello.auxiliaries.losses.cpc_a import CPCA, CPCAConfig, binary_contrast
from morello.auxiliaries.reduction import reduce
from morello.backbones import Sizes

from ...support.figures import figures
from ...support.rollouts import features, rollout, spec

T, B, E, D, A = 13, 5, 7, 11, 3
SPEC, SIZES = spec(vector=2, actions=A), Sizes((2, 3, 5), E, D)


def build(sizes=SIZES, spec=SPEC, **options):
    return CPCA(CPCAConfig(**options), spec, sizes)


def with_episodes(played, first):
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


def asked(loss, played, seen):
    """The values on the mask by (k, t, b), and the rows of z that each read. From gradients: each depends on one row
    of the memory, and on two of z unless they are the same.
    """
    value, mask = loss(played, seen)
    found = {}
    for i, n in mask.nonzero().tolist():
        c, z = torch.autograd.grad(value[i, n], (seen.memory, seen.vector), retain_graph=True)
        ((t, b),) = c.abs().sum(-1).nonzero().tolist()
        assert (loss.horizons[i], t, b) not in found
        found[loss.horizons[i], t, b] = value[i, n].item(), {tuple(at) for at in z.abs().sum(-1).nonzero().tolist()}
    return found


def test_predictions_do_not_cross_a_reset():
    first = torch.zeros(7, 1, dtype=torch.bool)
    first[[0, 3]] = True
    played = with_episodes(rollout(SPEC, 6, 1), first)
    loss = build(horizons=(1, 2, 3, 4, 5, 6, 7), share=1.0)
    found = asked(loss, played, features(SIZES, 6, 1))
    assert sorted(found) == [(1, t, 0) for t in (0, 1, 3, 4, 5)] + [(2, t, 0) for t in (0, 3, 4)] + [(3, 3, 0)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pairs_are_those_counted_one_by_one(seed):
    played, seen = rollout(SPEC, T, B, seed, ends=0.1 * seed), features(SIZES, T, B)
    every = asked(build(share=1.0), played, seen)
    assert every.keys() == brute(played.first, (1, 2, 4, 8, 16))
    some = asked(build(), played, seen)
    assert len({(t, b) for _, t, b in some}) == 13  # a fifth of 65 rows
    assert some.keys() == {at for at in every if at[1:] in {(t, b) for _, t, b in some}}


def test_values_are_those_of_a_query_unrolled_by_hand():
    played, seen, loss = rollout(SPEC, T, B), features(SIZES, T, B), build(horizons=(1, 3), share=1.0)
    gru = loss.actions.gru
    layer = torch.cat([loss.of_query.weight, loss.of_target.weight], dim=1)  # one layer, on [query, z]

    def probability(h, z):
        unit = F.relu(layer @ torch.cat([h, z]) + loss.of_query.bias)
        return torch.sigmoid(loss.output.weight[0] @ unit + loss.output.bias[0])

    for (k, t, b), (value, read) in asked(loss, played, seen).items():
        h = seen.memory[t, b]
        for j in range(k):
            x = gru.weight_ih_l0 @ loss.actions.table.weight[played.action[t + j, b]] + gru.bias_ih_l0
            y = gru.weight_hh_l0 @ h + gru.bias_hh_l0
            r, u = (torch.sigmoid(x[i : i + D] + y[i : i + D]) for i in (0, D))
            h = (1 - u) * torch.tanh(x[2 * D :] + r * y[2 * D :]) + u * h
        assert (t + k, b) in read
        other = next(iter(read - {(t + k, b)}), (t + k, b))
        expected = -probability(h, seen.vector[t + k, b]).log() - (1 - probability(h, seen.vector[other])).log()
        assert value == pytest.approx(expected.item(), abs=1e-5)


def test_negatives_are_any_row_of_the_rollout():
    played, seen, loss = rollout(SPEC, T, B), features(SIZES, T, B), build(share=1.0)
    read = [rows - {(t + k, b)} for _ in range(3) for (k, t, b), (_, rows) in asked(loss, played, seen).items()]
    assert all(len(rows) <= 1 for rows in read)
    assert len(set().union(*read)) > 0.85 * (T + 1) * B


def test_a_query_that_knows_nothing_costs_two_bits():
    scores = torch.zeros(3)
    assert binary_contrast(scores, scores).tolist() == pytest.approx([2 * math.log(2)] * 3)
    assert binary_contrast(torch.tensor(100.0), torch.tensor(-100.0)).item() == pytest.approx(0, abs=1e-6)
    assert binary_contrast(torch.tensor(-100.0), torch.tensor(-100.0)).item() == pytest.approx(100)
    loss = build()
    torch.nn.init.zeros_(loss.output.weight)
    torch.nn.init.zeros_(loss.output.bias)
    value, mask = loss(rollout(SPEC, T, B), features(SIZES, T, B))
    assert value[mask].tolist() == pytest.approx([1.3862944] * int(mask.sum()), abs=1e-6)


ACTIONS = 4


def acted(T, B, generator):
    """A world that shows the last action, taken at random; the memory is told nothing."""
    world, sizes = spec(vector=2, actions=ACTIONS), Sizes(None, ACTIONS, D)
    action = torch.randint(ACTIONS, (T + 1, B), generator=generator)
    played = rollout(world, T, B, seed=int(action.sum()), ends=0.1)
    shown, nothing = F.one_hot(action, ACTIONS).float(), torch.ones(T + 1, B, D)
    return played._replace(action=action[1:]), features(sizes, T, B)._replace(vector=shown, memory=nothing)


@pytest.mark.parametrize("told", [True, False])
def test_world_that_shows_the_last_action_is_predicted_if_the_actions_are_told(told):
    """The best classifier of a known symbol: ln(1 + 1 / A) + ln(1 + A) / A, not 0, since a negative may match."""
    generator = torch.Generator().manual_seed(0)
    loss = build(Sizes(None, ACTIONS, D), spec(vector=2, actions=ACTIONS), horizons=(1, 3), share=1.0)

    def sample():
        played, seen = acted(5, 61, generator)
        if not told:
            played = played._replace(action=torch.randint(ACTIONS, played.action.shape, generator=generator))
        return loss(played, seen)

    optimizer = torch.optim.Adam(loss.parameters(), 0.02)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 200)
        optimizer.zero_grad()
        reduce(*sample()).backward()
        optimizer.step()
    found = []
    for _ in range(40):
        sample()
        found.append(torch.stack([*curve_of(loss), figures(loss)["accuracy"]]))
    mean, error = torch.stack(found).mean(0), torch.stack(found).std(0) / math.sqrt(40)
    if told:
        best = math.log(1 + 1 / ACTIONS) + math.log(1 + ACTIONS) / ACTIONS
        assert best == pytest.approx(0.6255, abs=5e-5)
        assert (mean[:2] > best - 3 * error[:2]).all()
        assert (mean[:2] < best + 0.01 + 3 * error[:2]).all()
        assert mean[2].item() == pytest.approx(1 - 1 / (2 * ACTIONS), abs=0.01)  # every positive, 3 of 4 negatives
    else:
        assert (mean[:2] > 2 * math.log(2) - 3 * error[:2]).all()
        assert (mean[:2] < 2 * math.log(2) + 0.01).all()


def test_actions_that_were_ignored_and_memory_without_a_pair_are_not_read():
    played, seen = rollout(SPEC, T, B, ends=0.3), features(SIZES, T, B)
    loss, again = (build(horizons=(1, 2, 4), share=1.0) for _ in range(2))
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
        action=torch.where(played.valid, played.action, -999),
    )
    other, also = again(broken, poisoned)
    reduce(other, also).backward()
    assert torch.equal(mask, also)
    assert torch.equal(value[mask], other[mask])
    assert all(torch.isfinite(x).all() for x in figures(again).values())
    pairs = [(seen.vector, poisoned.vector), (seen.memory, poisoned.memory)]
    pairs += zip(loss.parameters(), again.parameters(), strict=True)
    for mine, theirs in pairs:
        assert torch.equal(mine.grad, theirs.grad)
    assert (poisoned.memory.grad[idle] == 0).all()


def test_gradients_reach_encoder_memory_and_head_and_nothing_else():
    played, seen, loss = rollout(SPEC, T, B), features(SIZES, T, B), build()
    reduce(*loss(played, seen)).backward()
    for x in (seen.vector, seen.memory, *loss.parameters()):
        assert torch.isfinite(x.grad).all()
        assert x.grad.abs().sum() > 0
    assert [x.grad for x in (seen.map, seen.logits, *seen.value.values())] == [None] * 3
    assert not any(x.requires_grad for x in figures(loss).values())


def test_permuting_environments_leaves_the_expected_loss_unchanged():
    order, loss = torch.randperm(B), build(share=1.0)
    played, seen = rollout(SPEC, T, B), features(SIZES, T, B)
    moved = played._replace(**{k: getattr(played, k)[:, order] for k in ("first", "last", "action")})
    other = seen._replace(vector=seen.vector[:, order], memory=seen.memory[:, order])
    with torch.no_grad():
        one, two = (torch.stack([reduce(*loss(*x)) for _ in range(300)]) for x in ((played, seen), (moved, other)))
    error = math.sqrt((one.var() + two.var()) / 300)
    assert abs(one.mean() - two.mean()) < 3 * error
    assert error < 0.003 * one.mean()


def test_a_loaded_loss_draws_as_the_saved_one_would_have():
    played, seen = rollout(SPEC, T, B), features(SIZES, T, B)
    loss, other = build(), build()
    for _ in range(3):
        before = loss(played, seen)
    other.load_state_dict(loss.state_dict())
    after = loss(played, seen)
    assert not torch.equal(after[0], before[0])
    assert all(torch.equal(a, b) for a, b in zip(after, other(played, seen), strict=True))


def curve_of(loss):
    return [figures(loss)[f"loss_by_horizon/{k}"] for k in loss.horizons if f"loss_by_horizon/{k}" in figures(loss)]


def test_metrics_are_means_over_the_pairs():
    loss = build()
    value, mask = loss(rollout(SPEC, T, B, ends=0), features(SIZES, T, B))
    assert value.shape == mask.shape == (4, 13)  # 16 steps do not fit
    expected = [row[there].mean().item() if there.any() else 0 for row, there in zip(value, mask, strict=True)]
    assert torch.stack(curve_of(loss)).tolist() == pytest.approx(expected, abs=1e-6)
    assert "loss_by_horizon/16" not in figures(loss)
    assert figures(loss)["chance"] == 0.5
    loss.output.bias.data[:] = 100  # always "it follows"
    loss(rollout(SPEC, T, B), features(SIZES, T, B))
    assert figures(loss)["accuracy"] == 0.5


def test_shapes_do_not_depend_on_data():
    loss = build()
    with FakeTensorMode(allow_non_fake_inputs=True):
        value, mask = loss(rollout(SPEC, T, B), features(SIZES, T, B))
        reduce(value, mask).backward()
    assert value.shape == mask.shape == (4, 13)


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ValueError, match=r"predicts 1 step ahead or more, not \[0, 1\]"):
        build(horizons=(0, 1))
    with pytest.raises(ValueError, match="a share of rows, above 0 and up to 1, not 0"):
        build(share=0.0)
