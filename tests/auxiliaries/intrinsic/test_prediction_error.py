"""Prediction error: closed forms, what features are trained by, and what it cannot help being attracted to."""

import copy
import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from morello.auxiliaries.intrinsic.parts.autoencoder import Autoencoder, gaussian_kl
from morello.auxiliaries.intrinsic.parts.view import View
from morello.auxiliaries.intrinsic.prediction_error import PredictionError, PredictionErrorConfig, mean_squared_error
from morello.auxiliaries.reduction import reduce
from morello.backbones import Sizes

from ...support.figures import figures
from ...support.rewards import NOTHING
from ...support.rollouts import rollout, spec

T, B, A, V, N = 13, 7, 3, 5, 211
KINDS = ["pixels", "random", "vae", "inverse"]
BOTH = spec(image=(23, 29, 3), vector=V, actions=A)
VECTOR = spec(vector=V, actions=A)


def built(world, kind, seed=0, **settings):
    torch.manual_seed(seed)
    settings = {"size": 11, "hidden": 17, "blocks": 1, **settings}
    return PredictionError(PredictionErrorConfig(features=kind, **settings), world, Sizes(None, 5, 7))


def warm(reward, world):
    """The reward after steps of a warm-up."""
    reward.warm_up(rollout(world, 11, 7, seed=99))
    return reward


def learn(reward, world, updates, rate):
    """Score, then learn, rollouts of ``world(update)``. Return the bonuses of each."""
    optimizer = torch.optim.Adam([p for p in reward.parameters() if p.requires_grad], rate)
    bonuses = []
    for update in range(updates):
        seen = world(update)
        with torch.no_grad():
            scored = reward.score(seen, NOTHING, ())
            reward.observe(seen, NOTHING, scored)
        bonuses.append(scored.raw)
        optimizer.zero_grad()
        reduce(*reward(seen, NOTHING, scored)).backward()
        optimizer.step()
    return torch.stack(bonuses)


def unbroken(world, T, B, seed=0):
    return rollout(world, T, B, seed, ends=0)


def test_the_error_is_a_mean_over_features():
    guess, target = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    torch.testing.assert_close(mean_squared_error(guess, target), torch.tensor([13 / 3]))


def features_of(reward, seen, t, b):
    """Features of one observation, from its own view alone."""
    views = reward.view({name: x[t : t + 1, b : b + 1] for name, x in seen.observation.items()})
    if reward.kind == "pixels":
        return torch.cat([views["image"].flatten() / 255, views["vector"].flatten()])
    views = reward.whitening(views)
    if reward.kind == "vae":
        return reward.embedding.encoder(views)[0, : reward.config.size]  # means, then log variances
    return reward.embedding(views)[0]


def guess_of(models, phi, action):
    """What the first model predicts, layer by layer."""
    done = torch.tensor([float(action == i) for i in range(A)])

    def layer(of, x):
        return torch.cat([x, done]) @ of.weight[0] + of.bias[0, 0]

    def leaky(x):
        return torch.where(x > 0, x, 0.2 * x)

    y = leaky(layer(models.enter, phi))
    y = y + layer(models.blocks[1], leaky(layer(models.blocks[0], y)))
    return layer(models.leave, y)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_scores_one_by_one(kind):
    reward, seen = warm(built(BOTH, kind), BOTH), rollout(BOTH, T, B, seed=3)
    scored = reward.score(seen, NOTHING, ()).raw
    assert scored.shape == (T, B)
    assert not seen.valid.all()
    for t, b in seen.valid.nonzero().tolist():
        before, after = (features_of(reward, seen, row, b) for row in (t, t + 1))
        guess = guess_of(reward.dynamics, before, seen.action[t, b]) + (before if kind == "pixels" else 0)
        expected = sum((guess[i] - after[i]).item() ** 2 for i in range(len(after))) / len(after)
        assert scored[t, b].item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_read_across_a_reset(kind):
    """Neither reward, discount nor action of a row that crosses, nor another episode or environment."""
    reward, seen = warm(built(BOTH, kind), BOTH), rollout(BOTH, T, B, seed=3)
    crossing = ~seen.valid
    assert seen.reward[crossing].isnan().all()
    odd = seen._replace(action=torch.where(crossing, 10**9, seen.action))
    scores = []
    for one in (seen, odd):
        fresh = copy.deepcopy(reward)
        with torch.no_grad():
            scored = fresh.score(one, NOTHING, ())
        scores.append(scored.raw)
        value = reduce(*fresh(one, NOTHING, scored))
        value.backward()
        scores.append(torch.cat([p.grad.flatten() for p in fresh.parameters() if p.grad is not None]))
        assert scores[-1].isfinite().all()
    assert torch.equal(scores[0][seen.valid], scores[2][seen.valid])
    assert torch.equal(scores[1], scores[3])

    column = int((crossing[1:-1].any(0) & ~crossing[0]).nonzero()[0])  # an environment with a reset in the middle
    end = int(crossing[:, column].nonzero()[0])
    other = {name: x.clone() for name, x in seen.observation.items()}
    for x in other.values():
        x[end + 1 :, column] = 0
        x[:, :column], x[:, column + 1 :] = 0, 0
    with torch.no_grad():
        there = reward.score(seen._replace(observation=other), NOTHING, ()).raw
    torch.testing.assert_close(there[:end, column], scores[0][:end, column])
    assert not torch.isclose(there[end + 1 :, column], scores[0][end + 1 :, column]).all()


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_rollout_split_in_two_scores_the_same_and_scoring_changes_nothing(kind):
    reward, seen = warm(built(BOTH, kind), BOTH), rollout(BOTH, T, B, seed=3)
    before = {name: x.clone() for name, x in reward.state_dict().items()}
    whole = reward.score(seen, NOTHING, ()).raw
    halves = []
    for begin, end in ((0, 6), (6, T)):
        rows = {k: x[begin : end + 1] for k, x in seen.observation.items()}
        steps = {k: getattr(seen, k)[begin:end] for k in ("action", "logits", "reward", "discount")}
        ends = {k: getattr(seen, k)[begin : end + 1] for k in ("first", "last", "task", "skill")}
        halves.append(reward.score(seen._replace(observation=rows, **ends, **steps), NOTHING, ()).raw)
    torch.testing.assert_close(torch.cat(halves), whole)
    after = reward.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("kind", KINDS)
def test_the_forward_model_never_trains_the_features(kind):
    """With another forward model the features' gradient is the same, bit for bit."""
    reward, seen = warm(built(BOTH, kind), BOTH), rollout(BOTH, T, B, seed=3)
    gradients, own = [], []
    for _ in range(2):
        fresh = copy.deepcopy(reward)
        with torch.no_grad():
            scored = fresh.score(seen, NOTHING, ())
        reduce(*fresh(seen, NOTHING, scored)).backward()
        gradients.append([p.grad for p in fresh.embedding.parameters() if p.requires_grad])
        own.append(fresh.dynamics.enter.weight.grad)
        with torch.no_grad():
            for p in reward.dynamics.parameters():
                p.mul_(-2)
    assert len(gradients[0]) > 0 if kind in ("vae", "inverse") else gradients == [[], []]
    assert all(torch.equal(a, b) and a.abs().sum() > 0 for a, b in zip(*gradients, strict=True))
    assert not torch.equal(*own)


def test_the_divergence_against_torch():
    mean, log_variance = torch.randn(13, 5), torch.randn(13, 5)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected)
    assert gaussian_kl(torch.ones(1, 1), torch.zeros(1, 1)).item() == 0.5


def test_the_autoencoders_costs_one_by_one():
    """In nats per value: 12 pixels a channel and the vector."""
    world = spec(image=(3, 4, 2), vector=V, actions=A)
    torch.manual_seed(0)
    model = Autoencoder(View(world, 42), 7)
    views = {"image": torch.randn(13, 2, 3, 4), "vector": torch.randn(13, V)}
    with torch.no_grad():
        model.log_variance.fill_(-0.7)
        mean, _ = model.posterior(views)
        told, kl = model.costs(views, mean, torch.full_like(mean, -200.0))  # codes without noise
        image = model.decoders["image"](mean).squeeze(-1).permute(0, 3, 1, 2)
        vector = model.decoders["vector"](mean).squeeze(-1)
    scale = math.sqrt(math.exp(-0.7) + 0.01)
    expected = -Normal(image, scale).log_prob(views["image"]).flatten(1).sum(1)
    expected -= Normal(vector, scale).log_prob(views["vector"]).sum(1)
    torch.testing.assert_close(told, expected / (2 * 12 + V))
    torch.testing.assert_close(kl, ((mean.square() - 1 + 200).sum(1) / 2 / 29))


def codes(side, pattern):
    """A world that shows ``pattern`` [T + 1, B, *side] of zeros and ones, as codes 0 and 10: pixels 0 and 1."""
    world = spec(image=(*side, 1), actions=A)

    def at(update):
        shown = pattern(update)
        seen = unbroken(world, len(shown) - 1, shown.shape[1], seed=update)
        seen.observation["image"] = (shown * 10).to(torch.uint8).unsqueeze(-1)
        return seen

    return world, at


def dot(update):
    """A dot that goes round, each environment from a place of its own."""
    place = (torch.arange(T + 1).unsqueeze(-1) + torch.arange(B)) % 12
    return torch.nn.functional.one_hot(place, 12).view(T + 1, B, 3, 4)


def coin(update):
    return torch.randint(2, (T + 1, B, 3, 4), generator=torch.Generator().manual_seed(update))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [(lambda _: torch.ones(T + 1, B, 3, 4), 0), (dot, 0), (coin, 0.25)],
    ids=["static", "dot", "coin"],
)
def test_pixels_of_what_can_be_known_and_of_coins(pattern, expected):
    world, at = codes((3, 4), pattern)
    bonuses = learn(built(world, "pixels", hidden=32), at, 200, rate=5e-3)
    assert bonuses[-20:].mean().item() == pytest.approx(expected, abs=0.004 if not expected else 0.03)
    assert bonuses[0].mean() > 0.03


def transitions(after):
    """A world of single transitions from normal vectors: ``after(before [N, V], action [N], generator)``."""

    def at(update):
        seen, own = unbroken(VECTOR, 1, N, update), torch.Generator().manual_seed(update)
        before = torch.randn(N, V, generator=own)
        seen.observation["vector"] = torch.stack([before, after(before, seen.action[0], own)])
        return seen

    return at


ROTATION, _ = torch.linalg.qr(torch.randn(V, V, generator=torch.Generator().manual_seed(5)))


def linear(noise):
    """``o[t + 1] = R o[t] + a + noise``, R a rotation, a the action."""
    return transitions(lambda x, a, g: x @ ROTATION + a.unsqueeze(-1) / 2 + noise * torch.randn(N, V, generator=g))


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_linear_dynamics_and_the_variance_of_noise(noise):
    """Vectors are features as they are: what is left is the noise's variance."""
    bonuses = learn(built(VECTOR, "pixels", hidden=64, blocks=0), linear(noise), 300, rate=1e-2)
    assert bonuses[-30:].mean().item() == pytest.approx(noise**2, abs=0.01 + 0.1 * noise**2)
    assert bonuses[0].mean() > 1


def television(switched):
    """Action 1 shows noise, or one picture if the television is not ``switched`` on; others turn what is seen."""

    def after(x, action, generator):
        shown = torch.randn(N, V, generator=generator) if switched else -torch.ones(N, V)
        return torch.where((action == 1).unsqueeze(-1), shown, x @ ROTATION)

    return transitions(after)


@pytest.mark.parametrize("switched", [True, False])
def test_it_watches_a_noisy_television(switched):
    """Its known trap: noise stays worth its variance, and the rest next to nothing. Without noise nothing remains."""
    at = television(switched)
    reward = built(VECTOR, "random", hidden=64, blocks=1)
    reward.warm_up(at(10**6))
    bonuses = learn(reward, at, 300, rate=5e-3)
    watched = torch.stack([at(update).action == 1 for update in range(300)])
    assert bonuses[0][watched[0]].mean() > 0.4
    assert bonuses[0][~watched[0]].mean() > 0.4
    assert bonuses[-30:][~watched[-30:]].mean() < 0.1
    unknown = bonuses[-30:][watched[-30:]].mean()
    assert unknown > 0.6 if switched else unknown < 0.1


def walk(x, action, generator):
    """A coordinate that actions move, and the rest is noise."""
    after = torch.randn(N, V, generator=generator)
    after[:, 0] = x[:, 0] + action - 1
    return after


def test_inverse_features_tell_the_action_and_see_less_noise():
    """Relative to the features' own change, little of the noise is left in them; of random features nearly all is."""
    left = {}
    for kind in ("inverse", "random"):
        reward, at = built(VECTOR, kind, hidden=48, size=3), transitions(walk)
        reward.warm_up(at(10**6))
        learn(reward, at, 250, rate=1e-2)
        found = figures(reward)
        left[kind] = (found["forward_error"] / found["change"]).item()
        if kind == "inverse":
            assert found["accuracy"] > 0.95
            assert found["chance"] < 0.5
    assert left["inverse"] < 0.3
    assert left["random"] > 0.4


def test_codes_tell_what_is_seen():
    """Values that are nearly equal take one number: telling it costs less than it saves."""
    at = transitions(lambda x, a, g: x[:, :1] + 0.1 * torch.randn(N, V, generator=g))
    reward = built(VECTOR, "vae", size=3)
    reward.warm_up(at(10**6))
    learn(reward, at, 250, rate=1e-2)
    found = figures(reward)
    alone = (math.log(2 * math.pi) + 1) / 2  # nats per value of a standard normal variable
    assert found["kl"] > 0.1
    assert found["reconstruction"] + found["kl"] < alone - 0.5
