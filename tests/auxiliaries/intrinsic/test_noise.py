"""Noise: how it is distributed, what it does not depend on, and that it goes on."""

import pytest
import torch

from morello.auxiliaries.intrinsic.noise import GOLDEN, Noise, NoiseConfig, normal
from morello.auxiliaries.intrinsic.parts.hashing import mixed
from morello.backbones import Sizes

from ...support.rewards import part, permuted, score, snapshot, unchanged
from ...support.rollouts import rollout, spec

T, B = 503, 101
WORLD = spec(vector=1)


def built(seed=0, **settings):
    torch.manual_seed(seed)
    return Noise(NoiseConfig(**settings), WORLD, Sizes(None, 17, 13))


def experience(T=T, B=B, seed=0, ends=0.05):
    return rollout(WORLD, T, B, seed, ends)


def test_it_is_standard_normal_and_independent_over_time_and_environments():
    module = built(signed=True)
    x = score(module, experience(), module.initial_state(B)).raw.double()
    n = T * B
    assert abs(x.mean()) < 4 * n**-0.5
    assert abs(x.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((x**3).mean()) < 4 * (15 / n) ** 0.5
    assert abs((x**4).mean() - 3) < 4 * (96 / n) ** 0.5
    for pairs in (x[1:] * x[:-1], x[:, 1:] * x[:, :-1], x[1:, 1:] * x[:-1, :-1], x[5:] * x[:-5]):
        assert abs(pairs.mean()) < 4 * pairs.numel() ** -0.5
    inside = [float((x.abs() < z).double().mean()) for z in (0.5, 1.0, 2.0, 3.0)]
    assert inside == pytest.approx([0.3829, 0.6827, 0.9545, 0.9973], abs=0.01)


def test_by_default_it_is_the_absolute_value():
    absolute, signed = (built(signed=x) for x in (False, True))
    found = [score(m, experience(), m.initial_state(B)).raw for m in (absolute, signed)]
    assert torch.equal(found[0], found[1].abs())
    assert float(found[0].mean()) == pytest.approx((2 / torch.pi) ** 0.5, abs=0.01)


def test_extreme_bits_give_finite_numbers():
    bits = torch.tensor([0, -1, 1, 2**63 - 1, -(2**63), 2**32 - 1, -(2**32)])
    assert normal(bits).isfinite().all()
    assert normal(mixed(torch.arange(10**6) * GOLDEN)).abs().max() < 7


def test_it_depends_on_nothing_that_happens():
    module = built()
    a, b = (score(module, experience(seed=s, ends=e), module.initial_state(B)).raw for s, e in ((1, 0.0), (2, 0.3)))
    assert torch.equal(a, b)


@pytest.mark.parametrize("split", [(250, 253), (1, 2, 500), (100, 3, 400)])
def test_splitting_a_rollout_changes_nothing(split):
    module, seen = built(), experience()
    state, t, found = module.initial_state(B), 0, []
    for length in split:
        scored = score(module, part(seen, t, t + length), state)
        found.append(scored.raw)
        state, t = scored.state, t + length
    whole = score(module, seen, module.initial_state(B))
    assert torch.equal(torch.cat(found), whole.raw)
    assert torch.equal(state, whole.state)


def test_scoring_changes_nothing_and_the_same_numbers_come_again():
    module, before = built(), None
    before = snapshot(module)
    a, b = (score(module, experience(), module.initial_state(B)) for _ in range(2))
    assert torch.equal(a.raw, b.raw)
    assert unchanged(module, before)
    again = built(seed=1)
    assert not torch.equal(score(again, experience(), again.initial_state(B)).raw, a.raw)
    again.load_state_dict(before)
    assert torch.equal(score(again, experience(), again.initial_state(B)).raw, a.raw)


def test_other_actors_and_what_comes_after_a_gap_have_other_noise():
    module, seen = built(), experience(T=11)
    rows = [
        score(module, seen._replace(source=source, sequence=sequence), module.initial_state(B)).raw
        for source, sequence in [(0, 0), (1, 0), (0, 1), (0, 7), (1, 1), (7, 0)]
    ]
    assert len(torch.stack(rows).unique()) > 0.999 * 6 * 11 * B


def test_an_environments_numbers_are_its_own():
    module, seen = built(), experience(T=11)
    state = score(module, seen, module.initial_state(B)).state
    order = torch.randperm(B)
    a, b = score(module, seen, state), score(module, permuted(seen, order), state[order])
    assert torch.equal(b.raw, a.raw[:, order])
    assert torch.equal(score(module, permuted(seen, torch.arange(3)), state[:3]).raw, a.raw[:, :3])
