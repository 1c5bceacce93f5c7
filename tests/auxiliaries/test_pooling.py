"""Logged ratios are those of all updates together: against NumPy on all their elements at once."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from morello.agents import policy
from morello.agents.config.config import Config
from morello.agents.storage import checkpoint
from morello.agents.training.averages import Averages
from morello.agents.training.train import train
from morello.auxiliaries.pooling import Commonest, ExplainedVariance, Mean, over_updates, value_of
from morello.auxiliaries.reduction import average, explained_variance

from ..support.small_run import records


def updates(seed, count=41, T=5, B=3):
    """(guess, target, mask) of updates of very different sizes and scales; NaN outside the mask."""
    rng = torch.Generator().manual_seed(seed)
    for _ in range(count):
        quiet = torch.rand((), generator=rng) < 0.8
        scale = 0.01 if quiet else 3.0
        target = 2.0 + scale * torch.randn(T, B, generator=rng)
        guess = target + 0.05 * torch.randn(T, B, generator=rng) + 0.3 * scale * torch.randn(T, B, generator=rng)
        mask = torch.rand(T, B, generator=rng) < torch.rand((), generator=rng)
        yield torch.where(mask, guess, torch.nan), torch.where(mask, target, torch.nan), mask


def together(each):
    """Guesses and targets in the masks, [N] each."""
    return [np.concatenate([one[i][one[2]].double().numpy() for one in each]) for i in range(2)]


def test_explained_variance_is_that_of_all_elements_together():
    each = list(updates(seed=1))
    pooled = sum((explained_variance(*one) for one in each[1:]), explained_variance(*each[0]))
    guess, target = together(each)
    right = 1 - np.var(target - guess) / np.var(target)
    assert pooled.item() == pytest.approx(right, rel=1e-5)
    ratios = [explained_variance(*one).item() for one in each if one[2].any()]
    assert right > 0.8
    assert np.nanmean(ratios) < -1  # a mean of ratios is of those in which nothing varied


def test_a_critic_that_explains_half_is_said_to_explain_half():
    """Nine in ten rollouts quiet, where noise is all there is: the mean of ratios is -11.9."""
    rng, pooled, ratios = torch.Generator().manual_seed(0), None, []
    for _ in range(1500):
        scale = torch.where(torch.rand((), generator=rng) < 0.9, 1e-2, 1.0)
        known, unknown = (scale * torch.randn(5, 4, generator=rng) for _ in range(2))
        value = known + 0.05 * torch.randn(5, 4, generator=rng)
        one = explained_variance(value, known + unknown, torch.ones(5, 4, dtype=torch.bool))
        pooled = one if pooled is None else pooled + one
        ratios.append(one.item())
    assert pooled.item() == pytest.approx(0.5, abs=0.05)
    assert np.mean(ratios) < -10


@pytest.mark.parametrize(("offset", "spread"), [(1e4, 1.0), (-300.0, 1e-2), (0.0, 1e-12), (1e30, 1e29)])
def test_large_means_and_odd_scales_are_no_harm(offset, spread):
    rng = torch.Generator().manual_seed(2)
    target = offset + spread * torch.randn(7, 97, generator=rng)
    guess = target + 0.5 * spread * torch.randn(7, 97, generator=rng)
    pooled = ExplainedVariance.of(guess[0], target[0], torch.ones(97, dtype=torch.bool))
    for g, t in zip(guess[1:], target[1:], strict=True):
        pooled = pooled + ExplainedVariance.of(g, t, torch.ones(97, dtype=torch.bool))
    right = 1 - np.var((target - guess).numpy().astype(float)) / np.var(target.numpy().astype(float))
    assert pooled.item() == pytest.approx(right, abs=1e-5)


def test_nothing_to_explain_and_nothing_at_all():
    ones = torch.ones(5, 3, dtype=torch.bool)
    constant = torch.full((5, 3), 0.1)
    assert explained_variance(torch.randn(5, 3), constant, ones).item() == 0
    assert math.isnan(explained_variance(constant, constant, ~ones).item())
    assert math.isnan(average(constant, ~ones).item())
    assert math.isnan(Commonest.of(torch.ones(5, 3, 2), ~ones).item())


def test_means_count_elements_and_not_updates():
    each = list(updates(seed=3))
    pooled = sum((average(guess, mask) for guess, _, mask in each[1:]), average(each[0][0], each[0][2]))
    assert pooled.item() == pytest.approx(together(each)[0].mean(), rel=1e-6)
    rows = sum((average(guess, mask, -1) for guess, _, mask in each[1:]), average(each[0][0], each[0][2], -1))
    for t in range(5):
        assert rows.value[t].item() == pytest.approx(
            np.concatenate([guess[t][mask[t]].double().numpy() for guess, _, mask in each]).mean(), rel=1e-6
        )


def test_the_commonest_class_is_that_of_all_updates():
    """A mean of each update's own commonest is too high: what chance reaches is none of the updates' to choose."""
    rng = np.random.default_rng(4)
    label = torch.from_numpy(rng.integers(0, 3, size=(200, 7)))
    there = torch.from_numpy(rng.random((200, 7)) < 0.7)
    each = [Commonest.of(torch.nn.functional.one_hot(x, 3), m) for x, m in zip(label, there, strict=True)]
    counts = np.bincount(label[there].numpy(), minlength=3)
    assert sum(each[1:], each[0]).item() == pytest.approx(counts.max() / counts.sum())
    assert np.nanmean([x.item() for x in each]) > counts.max() / counts.sum() + 0.15


def test_tensors_are_averaged_over_updates_and_nan_is_left_out():
    averages = Averages()
    sparse = [torch.tensor([1.0, math.nan]), torch.tensor([3.0, math.nan]), torch.tensor([math.nan, math.nan])]
    for n, curve in enumerate(sparse):
        averages.add(
            {
                "loss": torch.tensor(float(n)),
                "bad": torch.tensor(math.nan if n == 1 else 1.0),
                "curve": over_updates(curve, sparse=True),
                "mean": Mean.of(torch.tensor(n), torch.tensor(2 * n)),
            }
        )
    assert averages.drain() == {"loss": 1.0, "curve/1": 2.0, "mean": 0.5}
    assert averages.drain() == {}


def test_sums_go_through_a_checkpoint_to_the_bit(tmp_path):
    """In the middle of an interval."""
    each = list(updates(seed=5))
    whole, first, second = Averages(), Averages(), Averages()
    for n, (guess, target, mask) in enumerate(each):
        metrics = {
            "a/ev": explained_variance(guess, target, mask),
            "mean": average(guess, mask),
            "x": target.nansum(),
            "chance": Commonest.of(torch.stack([guess > 2, guess <= 2], -1), mask),
        }
        whole.add(metrics)
        if n == 20:
            checkpoint.save(tmp_path, 1, first.state_dict(), keep=1)
            second.load_state_dict(checkpoint.load(tmp_path)[1], "cpu")
        (first if n < 20 else second).add(metrics)
    assert second.state_dict().keys() == whole.state_dict().keys()
    assert second.drain() == whole.drain()


SMALL = Config(
    env="gym:CartPole-v1", steps=1600, num_envs=4, unroll=10, log_every=800, threads=1, quiet=True, checkpoint_every=0
)


def test_a_record_holds_what_its_interval_comes_to(tmp_path, monkeypatch):
    seen, real = [], policy.explained_variance

    def noted(value, target, mask):
        seen.append((value.clone(), target.clone(), mask.clone()))
        return real(value, target, mask)

    monkeypatch.setattr(policy, "explained_variance", noted)
    config = replace(SMALL, run=str(tmp_path / "run"))
    one, two = records(train(config).path)
    assert len(seen) == 40
    for record, each in ((one, seen[:20]), (two, seen[20:])):
        value, target = together(each)
        explained = 1 - np.var(target - value) / np.var(target)
        assert record["extrinsic/explained_variance"] == pytest.approx(explained, rel=1e-4)
        assert record["extrinsic/value"] == pytest.approx(value.mean(), rel=1e-5)
        assert record["extrinsic/reward"] == 1  # each valid step pays 1
    assert len({int(mask.sum()) for *_, mask in seen}) > 3


def test_updates_are_added_without_being_read():
    """A tensor without memory has nothing to read: whoever asks raises."""
    x = torch.randn(5, 3, device="meta")
    averages = Averages()
    for _ in range(2):
        averages.add(
            {
                "ev": explained_variance(x, x, x > 0),
                "mean": average(x, x > 0),
                "x": x.sum(),
                "curve": over_updates(x.sum(0), sparse=True),
                "chance": Commonest.of(x > 0, x[:, 0] > 0),
            }
        )
    assert all(pooled.value.is_meta for pooled in averages.pooled.values())


def test_what_is_pooled_is_on_the_device_and_without_gradient():
    guess = torch.randn(3, 2, requires_grad=True)
    for metric in (average(guess, guess > 0), explained_variance(guess, guess * 2, guess > 0)):
        assert not metric.sums.requires_grad
        assert value_of(metric).shape == ()
        assert float(metric) == metric.item()
        assert torch.stack([metric, torch.tensor(2.0).double()]).tolist() == [metric.item(), 2]
        assert torch.isfinite(input=metric)


@pytest.mark.parametrize(("size", "spread"), [(1000.0, 0.005), (100.0, 1e-3), (1.0, 3e-6)])
def test_a_small_spread_about_a_large_mean_is_explained_too(size, spread):
    rng = torch.Generator().manual_seed(0)
    known = torch.randn(20_000, generator=rng, dtype=torch.float64)
    target, guess = (size + spread * known).float(), (size + spread * known / 2).float()
    mask = torch.ones(20_000, dtype=torch.bool)
    assert explained_variance(guess, target, mask).item() == pytest.approx(0.75, abs=0.01)
    still = torch.full_like(target, size) * (1 + 5e-8 * known).float()  # the last bit
    assert explained_variance(guess, still, mask).item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_means_are_added_up_in_double_precision(dtype):
    value = (1000 + torch.rand(50_000, generator=torch.Generator().manual_seed(0))).to(dtype)
    mean = average(value, torch.ones(50_000, dtype=torch.bool))
    assert mean.item() == pytest.approx(value.double().mean().item(), rel=1e-12)
