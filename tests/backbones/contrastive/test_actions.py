"""Predictions that know the actions: those up to the target, and only where they are given."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from morello.backbones.contrastive import CPC

from ...support.contrastive import B, D, E, T, batch, bounds, exact_bound, learn
from ...support.estimates import generator


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_actions_tell_what_they_lead_to(known):
    """The world shows the last action: with the actions all is known, without them nothing."""
    actions, horizons, source = 5, (1, 2, 4), generator(0)
    cpc = CPC(13, actions, horizons, source="others", queries=128, negatives=127, actions=actions if known else 0)
    first = torch.arange(T).unsqueeze(-1).expand(-1, 43) == 0
    cast = nn.Linear(actions, 13)

    def loss():
        action = torch.randint(actions, (T - 1, 43))
        z = F.one_hot(torch.cat([torch.randint(actions, (1, 43)), action]), actions).float()
        return cpc(z, cast(z), first, action=action if known else None, generator=source)

    learn(nn.ModuleList([cpc, cast]), loss, 250, 0.02)
    mean, error = bounds(loss)
    if known:
        assert (mean > 0.9 * exact_bound(actions, 0.0, 120)).all()
        assert (mean < math.log(actions) + 3 * error).all()
    else:
        assert (mean.abs() < 0.05).all()
        assert (mean < 3 * error).all()


def test_a_prediction_knows_the_actions_up_to_its_target_and_none_after():
    z, c, _, _ = batch()
    first, valid = torch.zeros(T, B, dtype=torch.bool), torch.ones(T, B, dtype=torch.bool)
    valid[-1] = False
    cpc = CPC(D, E, (1, 2, 4), queries=None, negatives=None, actions=3)
    action = torch.randint(3, (T - 1, B))
    value = cpc(z, c, first, valid, action=action).value.unflatten(1, (T, B))
    other = action.clone()
    other[5, 2] = (other[5, 2] + 1) % 3
    changed = cpc(z, c, first, valid, action=other).value.unflatten(1, (T, B)) != value
    assert {tuple(at) for at in changed.nonzero().tolist()} == {
        (i, t, 2) for i, k in enumerate((1, 2, 4)) for t in range(5 - k + 1, 6) if t + k < T - 1
    }
    with pytest.raises(ValueError, match="actions are given if, and only if"):
        cpc(z, c, first, valid)


def test_actions_of_rows_that_are_not_there_are_not_read():
    z, c, _, valid = batch(gaps=0.3)
    first = torch.zeros(T, B, dtype=torch.bool)
    cpc = CPC(D, E, (1, 2, 4), queries=None, negatives=None, actions=3)
    action = torch.randint(3, (T - 1, B))
    between = valid[:-2] & ~valid[1:-1] & valid[2:]  # on the way from a row that is there to one that is
    assert between.any()
    values = []
    for filler in (0, 1, -1, 10**9):
        action[~valid[:-1]] = filler
        values.append(cpc(z, c, first, valid, action=action).value)
    assert all(torch.equal(value, values[0]) for value in values)
