"""Pseudo-counts: closed forms, context tree switching against a tree of dictionaries, and what loses its reward."""

import itertools
import math

import pytest
import torch

from morello.auxiliaries.intrinsic.parts.densities import PixelDensity, rmsprop
from morello.auxiliaries.intrinsic.parts.switching import Switching
from morello.auxiliaries.intrinsic.parts.symbols import Symbols
from morello.auxiliaries.intrinsic.pseudo_count import (
    PseudoCount,
    PseudoCountConfig,
    count_bonus,
    network_count,
    prediction_gain,
    pseudo_count,
)
from morello.backbones import Sizes
from morello.envs.trees import tree_map

from ...support.figures import figures
from ...support.on_meta import META, OnlyOnTheDevice
from ...support.rewards import NOTHING, part, score, snapshot, unchanged
from ...support.rollouts import rollout, spec

T, B, H, W = 7, 3, 5, 3
PARTS = "observation", "first", "last", "task", "info", "action", "logits", "reward", "discount", "skill"
GRID = spec(image=(H, W, 2))
NOWHERE = Sizes(None, 1, 1)


def made(world=GRID, **settings):
    torch.manual_seed(0)
    return PseudoCount(PseudoCountConfig(**settings), world, NOWHERE)


def scored(reward, seen):
    found = score(reward, seen)
    reward.observe(seen, NOTHING, found)
    return found.raw


def log(x):
    return torch.tensor(x, dtype=torch.float64).log()


def symbols(*shape, number, seed=0):
    return torch.randint(number, shape, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def all_valid(x):
    return torch.ones(len(x), dtype=torch.bool)


# Equations


def test_dirichlet_counts_are_recovered_exactly():
    """N visits of n in all, K symbols of prior alpha: rho = (N + alpha) / (n + K alpha), and N + alpha comes back."""
    before, after = log(3.5 / 12), log(4.5 / 13)
    gain = prediction_gain(before, after)
    assert gain.item() == pytest.approx(0.17127, abs=1e-5)
    assert pseudo_count(gain, after).item() == pytest.approx(3.5)
    assert pseudo_count(gain, -math.inf).item() == pytest.approx(5.3529, abs=1e-4)  # 1 / (e^gain - 1)
    assert gain <= 1 / 3.5 <= 3.5**-0.5
    assert count_bonus(torch.tensor(3.5)).item() == pytest.approx(3.51**-0.5)


@pytest.mark.parametrize(("seen", "total"), [(0, 0), (0, 11), (5, 5), (1000, 10**6)])
def test_dirichlet_counts_through_the_density(seen, total):
    """One pixel without neighbours: all contexts have the same counts, and the mixture is the estimator itself."""
    density = Switching((1, 1, 1), 4, prior=0.5)
    density.visits += total
    density.counts.view(-1, 4)[:, 2] += seen
    before, after, _ = density.learn(torch.full((1, 1, 1, 1), 2, dtype=torch.uint8), torch.ones(1, dtype=torch.bool))
    assert before.item() == pytest.approx(math.log((seen + 0.5) / (total + 2)))
    assert pseudo_count(prediction_gain(before, after), after).item() == pytest.approx(seen + 0.5)


@pytest.mark.parametrize("probability", [-3000.0, -1e5])
def test_an_image_of_no_measurable_probability(probability):
    """exp(-3000) is 0 in any precision: a quotient of probabilities would be 0 / 0."""
    before = torch.tensor(probability, dtype=torch.float64)
    for gain in (1e-6, 0.25, 700.0):
        count = pseudo_count(torch.tensor(gain, dtype=torch.float64), before + gain)
        assert count.item() == pytest.approx(1 / math.expm1(gain))


def test_what_gains_nothing_counts_as_seen_for_ever():
    before, after = log([0.5, 0.5, 1.0]), log([0.5, 0.4, 1.0])
    gain = prediction_gain(before, after)
    assert gain.tolist() == [0, 0, 0]
    assert count_bonus(pseudo_count(gain, after)).tolist() == [0, 0, 0]


def test_the_gain_of_a_network_falls_with_the_root_of_time():
    gain, views = torch.tensor(2.0, dtype=torch.float64), torch.tensor([1, 100, 10000])
    expected = [1 / math.expm1(0.1 * 2 / n) for n in (1, 10, 100)]
    torch.testing.assert_close(network_count(gain, views), torch.tensor(expected, dtype=torch.float64))


# Context tree switching


class Tree:
    """One pixel's context tree (Veness et al. 2012, algorithm 1), with weights that are never normalised."""

    def __init__(self, depth, number):
        self.depth, self.number, self.node = depth, number, {}

    def probability(self, context, x):
        """Without learning."""
        return self.walk(context, x)[0]

    def walk(self, context, x, d=0):
        counts, stay, split, total = self.node.get(tuple(context[:d]), ([0] * self.number, 0.5, 0.5, 1.0))
        own = (counts[x] + 1 / self.number) / (sum(counts) + 1)
        if d == self.depth:
            return own, own, own
        below = self.walk(context, x, d + 1)[0]
        return (stay * own + split * below) / total, own, below

    def learn(self, context, x):
        found = [self.walk(context, x, d) for d in range(self.depth + 1)]
        for d, (_, own, below) in enumerate(found):
            counts, stay, split, _ = self.node.get(tuple(context[:d]), ([0] * self.number, 0.5, 0.5, 1.0))
            counts = [c + (i == x) for i, c in enumerate(counts)]
            total, alpha = stay * own + split * below, 1 / (sum(counts) + 1)
            stay = alpha * total + (1 - 2 * alpha) * stay * own
            split = alpha * total + (1 - 2 * alpha) * split * below
            self.node[tuple(context[:d])] = counts, stay, split, total


def context_of(image, i, j, k):
    """The cell's earlier symbol, left, above, above left, above right; 0 outside."""

    def at(i, j):
        return image[i][j][k] if i >= 0 and 0 <= j < len(image[0]) else 0

    within = [image[i][j][k - 1] if k else 0] if len(image[0][0]) > 1 else []
    return [*within, at(i, j - 1), at(i - 1, j), at(i - 1, j - 1), at(i - 1, j + 1)]


@pytest.mark.parametrize(("shape", "number"), [((3, 2, 1), 4), ((2, 3, 3), 2)])
def test_context_tree_switching_against_a_tree_of_dictionaries(shape, number):
    count = 23
    images, valid = symbols(count, *shape, number=number), torch.rand(count) < 0.8
    images[::2, :, 0] = images[::2, :, 1]  # something to learn from the left
    density = Switching(shape, number, bits=20)
    places = list(itertools.product(*map(range, shape)))
    depth = 4 + (shape[2] > 1)
    trees = {place: Tree(depth, number) for place in places}
    before, after, state = density.learn(images, valid)
    for n, image in enumerate(images.tolist()):
        told = [0.0, 0.0]
        for i, j, k in places:
            tree, context, x = trees[i, j, k], context_of(image, i, j, k), image[i][j][k]
            told[0] += math.log(tree.probability(context, x))
            kept = dict(tree.node)
            tree.learn(context, x)
            told[1] += math.log(tree.probability(context, x))
            if not valid[n]:
                tree.node = kept
        assert [before[n].item(), after[n].item()] == pytest.approx(told, rel=1e-6)
    assert density.log_prob(images[:1]).item() == pytest.approx(-math.log(number) * len(places))  # nothing is kept yet
    density.commit(state)
    expected = [
        sum(math.log(trees[i, j, k].probability(context_of(x, i, j, k), x[i][j][k])) for i, j, k in places)
        for x in images.tolist()
    ]
    assert density.log_prob(images).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("bits", [3, 20])
@pytest.mark.parametrize("kind", ["cts", "pixel_cnn"])
def test_probabilities_of_all_images_sum_to_one(kind, bits):
    """Two bits in 2 x 2 pixels, before and after learning, also where contexts share places in the tables."""
    torch.manual_seed(0)
    every = torch.tensor(list(itertools.product(range(4), repeat=4)), dtype=torch.uint8).view(-1, 2, 2, 1)
    world = Symbols(spec(image=(2, 2, 1)), 2, "")
    world.number = 4
    density = Switching((2, 2, 1), 4, bits=bits) if kind == "cts" else PixelDensity(world, 3, 1e-3)
    assert density.log_prob(every).exp().sum().item() == pytest.approx(1, abs=1e-5)
    some = symbols(31, 2, 2, 1, number=4)
    density.commit(density.learn(some, all_valid(some)).state)
    assert density.log_prob(every).exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert density.log_prob(some).sum() > -31 * math.log(256)


def test_contexts_matter():
    """Two pixels that are always equal: the second costs nothing once that is known, and a bit without contexts."""
    images = symbols(300, 1, 2, 1, number=2)
    images[:, :, 1] = images[:, :, 0]
    density = Switching((1, 2, 1), 2)
    density.commit(density.learn(images, all_valid(images)).state)
    assert density.log_prob(images).mean().item() == pytest.approx(-math.log(2), abs=0.1)


def test_splitting_a_stream_changes_nothing():
    images = symbols(150, H, W, 1, number=8)
    whole, halves = Switching((H, W, 1), 8), Switching((H, W, 1), 8)
    expected = whole.learn(images, all_valid(images))
    found = []
    for some in images.split(47):
        found.append(halves.learn(some, all_valid(some)))
        halves.commit(found[-1].state)
    torch.testing.assert_close(torch.cat([x.before for x in found]), expected.before, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat([x.after for x in found]), expected.after, rtol=0, atol=0)


# The network


def test_rmsprop_against_a_loop():
    weights, squares, velocity, gradient = torch.randn(4, 5).unbind()
    squares = squares.square()
    found = rmsprop(weights, squares, velocity, gradient, 0.1)
    for i in range(5):
        square = 0.95 * squares[i] + 0.05 * gradient[i] ** 2
        speed = 0.9 * velocity[i] + gradient[i] / (square**0.5 + 1e-4)
        for mine, expected in zip(found, (weights[i] - 0.1 * speed, square, speed), strict=True):
            assert mine[i].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_network_learns_in_chunks_of_time():
    """Each view's gain is over the step of its own chunk, and what is not valid moves nothing."""
    density = PixelDensity(Symbols(GRID, 21, ""), 4, 1e-3)
    images = symbols(11, H, W, 2, number=16)
    valid = all_valid(images)
    valid[4:8] = False
    valid[9] = False
    before, after, state = density.learn(images, valid)
    start = density.log_prob(images)
    torch.testing.assert_close(before[:4], start[:4])
    torch.testing.assert_close(before[4:8], after[4:8])
    assert (after - before)[:4].sum() > 0
    changed = images.clone()
    changed[~valid] = 3
    for mine, other in zip(state, density.learn(changed, valid).state, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)
    torch.testing.assert_close(density.log_prob(images), start, rtol=0, atol=0)
    density.commit(state)
    torch.testing.assert_close(density.log_prob(images[8:]), after[8:])


# The reward


@pytest.mark.parametrize("density", ["cts", "pixel_cnn"])
@pytest.mark.parametrize("gain", ["count", "prediction"])
def test_scores_what_is_arrived_at_in_the_order_of_time_and_then_of_environments(density, gain):
    reward, seen = made(density=density, gain=gain, chunk=5), rollout(GRID, T, B, seed=3, ends=0.3)
    assert not seen.valid.all()
    images = seen.observation["image"][1:].flatten(0, 1) % 16
    before, after, _ = reward.density.learn(images, seen.valid.flatten())
    bonus, number = score(reward, seen).raw, 0
    assert reward.seen == 0
    for n, there in enumerate(seen.valid.flatten().tolist()):
        if not there:
            continue
        number += 1
        rise = max((after - before)[n].item(), 0)
        if gain == "prediction":
            expected = rise
        elif density == "cts":
            rho, then = math.exp(before[n]), math.exp(after[n])
            expected = (rho * (1 - then) / (then - rho) + 0.01) ** -0.5
        else:
            expected = (1 / math.expm1(0.1 * number**-0.5 * rise) + 0.01) ** -0.5 if rise else 0.0
        assert bonus.flatten()[n].item() == pytest.approx(expected, rel=1e-4)
    scored(reward, seen)
    assert reward.seen == number


@pytest.mark.parametrize("density", ["cts", "pixel_cnn"])
def test_rows_that_cross_a_reset_are_not_learnt(density):
    seen = rollout(GRID, T, B, seed=3, ends=0.3)
    other = seen.observation["image"].clone()
    other[1:][~seen.valid] = 7
    changed = seen._replace(observation={"image": other}, action=torch.where(seen.valid, seen.action, 999))
    rewards = made(density=density, chunk=5), made(density=density, chunk=5)
    found = [scored(reward, x)[seen.valid] for reward, x in zip(rewards, (seen, changed), strict=True)]
    torch.testing.assert_close(*found, rtol=0, atol=0)
    for mine, its in zip(rewards[0].buffers(), rewards[1].buffers(), strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=0)


def test_splitting_a_rollout_changes_no_bonus():
    seen = rollout(GRID, T, B, seed=5)
    whole, halves = made(), made()
    expected = scored(whole, seen)
    found = torch.cat([scored(halves, part(seen, 0, 4)), scored(halves, part(seen, 4, T))])
    torch.testing.assert_close(found[seen.valid], expected[seen.valid], rtol=0, atol=0)


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


def test_warming_up_learns_as_observing_does():
    seen = rollout(GRID, T, B, seed=5)
    warmed, observed = made(), made()
    warmed.warm_up(seen)
    scored(observed, seen)
    assert unchanged(warmed, snapshot(observed))


def visited(reward, images, rounds):
    """The mean bonus of each of so many rollouts that show ``images(i)`` [T + 1, B, h, w, c]."""
    seen = rollout(GRID, T, B, ends=0)
    return [scored(reward, seen._replace(observation={"image": images(i)})).mean().item() for i in range(rounds)]


def test_bonus_falls_as_the_root_of_visits_and_what_is_new_stands_out():
    one = symbols(1, 1, H, W, 2, number=16, seed=1).expand(T + 1, B, -1, -1, -1)
    new = symbols(1, 1, H, W, 2, number=16, seed=2).expand(T + 1, B, -1, -1, -1).clone()
    reward = made()
    known = visited(reward, lambda _: one, 20)
    assert known[0] > 10 * known[-1]
    mixed = one.clone()
    mixed[3, 1] = new[0, 0]
    bonus = scored(reward, rollout(GRID, T, B, ends=0)._replace(observation={"image": mixed}))
    assert bonus[2, 1] > 20 * bonus[1, 1]
    assert figures(reward)["novel"] == pytest.approx(1 / (T * B))


def test_noise_of_a_few_pixels_loses_its_reward():
    """The noisy television: fresh noise is never seen twice, but how likely its symbols are is soon known."""
    generator = torch.Generator().manual_seed(0)
    flicker = torch.zeros(T + 1, B, H, W, 2, dtype=torch.uint8)

    def noise(_):
        now = flicker.clone()
        now[..., 0, :, 0] = torch.randint(2, (T + 1, B, W), generator=generator).to(torch.uint8)
        return now

    for gain, least in (("count", 3), ("prediction", 9)):
        bonus = visited(made(gain=gain), noise, 40)
        assert sum(bonus[:2]) > least * sum(bonus[-2:])


def test_the_network_gains_less_from_what_it_knows():
    one = symbols(1, 1, H, W, 2, number=16, seed=1).expand(T + 1, B, -1, -1, -1)
    bonus = visited(made(density="pixel_cnn", chunk=B), lambda _: one, 15)
    assert bonus[0] > 3 * bonus[-1]


def test_images_are_seen_in_eight_levels_of_grey():
    view = Symbols(spec(image=(42, 63, 3)), 21, "")
    image = torch.randint(256, (2, 42, 63, 3), dtype=torch.uint8)
    found = view({"image": image})
    assert view.shape == found.shape[1:] == (21, 31, 1)
    square = image[1, 4:6, 8:10].float().mean().item()
    assert found[1, 2, 4, 0].item() == int(square * 8 / 256)
    assert view({"image": torch.full_like(image, 255)}).unique().tolist() == [7]


@pytest.mark.parametrize("density", ["cts", "pixel_cnn"])
def test_nothing_waits_for_the_device(density):
    reward, seen = made(density=density, chunk=5).to(META), rollout(GRID, T, B)
    seen = seen._replace(**{k: tree_map(lambda x: x.to(META), getattr(seen, k)) for k in PARTS})
    with OnlyOnTheDevice():
        reward.observe(seen, NOTHING, reward.score(seen, NOTHING, ()))
        reward.warm_up(seen)


def test_there_has_to_be_an_image():
    with pytest.raises(ValueError, match="pseudo_count needs images"):
        made(spec(vector=3))
