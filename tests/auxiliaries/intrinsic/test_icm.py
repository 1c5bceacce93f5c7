"""ICM: what its features keep and what they lose, its two losses by hand, and nothing across a reset."""

import pytest
import torch
from torch.nn import functional as F

from morello.auxiliaries.intrinsic.icm import ICM, ICMConfig, squared_error
from morello.auxiliaries.intrinsic.parts.dynamics import ForwardModel, InverseModel
from morello.backbones import Sizes

from ...support.rewards import learn, permuted, score, unseen
from ...support.rollouts import rollout, spec

T, B, A = 11, 7, 5
WORLDS = {
    "grid": spec(image=(7, 7, 3), actions=A),
    "image": spec(image=(36, 44, 3), actions=A),
    "vector": spec(vector=11, actions=A),
    "both": spec(image=(7, 7, 3), vector=11, actions=A),
}


def built(world, seed=0, **settings):
    torch.manual_seed(seed)
    return ICM(ICMConfig(**{"hidden": 31, **settings}), world, Sizes(None, 17, 13))


def test_the_error_is_half_of_a_sum_over_features():
    guess = torch.tensor([[[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]])
    phi = torch.tensor([[[1.0, 0.0, 6.0], [0.0, -1.0, 0.0]]])
    assert squared_error(guess, phi).tolist() == [[(4 + 9) / 2, 0.5]]


@pytest.mark.parametrize("kind", WORLDS)
def test_the_bonus_and_both_losses_are_those_of_a_loop_over_transitions(kind):
    icm, seen = built(WORLDS[kind], forward_share=0.3), rollout(WORLDS[kind], T, B, 1, 0.2)
    scored = score(icm, seen)
    value, mask = icm(seen, unseen(seen), scored)
    assert torch.equal(mask, seen.valid)
    assert 0 < mask.sum() < T * B

    def phi(t, b):
        return icm.embedding(icm.view({k: x[t, b].unsqueeze(0) for k, x in seen.observation.items()}))

    right = []
    for t in range(T):
        for b in range(B):
            if not seen.valid[t, b]:
                continue
            before, after, action = phi(t, b), phi(t + 1, b), seen.action[t, b].view(1)
            error = (icm.dynamics(before, action) - after).square().sum() / 2
            logits = icm.inverse(before, after)
            right.append(float(logits.argmax() == action))
            torch.testing.assert_close(scored.raw[t, b], error.detach(), rtol=1e-3, atol=1e-4)
            expected = 0.7 * F.cross_entropy(logits, action) + 0.3 * error
            torch.testing.assert_close(value[t, b], expected, rtol=1e-3, atol=1e-4)
    assert float(icm.metrics["accuracy"]) == pytest.approx(sum(right) / len(right))
    assert float(icm.metrics["forward_error"]) == pytest.approx(float(scored.raw[mask].mean()), rel=1e-3)


@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.parametrize("shape_features", [False, True])
def test_what_trains_the_features_is_a_setting(kind, shape_features):
    icm, seen = built(WORLDS[kind], forward_share=1.0, shape_features=shape_features), rollout(WORLDS[kind], T, B, 2)
    value, mask = icm(seen, unseen(seen), score(icm, seen))
    value[mask].sum().backward()
    reached = {k.partition(".")[0] for k, p in icm.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"dynamics"} | ({"embedding"} if shape_features else set())


@pytest.mark.parametrize("kind", WORLDS)
def test_whatever_the_action_was_where_an_episode_is_reset(kind):
    icm, seen = built(WORLDS[kind]), rollout(WORLDS[kind], T, B, 3, 0.3)
    poisoned = seen._replace(action=torch.where(seen.valid, seen.action, 99))
    found = []
    for one in (seen, poisoned):
        icm.zero_grad()
        scored = score(icm, one)
        value, mask = icm(one, unseen(one), scored)
        value[mask].sum().backward()
        found.append((scored.raw[mask], value[mask], *(p.grad for p in icm.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("kind", WORLDS)
def test_neighbours_do_not_matter(kind):
    icm, seen, order = built(WORLDS[kind]), rollout(WORLDS[kind], T, B, 4), torch.tensor([3, 6, 0, 5, 1, 4, 2])
    torch.testing.assert_close(score(icm, permuted(seen, order)).raw, score(icm, seen).raw[:, order])


# A world of two coordinates: actions move x, and y is new noise in every step.
STEPS, ENVS, MOVES = 16, 8, 2


def moved(kind, seed, ends=0.1):
    """A rollout; x is what actions move, y is noise."""
    g = torch.Generator().manual_seed(seed)
    world = spec(vector=2, actions=MOVES) if kind == "vector" else spec(image=(7, 7, 1), actions=MOVES)
    seen = rollout(world, STEPS, ENVS, seed, ends)
    x = torch.zeros(STEPS + 1, ENVS)
    x[0] = torch.randint(-3, 4, (ENVS,), generator=g)
    for t in range(STEPS):
        step = torch.where(x[t].abs() >= 4, -x[t].sign(), 2.0 * seen.action[t] - 1)
        fresh = torch.randint(-3, 4, (ENVS,), generator=g).float()
        x[t + 1] = torch.where(seen.first[t + 1], fresh, x[t] + step)
        seen.action[t] = torch.where(seen.valid[t], (step > 0).long(), seen.action[t])
    y = torch.randn(STEPS + 1, ENVS, generator=g)
    if kind == "vector":
        observation = {"vector": torch.stack([x / 4, y], -1)}
    else:
        image = torch.zeros(STEPS + 1, ENVS, 7, 7, 1)
        image[..., 5, 2, 0] = x + 5
        image[..., 1, 4, 0] = (5 + 2 * y).clamp(0, 10).round()
        y = image[..., 1, 4, 0]
        observation = {"image": image.to(torch.uint8)}
    return world, seen._replace(observation=observation), y


def explained(icm, seen, y):
    """R^2 of y in the features: the part of their variance that y explains, by regression on y, y^2 and y^3."""
    with torch.no_grad():
        phi = icm.embed(icm.view.kept(seen.observation), seen).flatten(0, 1).double()
    y = (y.flatten().double() - y.mean()) / y.std()
    known = torch.stack([torch.ones_like(y), y, y**2, y**3], -1)
    residual = phi - known @ torch.linalg.lstsq(known, phi).solution
    return float(1 - residual.var(0).sum() / phi.var(0).sum())


def trained(icm, kind, steps):
    optimizer = torch.optim.Adam(icm.parameters(), 3e-3)
    for i in range(steps):
        learn(icm, moved(kind, i)[1], optimizer)


@pytest.mark.parametrize("kind", ["vector", "grid"])
def test_features_keep_what_actions_move_and_lose_noise(kind):
    world, seen, y = moved(kind, 10**6)
    icm = built(world, hidden=64)
    before = float(score(icm, seen).raw[seen.valid].mean())
    assert explained(icm, seen, y) > 0.2
    trained(icm, kind, 120)
    after = score(icm, seen)
    icm(seen, unseen(seen), after)
    assert float(icm.metrics["accuracy"]) == 1 > float(icm.metrics["chance"])
    assert explained(icm, seen, y) < 0.05
    assert float(after.raw[seen.valid].mean()) < 0.05 * before
    assert float(icm.metrics["feature_size"]) > 0.005, "the features have not shrunk to nothing"


def test_without_features_noise_is_paid_for_ever():
    """The known trap, which is why there are features: half of the variance of y, 1, whatever is learnt."""
    world, seen, _ = moved("vector", 10**6)
    icm = built(world)
    icm.embedding = Raw()
    icm.inverse, icm.dynamics = InverseModel(2, MOVES, 31), ForwardModel(2, MOVES, 31)
    trained(icm, "vector", 120)
    assert 0.4 < float(score(icm, seen).raw[seen.valid].mean()) < 0.8


class Raw(torch.nn.Module):
    """Observations in place of features."""

    def forward(self, views):
        return views["vector"]
