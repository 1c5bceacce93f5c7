"""Whitening against numpy's mean and standard deviation of everything that was seen."""

import copy

import numpy as np
import pytest
import torch

from morello.auxiliaries.intrinsic.parts.whitening import FLOOR, LIMIT, Whitening

N, V = 311, 13
SHAPES = {"image": (3, 5, 7), "vector": (V,)}


def views(n=N, seed=0):
    """Each value has a mean and a deviation of its own."""
    g = torch.Generator().manual_seed(seed)
    own = torch.Generator().manual_seed(99)
    found = {}
    for name, shape in SHAPES.items():
        mean, spread = (100 * torch.rand(shape, generator=own) for _ in range(2))
        found[name] = mean + (spread + 10) * torch.randn(n, *shape, generator=g)
    return found


def by_numpy(seen, x, name):
    seen = seen.double().numpy()
    spread = np.maximum(seen.std(0), FLOOR[name])
    return np.clip((x.double().numpy() - seen.mean(0)) / spread, -LIMIT, LIMIT)


@pytest.mark.parametrize("pieces", [(311,), (1, 310), (7, 11, 293), (1,) * 20 + (291,)], ids=len)
def test_it_is_numpys_mean_and_deviation_however_the_rows_come(pieces):
    whitening, seen, fresh = Whitening(SHAPES), views(), views(17, seed=1)
    for i, piece in enumerate(zip(*(x.split(list(pieces)) for x in seen.values()), strict=True)):
        whitening.update(dict(zip(seen, piece, strict=True)))
        assert whitening.moments["image"].count == sum(pieces[: i + 1])
    found = whitening(fresh)
    for name in SHAPES:
        np.testing.assert_allclose(found[name].numpy(), by_numpy(seen[name], fresh[name], name), atol=2e-5)


def test_large_means_leave_small_deviations():
    """A mean of squares would have lost them in float32."""
    whitening = Whitening({"vector": (1,)})
    x = 10000 + 0.1 * torch.randn(20011, 1)
    for part in x.split(997):
        whitening.update({"vector": part})
    m = whitening.moments["vector"]
    assert float((m.squares / m.count).sqrt()) == pytest.approx(float(x.double().std(0, correction=0)), rel=0.01)


def test_values_are_clipped():
    whitening = Whitening(SHAPES)
    whitening.update(views())
    far = {name: torch.stack([torch.full(shape, x) for x in (1e6, -1e6)]) for name, shape in SHAPES.items()}
    for x in whitening(far).values():
        assert (x[0] == LIMIT).all()
        assert (x[1] == -LIMIT).all()


def test_what_never_changed_is_divided_by_the_floor():
    whitening = Whitening(SHAPES)
    still = {name: torch.full((N, *shape), 40.0) for name, shape in SHAPES.items()}
    whitening.update(still)
    assert all((x == 0).all() for x in whitening(still).values())
    moved = whitening({name: x + 2.5 * FLOOR[name] for name, x in still.items()})
    for name, x in moved.items():
        torch.testing.assert_close(x, torch.full_like(x, 2.5), atol=0.02 if name == "vector" else 0, rtol=0)


def test_the_first_batch_is_whitened_by_its_own_moments():
    whitening, batch = Whitening(SHAPES), views(29)
    for name, x in whitening(batch).items():
        np.testing.assert_allclose(x.numpy(), by_numpy(batch[name], batch[name], name), atol=2e-5)
    before = whitening(batch)
    whitening.update(batch)
    for name, x in whitening(batch).items():
        torch.testing.assert_close(x, before[name], atol=2e-5, rtol=0)


def test_a_single_row_first_is_zero_and_finite():
    whitening = Whitening(SHAPES)
    one = views(1)
    assert all((x == 0).all() for x in whitening(one).values())
    whitening.update(one)
    assert all(x.isfinite().all() for x in whitening(views(5, 3)).values())


def test_whitening_changes_nothing_and_goes_on_from_its_state():
    whitening = Whitening(SHAPES)
    whitening.update(views())
    state = copy.deepcopy(whitening.state_dict())
    whitening(views(11, 5))
    assert all(torch.equal(v, state[k]) for k, v in whitening.state_dict().items())
    again = Whitening(SHAPES)
    again.load_state_dict(state)
    for w in (whitening, again):
        w.update(views(31, 6))
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in whitening.state_dict().items())
    assert all(torch.equal(x, again(views())[k]) for k, x in whitening(views()).items())


def test_no_gradient_passes():
    x = {name: v.requires_grad_() for name, v in views(5).items()}
    whitening = Whitening(SHAPES)
    whitening.update(x)
    assert not any(v.requires_grad for v in (*whitening(x).values(), *whitening.buffers()))


@pytest.mark.parametrize(("steps", "environments"), [(512, 8), (128, 32), (64, 64), (20, 64)])
def test_statistics_are_taken_from_all_environments(steps, environments):
    whitening = Whitening({"vector": (1,)})
    whitening.update({"vector": torch.arange(environments).float().repeat(steps).unsqueeze(-1)})
    m = whitening.moments["vector"]
    assert m.count == 512
    assert float(m.mean) == pytest.approx((environments - 1) / 2, rel=0.03)
    assert float(m.squares / m.count) == pytest.approx((environments**2 - 1) / 12, rel=0.05)
