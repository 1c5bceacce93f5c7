"""Compression progress: coins, the code of one and the same history, and what saves nothing."""

import math

import pytest
import torch

from morello.auxiliaries.intrinsic.compression_progress import (
    CompressionProgress,
    CompressionProgressConfig,
    History,
    credited,
    joined,
)
from morello.auxiliaries.intrinsic.parts.switching import Switching
from morello.backbones import Sizes
from morello.envs.trees import tree_map

from ...support.figures import figures
from ...support.on_meta import META, OnlyOnTheDevice
from ...support.rewards import NOTHING, part, score, snapshot, unchanged
from ...support.rollouts import rollout, spec

T, B, H, W = 7, 3, 5, 3
PARTS = "observation", "first", "last", "task", "info", "action", "logits", "reward", "discount", "skill"
GRID, COIN = spec(image=(H, W, 2)), spec(image=(1, 1, 1))


def made(world=GRID, **settings):
    torch.manual_seed(0)
    return CompressionProgress(CompressionProgressConfig(**settings), world, Sizes(None, 1, 1))


def coins(**settings):
    """A reward that looks at one coin, and expects it by Laplace's rule."""
    reward = made(COIN, **settings)
    reward.density = Switching((1, 1, 1), 2, prior=1.0)
    return reward


def flip(reward, side):
    """Show one flip of the coin, and return the reward."""
    seen = rollout(COIN, 1, 1, ends=0)
    return scored(reward, seen._replace(observation={"image": torch.full((2, 1, 1, 1, 1), side).byte()})).item()


def scored(reward, seen):
    found = score(reward, seen)
    reward.observe(seen, NOTHING, found)
    return found.raw


def shown(images):
    """A rollout that shows these images [T + 1, B, h, w, c]."""
    like = rollout(GRID, len(images) - 1, images.shape[1], ends=0)
    return like._replace(observation={"image": images})


def symbols(*shape, number=16, seed=0):
    return torch.randint(number, shape, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def test_a_coin_of_two_heads():
    """Laplace's rule gives head n a probability of n / (n + 1): the whole history is coded anew, n symbols of it."""
    reward = coins(history=64)
    found = [flip(reward, 1) for _ in range(50)]
    for n, expected in {1: 0.415, 2: 0.340, 3: 0.279, 5: 0.203, 10: 0.120, 50: 0.028}.items():
        assert found[n - 1] == pytest.approx(expected, abs=5e-4)
        assert found[n - 1] == pytest.approx(n * math.log2((n + 1) ** 2 / (n * (n + 2))), rel=1e-4)


def test_a_fair_coin():
    """Its flips stay as surprising as they are, a bit each, and nothing more is saved in coding them."""
    flips = (torch.rand(4000, 2000, generator=torch.Generator().manual_seed(0)) < 0.5).double()
    n = torch.arange(1, 2001).double()
    heads = flips.cumsum(1)

    def code(heads, heads_known, known):
        p = (heads_known + 1) / (known + 2)
        return -(heads * p.log2() + (n - heads) * (1 - p).log2())

    progress = code(heads, heads - flips, n - 1) - code(heads, heads, n)
    for at, expected in ((0, 0.415), (1, 0.255), (2, 0.180)):
        assert progress[:, at].mean().item() == pytest.approx(expected, abs=0.006)
    assert progress[:, :10].mean().item() == pytest.approx(0.149, abs=0.003)
    for row in flips[:3]:  # the reward is that of the oracle, flip by flip
        reward = coins(history=64)
        found = [flip(reward, int(side)) for side in row[:40]]
        first = (flips == row).all(1).nonzero()[0, 0]
        assert found == pytest.approx(progress[first, :40].tolist(), abs=1e-4)
    assert progress[:, 1000:].mean().item() == pytest.approx(0.0005, abs=3e-4)
    surprise = -torch.where(flips > 0, (heads - flips + 1) / (n + 1), (n - heads + flips) / (n + 1)).log2()
    assert surprise[:, -100:].mean().item() == pytest.approx(1, abs=0.01)


def test_what_is_credited_adds_up_to_the_saving():
    own, valid = torch.tensor([1.0, torch.nan, -0.5]), torch.tensor([True, False, True])
    found = credited(own, torch.tensor(3.0), valid)
    assert found[valid].tolist() == [2.5, 1.0]
    assert found[valid].sum() == own[valid].sum() + 3


def test_the_newest_views_are_kept():
    def history(numbers, filled):
        x = torch.tensor(numbers)
        return History(x.view(-1, 1, 1, 1), x.double(), torch.tensor(filled))

    after = joined(history([0, 0, 1], [False, False, True]), history([2, 9, 3], [True, False, True]))
    assert after.views.flatten().tolist() == after.log_prob.tolist() == [1, 2, 3]
    assert after.filled.all()
    after = joined(after, history([4, 9, 9], [True, False, False]))
    assert after.views.flatten().tolist() == [2, 3, 4]
    after = joined(after, history([5, 6, 7, 8, 9], [True, True, True, True, False]))
    assert after.views.flatten().tolist() == [6, 7, 8]


@pytest.mark.parametrize("density", ["cts", "pixel_cnn"])
def test_each_transition_has_its_own_saving_and_a_share_of_the_past(density):
    """Against codes of the history made one view at a time, over rollouts with resets in the middle."""
    size = 29
    reward, past = made(density=density, history=size, chunk=5), []
    for seed in range(4):
        seen = rollout(GRID, T, B, seed, ends=0.3)
        images = (seen.observation["image"][1:] % 16).flatten(0, 1)
        new = [x for x, there in zip(images, seen.valid.flatten().tolist(), strict=True) if there]
        assert len(new) < T * B

        def bits(views):
            return [-reward.density.log_prob(x.unsqueeze(0)).item() / math.log(2) for x in views]

        old, before = bits(past), bits(new)
        raw = scored(reward, seen)
        share = (sum(old) - sum(bits(past))) / len(new)
        expected = [b - a + share for b, a in zip(before, bits(new), strict=True)]
        assert raw[seen.valid].tolist() == pytest.approx(expected, abs=2e-3)
        assert raw[seen.valid].sum().item() == pytest.approx(sum(old + before) - sum(bits(past + new)), abs=2e-2)
        past = (past + new)[-size:]
        assert reward.filled.sum() == len(past)
        assert torch.equal(reward.views[reward.filled], torch.stack(past))


@pytest.mark.parametrize("density", ["cts", "pixel_cnn"])
def test_rows_that_cross_a_reset_are_neither_learnt_nor_kept(density):
    seen = rollout(GRID, T, B, seed=3, ends=0.3)
    other = seen.observation["image"].clone()
    other[1:][~seen.valid] = 7
    rewards = made(density=density, chunk=5), made(density=density, chunk=5)
    both = seen, seen._replace(observation={"image": other}, action=torch.where(seen.valid, seen.action, 999))
    for _ in range(2):
        found = [scored(reward, x)[seen.valid] for reward, x in zip(rewards, both, strict=True)]
        torch.testing.assert_close(*found, rtol=0, atol=0)
    for name in ("views", "log_prob"):
        mine, its = (getattr(reward, name)[reward.filled] for reward in rewards)
        torch.testing.assert_close(mine, its, rtol=0, atol=0)


@pytest.mark.parametrize("density", ["cts", "pixel_cnn"])
def test_scoring_changes_nothing_and_a_checkpoint_continues(density):
    reward, seen = made(density=density), rollout(GRID, T, B, seed=5)
    scored(reward, seen)
    kept = snapshot(reward)
    again = score(reward, seen).raw
    assert unchanged(reward, kept)
    other = made(density=density)
    other.load_state_dict(kept)
    torch.testing.assert_close(scored(other, seen), again, rtol=0, atol=0)
    assert not any(p.requires_grad for p in reward.parameters())


def test_the_same_history_is_coded_however_the_rollout_is_cut():
    """One phase of learning or two: what is saved of it all is the same, as the first model and the last are."""
    seen = rollout(GRID, T, B, seed=5, ends=0)
    start = rollout(GRID, T, B, seed=6, ends=0)
    whole, halves = made(), made()
    for reward in (whole, halves):
        scored(reward, start)
    scored(whole, seen)
    for piece in (part(seen, 0, 4), part(seen, 4, T)):
        scored(halves, piece)
    assert unchanged(halves, snapshot(whole))


def test_a_dark_room_and_noise_save_nothing_and_a_regularity_does():
    """Learnable: each row of cells is the row above it, read again. All three have been seen equally often."""
    generator = torch.Generator().manual_seed(0)

    def noise():
        return torch.randint(2, (T + 1, B, H, W, 2), generator=generator).to(torch.uint8)

    def total(images, rounds):
        reward = made(history=128)
        return [scored(reward, shown(images())).mean().item() for _ in range(rounds)]

    dark = total(lambda: torch.ones(T + 1, B, H, W, 2, dtype=torch.uint8), 30)
    fresh = total(noise, 30)
    regular = total(lambda: noise()[:, :, :1].expand(-1, -1, H, -1, -1), 30)
    assert dark[0] > 1
    assert abs(dark[-1]) < 0.02 * dark[0]
    assert abs(sum(fresh[-5:])) < 0.1 * sum(fresh[:5])
    assert sum(regular[1:5]) > 1.5 * sum(fresh[1:5])
    assert sum(regular[-5:]) < 0.1 * sum(regular[:5])


def test_metrics_tell_what_is_learnt_and_kept():
    reward = made(history=2 * T * B)
    image = symbols(1, 1, H, W, 2).expand(T + 1, B, -1, -1, -1)
    scored(reward, shown(image))
    assert figures(reward)["bits_per_symbol"] == pytest.approx(4)
    assert figures(reward)["filled"] == 0
    scored(reward, shown(image))
    assert figures(reward)["bits_per_symbol"] < 0.5
    assert figures(reward)["filled"] == 0.5
    assert figures(reward)["past_saving"] == pytest.approx(figures(reward)["own_saving"].item(), rel=1e-5)


def test_warming_up_learns_as_observing_does():
    seen = rollout(GRID, T, B, seed=5)
    warmed, observed = made(), made()
    warmed.warm_up(seen)
    scored(observed, seen)
    assert unchanged(warmed, snapshot(observed))


@pytest.mark.parametrize("density", ["cts", "pixel_cnn"])
def test_nothing_waits_for_the_device(density):
    reward, seen = made(density=density, chunk=5, history=29).to(META), rollout(GRID, T, B)
    seen = seen._replace(**{k: tree_map(lambda x: x.to(META), getattr(seen, k)) for k in PARTS})
    with OnlyOnTheDevice():
        reward.observe(seen, NOTHING, reward.score(seen, NOTHING, ()))
        reward.warm_up(seen)


def test_there_has_to_be_an_image():
    with pytest.raises(ValueError, match="compression_progress needs images"):
        made(spec(vector=3))
