"""Inverse dynamics: actions that are visible in the change are told, others are not, and no reset is a transition."""

import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from morello.auxiliaries.losses.inverse_dynamics import InverseDynamics, InverseDynamicsConfig
from morello.auxiliaries.reduction import reduce
from morello.backbones import Sizes

from ...support.figures import figures
from ...support.oracles import softmax
from ...support.rollouts import features, rollout, spec

T, B, E, D, A = 13, 5, 7, 11, 3
SPEC, SIZES = spec(vector=2, actions=A), Sizes((2, 3, 5), E, D)


def build(sizes=SIZES, spec=SPEC, **options):
    return InverseDynamics(InverseDynamicsConfig(**options), spec, sizes)


def test_value_is_the_cross_entropy_of_each_transition():
    played, seen, loss = rollout(SPEC, T, B), features(SIZES, T, B), build(hidden=17)
    value, mask = loss(played, seen)
    assert value.shape == (T, B)
    assert torch.equal(mask, ~played.first[1:])
    assert not mask.all()
    one, _, two = loss.layers
    right, taken = [], [0] * A
    for t, b in mask.nonzero().tolist():
        unit = F.relu(one.weight @ torch.cat([seen.vector[t, b], seen.vector[t + 1, b]]) + one.bias)
        p = softmax((two.weight @ unit + two.bias).tolist())
        action = played.action[t, b].item()
        assert value[t, b].item() == pytest.approx(-math.log(p[action]), abs=1e-5)
        right.append(p[action] == max(p))
        taken[action] += 1
    assert figures(loss)["accuracy"].item() == pytest.approx(sum(right) / len(right))
    assert figures(loss)["chance"].item() == pytest.approx(max(taken) / sum(taken))


def walk(T, B, generator, visible, places=7, actions=5):
    """A ring whose places are shown. The action is the number of places to go; or else one goes anywhere."""
    played = rollout(spec(vector=2, actions=actions), T, B, seed=int(torch.randint(10**6, (), generator=generator)))
    at = [torch.randint(places, (B,), generator=generator)]
    for t in range(T):
        jump = torch.randint(places, (B,), generator=generator)
        moved = (at[-1] + played.action[t]) % places if visible else jump
        at.append(torch.where(played.first[t + 1], jump, moved))
    shown = F.one_hot(torch.stack(at), places).float()
    return played, features(Sizes(None, places, D), T, B, actions)._replace(vector=shown)


@pytest.mark.parametrize("visible", [True, False])
def test_actions_are_told_if_and_only_if_they_are_visible_in_the_change(visible):
    generator, loss = torch.Generator().manual_seed(0), build(Sizes(None, 7, D), spec(vector=2, actions=5), hidden=64)
    optimizer = torch.optim.Adam(loss.parameters(), 0.01)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / 200)
        optimizer.zero_grad()
        reduce(*loss(*walk(T, 47, generator, visible))).backward()
        optimizer.step()
    with torch.no_grad():
        found = torch.stack([reduce(*loss(*walk(T, 997, generator, visible))) for _ in range(3)]).mean()
    assert figures(loss)["chance"].item() == pytest.approx(1 / 5, abs=0.02)
    if visible:
        assert found < 0.05
        assert figures(loss)["accuracy"] > 0.99
    else:
        assert found > math.log(5) - 0.003
        assert abs(figures(loss)["accuracy"] - 1 / 5) < 0.02


def test_rows_that_cross_a_reset_are_not_read():
    """The rollout begins with an end and ends with a beginning: what is seen there is of no transition."""
    played, loss = rollout(SPEC, T, B, ends=0.3), build()
    last = played.last.clone()
    last[0, 2] = last[T - 1, 3] = True
    last[1, 2] = last[T, 3] = last[T - 2, 3] = False
    first = torch.cat([played.first[:1], last[:-1]])
    played = played._replace(first=first, last=last)
    seen, poisoned = features(SIZES, T, B), features(SIZES, T, B)
    value, mask = loss(played, seen)
    reduce(value, mask).backward()
    clean = [p.grad.clone() for p in loss.parameters()]
    loss.zero_grad()
    poisoned.vector.data[0, 2] = poisoned.vector.data[T, 3] = torch.nan
    poisoned.memory.data[:] = torch.nan
    broken = played._replace(
        observation={},
        logits=played.logits * torch.nan,
        reward=played.reward * torch.nan,
        discount=played.discount * torch.nan,
        action=torch.where(played.valid, played.action, -999),
    )
    other, also = loss(broken, poisoned)
    reduce(other, also).backward()
    assert torch.equal(mask, also)
    assert torch.equal(value[mask], other[mask])
    assert torch.equal(seen.vector.grad, poisoned.vector.grad)
    assert (poisoned.vector.grad[0, 2] == 0).all()
    assert all(torch.equal(p.grad, g) for p, g in zip(loss.parameters(), clean, strict=True))
    assert all(torch.isfinite(x) for x in figures(loss).values())


def test_gradients_reach_encoder_and_head_and_nothing_else():
    played, seen, loss = rollout(SPEC, T, B), features(SIZES, T, B), build()
    reduce(*loss(played, seen)).backward()
    for x in (seen.vector, *loss.parameters()):
        assert torch.isfinite(x.grad).all()
        assert x.grad.abs().sum() > 0
    assert [x.grad for x in (seen.map, seen.memory, seen.logits, *seen.value.values())] == [None] * 4
    assert not any(x.requires_grad for x in figures(loss).values())


def test_permuting_environments_moves_losses_and_changes_none():
    played, seen, loss, order = rollout(SPEC, T, B), features(SIZES, T, B), build(), torch.randperm(B)
    moved = played._replace(**{k: getattr(played, k)[:, order] for k in ("first", "last", "action")})
    other, mask = loss(moved, seen._replace(vector=seen.vector[:, order]))
    value, before = loss(played, seen)
    torch.testing.assert_close(other, value[:, order])
    assert torch.equal(mask, before[:, order])


def test_a_loaded_loss_is_the_saved_one():
    played, seen, loss, other = rollout(SPEC, T, B), features(SIZES, T, B), build(), build()
    other.load_state_dict(loss.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(loss(played, seen), other(played, seen), strict=True))


def test_chance_is_the_commonest_action_and_nothing_valid_is_no_error():
    played, seen, loss = rollout(SPEC, T, B), features(SIZES, T, B), build()
    usual = torch.where(torch.arange(T).unsqueeze(-1) < 10, 2, played.action)
    loss(played._replace(action=usual), seen)
    share = (usual[played.valid] == 2).float().mean()
    assert figures(loss)["chance"].item() == pytest.approx(share.item())
    value, mask = loss(played._replace(last=torch.ones_like(played.last)), seen)
    assert reduce(value, mask) == 0
    assert figures(loss)["accuracy"].isnan()
    assert figures(loss)["chance"].isnan()


def test_shapes_do_not_depend_on_data():
    loss = build()
    with FakeTensorMode(allow_non_fake_inputs=True):
        value, mask = loss(rollout(SPEC, T, B), features(SIZES, T, B))
        reduce(value, mask).backward()
    assert value.shape == mask.shape == (T, B)
