"""RND: the decay of a table, what warming up sets, and what stays novel."""

import pytest
import torch
from torch import nn

from morello.auxiliaries.intrinsic.parts.view import taken
from morello.auxiliaries.intrinsic.parts.whitening import flat
from morello.auxiliaries.intrinsic.rnd import RND, RNDConfig
from morello.backbones import Sizes
from morello.backbones.rectified import folded
from morello.envs.trees import tree_map

from ...support.rewards import learn, part, permuted, score, snapshot, unchanged, unseen
from ...support.rollouts import rollout, spec

T, B, D = 7, 5, 23
IMAGE, SMALL, VECTOR = spec(image=(36, 44, 3)), spec(image=(20, 22, 1)), spec(vector=11)


def built(world, seed=0, **settings):
    torch.manual_seed(seed)
    return RND(RNDConfig(**{"size": D, "train_share": 1.0, **settings}), world, Sizes(None, 17, 13))


def shown(images, seed=0, ends=0.0):
    """A rollout [T, B] of these images [T + 1, B, ...]."""
    like = rollout(IMAGE, len(images) - 1, images.shape[1], seed, ends)
    return like._replace(observation={"image": images})


def noise(seed, rows=T + 1):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(256, (rows, B, 36, 44, 3), generator=g, dtype=torch.uint8)


class Table(nn.Module):
    """A linear predictor of one-hot observations, beside a random table."""

    def __init__(self, states):
        super().__init__()
        self.guess, self.table = torch.nn.Parameter(torch.zeros(states, D)), torch.randn(states, D)

    def target(self, views):
        return views["vector"] @ self.table

    def error(self, views, target=None):
        target = self.target(views)
        return (views["vector"] @ self.guess - target).square().mean(-1), target


def test_in_a_table_the_error_of_a_state_seen_n_times_has_fallen_by_1_minus_a_to_the_2n():
    states, a = 11, 0.3
    rnd = built(VECTOR)
    rnd.networks, rnd.whitening = Table(states), nn.Identity()
    rnd.whitening.update, rnd.whitening.begun = (lambda views: None), True
    optimizer = torch.optim.SGD(rnd.parameters(), lr=a * D / 2)
    visits = [0] * states
    start = rnd.networks.table.square().mean(-1)
    for state in [3, 3, 7, 3, 7, 0, 3, 3]:
        seen = torch.eye(states)[[1, state]].unsqueeze(1)  # what was acted from is not what is scored
        one = rollout(VECTOR, 1, 1, 0, 0.0)._replace(observation={"vector": seen})
        found = learn(rnd, one, optimizer).raw
        torch.testing.assert_close(found[0, 0], start[state] * (1 - a) ** (2 * visits[state]))
        visits[state] += 1
    everywhere = rnd.networks.error({"vector": torch.eye(states)})[0]
    torch.testing.assert_close(everywhere, start * torch.tensor([(1 - a) ** (2 * n) for n in visits]))
    never = [s for s in range(states) if not visits[s]]
    assert torch.equal(everywhere[never], start[never]), "states that were never seen are unchanged"


@pytest.mark.parametrize("world", [IMAGE, VECTOR], ids=["image", "vector"])
def test_the_observation_arrived_at_is_scored_by_the_whitened_error(world):
    rnd, seen = built(world), rollout(world, T, B, 1)
    rnd.whitening.update(rnd.arrived(rollout(world, T, B, 2)))
    found = score(rnd, seen)
    for t in range(T):
        for b in range(B):
            one = {k: x[t + 1, b].unsqueeze(0) for k, x in seen.observation.items()}
            views = rnd.whitening(rnd.view(one))
            with torch.no_grad():
                difference = rnd.networks.predict(views) - rnd.networks.target(views)
            torch.testing.assert_close(found.raw[t, b], difference.square().mean(), rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(found.context.target[t, b], rnd.networks.target(views)[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("world", [IMAGE, VECTOR], ids=["image", "vector"])
def test_warming_up_sets_statistics_and_nothing_else(world):
    rnd, before = built(world), None
    seen = [rollout(world, T, B, seed) for seed in (3, 4)]
    before = snapshot(rnd.networks)
    for one in seen:
        rnd.warm_up(one)
    assert unchanged(rnd.networks, before)
    for name, moments in rnd.whitening.moments.items():
        x = flat(torch.cat([rnd.arrived(one)[name] for one in seen])).double()
        assert moments.count == len(x) == 2 * T * B
        torch.testing.assert_close(moments.mean, x.mean(0), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(moments.squares / moments.count, x.var(0, correction=0), rtol=1e-3, atol=1e-4)


def test_before_anything_was_seen_a_rollout_is_whitened_by_its_own_moments():
    """All of it at once: parts of it would have moments of their own, and are only apart once some are known."""
    rnd, rows = built(SMALL), rollout(SMALL, 12, 16, 5)
    observation = {"image": torch.randint(256, (12, 16, 20, 22, 1), dtype=torch.uint8)}
    for _ in range(2):
        white = rnd.whitening(rnd.view(observation))["image"]
        expected = folded(white[:, :, :20, :20], 4, 4)
        assert torch.equal(taken(rnd.whitened(observation))["image"], expected)
        rnd.whitening.update(rnd.view(rows.observation))


def test_a_warm_up_is_asked_for_by_default():
    assert RNDConfig().warmup_steps > 0


def trained(frames, steps=80):
    """A reward that has learnt from the rollouts ``frames(step)``; its last mean score, and the first."""
    rnd = built(SMALL, side=20)
    rnd.warm_up(shown(few(0)))
    rnd.warm_up(shown(few(10**6)))
    optimizer = torch.optim.Adam(rnd.parameters(), 3e-3)
    bonus = [float(learn(rnd, shown(frames(i)), optimizer).raw.mean()) for i in range(steps)]
    return rnd, bonus


def few(seed, distinct=4 * B):
    """Small frames of noise, of which so many are distinct."""
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (distinct, *SMALL.observation["image"][0]), generator=g, dtype=torch.uint8)
    return images[torch.arange(4 * B) % distinct].view(4, B, *images.shape[1:])


def test_the_error_falls_for_what_is_seen_and_not_for_what_is_not():
    before, _ = trained(lambda i: few(0, 3), steps=1)
    after, bonus = trained(lambda i: few(0, 3))
    assert bonus[-1] < 0.1 * bonus[0]
    other = [float(score(rnd, shown(few(7))).raw.mean()) for rnd in (before, after)]
    assert other[1] > 0.5 * other[0]


def test_new_noise_stays_novel_and_old_noise_does_not():
    """The known trap: it is not the noise of transitions that attracts, but frames that never come again."""
    _, old = trained(lambda i: few(0, 3))
    _, new = trained(lambda i: few(i))
    assert new[-1] > 3 * old[-1]
    assert new[-1] > 0.7 * new[-20], "it has stopped falling"


def test_its_loss_is_what_was_scored_while_statistics_hold_and_leaves_out_resets():
    rnd = built(IMAGE)
    for seed in range(40):
        rnd.warm_up(shown(noise(seed)))
    seen = shown(noise(50), ends=0.3)
    scored = score(rnd, seen)
    rnd.observe(seen, unseen(seen), scored)
    value, mask = rnd(seen, unseen(seen), scored)
    assert torch.equal(mask, seen.valid)
    assert not mask.all()
    torch.testing.assert_close(value, scored.raw, rtol=0.2, atol=0)
    # Less the rollout's share in the statistics, it is the same to rounding.
    again, _ = rnd(seen, unseen(seen), score(rnd, seen))
    torch.testing.assert_close(again, score(rnd, seen).raw, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("share", "every"), [(0.5, 2), (0.3, 3), (1e-3, B)])
def test_a_share_of_the_environments_is_learnt_from_in_turns(share, every):
    all_of_it, some = built(IMAGE), built(IMAGE, train_share=share)
    for rnd in (all_of_it, some):
        rnd.warm_up(shown(noise(4)))
    seen = shown(noise(3), ends=0.2)
    whole, _ = all_of_it(seen, unseen(seen), score(all_of_it, seen))
    for sequence in range(2 * every):
        now = seen._replace(sequence=sequence)
        value, mask = some(now, unseen(now), score(some, now))
        mine = torch.arange(B) % every == sequence % every
        assert torch.equal(mask, seen.valid & mine)
        torch.testing.assert_close(value[mask], whole[mask], rtol=1e-4, atol=1e-6)


def test_only_the_predictor_learns_and_minibatches_see_their_own_targets():
    rnd, seen = built(IMAGE), shown(noise(3), ends=0.2)
    rnd.warm_up(shown(noise(4)))
    scored = score(rnd, seen)
    whole, _ = rnd(seen, unseen(seen), scored)
    piece = scored._replace(raw=scored.raw[2:5, 1:4], context=tree_map(lambda x: x[2:5, 1:4], scored.context))
    columns = permuted(part(seen, 2, 5), torch.tensor([1, 2, 3]))
    some, _ = rnd(columns, unseen(columns), piece)
    torch.testing.assert_close(some, whole[2:5, 1:4], rtol=1e-3, atol=1e-5)
    whole.sum().backward()
    trained = {k for k, p in rnd.named_parameters() if p.grad is not None and p.grad.any()}
    assert trained == {k for k, p in rnd.named_parameters() if not k.startswith("networks.target")}
