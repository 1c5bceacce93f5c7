"""RIDE: changes that the agent makes pay, less at each visit, and no reset is a change."""

import math

import pytest
import torch
from torch.nn import functional as F

from morello.auxiliaries.intrinsic.ride import RIDE, RIDEConfig, impact
from morello.auxiliaries.reduction import reduce
from morello.backbones import Sizes

from ...support.figures import figures
from ...support.oracles import softmax
from ...support.rollouts import features, rollout, spec

T, B, A, PLACES = 13, 5, 3, 7
SPEC, SIZES = spec(vector=PLACES, actions=A)._replace(max_steps=40), Sizes(None, 7, 11)
GIVEN = features(SIZES, T, B)  # of which these rewards read nothing


def build(spec=SPEC, seed=0, **options):
    torch.manual_seed(seed)
    return RIDE(RIDEConfig(**{"hidden": 19, **options}), spec, SIZES)


def played(seed=0, ends=0.2):
    """A rollout whose vectors tell the place one is at, at random; and the places [T + 1, B]."""
    walk = torch.randint(PLACES, (T + 1, B), generator=torch.Generator().manual_seed(seed))
    return rollout(SPEC, T, B, seed, ends)._replace(observation={"vector": F.one_hot(walk, PLACES).float()}), walk


def scores(module, of, state=None):
    with torch.no_grad():
        return module.score(of, GIVEN, module.initial_state(of.reward.shape[1]) if state is None else state)


def part(of, start, stop):
    """Rows ``start`` to ``stop`` of a rollout."""
    rows = {name: getattr(of, name)[start : stop + 1] for name in ("first", "last", "task")}
    steps = {name: getattr(of, name)[start:stop] for name in ("action", "logits", "reward", "discount")}
    observation = {name: x[start : stop + 1] for name, x in of.observation.items()}
    return of._replace(observation=observation, **rows, **steps)


def remembered(state):
    """The keys of each environment's episode."""
    return [row[len(row) - n :] for row, n in zip(state.entries.tolist(), state.length.tolist(), strict=True)]


class Given(torch.nn.Module):
    """Embeds a vector as its first number."""

    def forward(self, views):
        return views["vector"][:, :1]


def walked(*values, first=(), last=()):
    """One environment whose vectors begin with these values; ``first`` and ``last`` are rows."""
    vector = torch.zeros(len(values), 1, PLACES)
    vector[:, 0, 0] = torch.tensor(values)
    of = rollout(SPEC, len(values) - 1, 1, ends=0.0)
    flags = {"first": torch.zeros_like(of.first), "last": torch.zeros_like(of.last)}
    for name, rows in (("first", first), ("last", last)):
        flags[name][list(rows)] = True
    return of._replace(observation={"vector": vector}, **flags)


def test_the_oracles_path():
    """Features 0, 1, 3, 1 of a, b, c, b: one, two, and two over the root of two visits; who stays gets nothing."""
    module = build()
    module.embedding = Given()
    found = scores(module, walked(0.0, 1.0, 3.0, 1.0, 1.0, first=[0])).raw.squeeze(-1)
    assert found.tolist() == pytest.approx([1.0, 2.0, math.sqrt(2.0), 0.0])


def test_a_reset_is_no_change_and_clears_the_counts():
    """a, b | a, b: what is beyond the reset counts anew, and its huge change is not of a valid row."""
    module = build()
    module.embedding = Given()
    of = walked(0.0, 1.0, 100.0, 101.0, 100.0, first=[0, 2], last=[1])
    assert of.valid.squeeze(-1).tolist() == [True, False, True, True]
    found = scores(module, of).raw.squeeze(-1)
    assert found[of.valid.squeeze(-1)].tolist() == pytest.approx([1.0, 1.0, 1 / math.sqrt(2)])
    again = walked(1.0, 0.0, 1.0, first=[0])
    assert scores(module, again, scores(module, of).state).raw.squeeze(-1).tolist() == pytest.approx([1.0, 0.5**0.5])


def test_impact_is_the_euclidean_norm():
    phi = torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]], [[3.0, 4.0]], [[3.0, -1.0]]])
    assert impact(phi).squeeze(-1).tolist() == [5.0, 0.0, 5.0]


def test_scores_and_losses_are_those_of_a_loop():
    module, (of, walk) = build(forward_cost=3.0, inverse_cost=0.7), played()
    found = scores(module, of)
    one, _, two = module.embedding.layers
    value, mask = module(of, GIVEN, found)
    assert torch.equal(mask, of.valid)
    assert not mask.all()
    changes, right, taken, new = [], [], [0] * A, []

    def phi(t, b):
        return two(F.elu(one(of.observation["vector"][t, b])))

    for b in range(B):
        been = []
        for t in range(T):
            been = [] if of.first[t, b] else been
            been.append(walk[t, b].item())
            if of.last[t, b]:
                continue
            number = [*been, walk[t + 1, b].item()].count(walk[t + 1, b].item())
            before, after, action = phi(t, b), phi(t + 1, b), of.action[t, b].item()
            change = math.dist(after.tolist(), before.tolist())
            assert found.raw[t, b].item() == pytest.approx(change / math.sqrt(number), abs=1e-5)
            p = softmax(module.inverse.layers(torch.cat([before, after])).tolist())
            guess = module.dynamics.layers(torch.cat([before, F.one_hot(of.action[t, b], A)]))
            loss = 3.0 * math.dist(guess.tolist(), after.tolist()) - 0.7 * math.log(p[action])
            assert value[t, b].item() == pytest.approx(loss, abs=1e-4)
            changes.append(change)
            right.append(p[action] == max(p))
            taken[action] += 1
            new.append(number == 1)
    shown = figures(module)
    assert shown["impact"].item() == pytest.approx(sum(changes) / len(changes), rel=1e-4)
    assert shown["accuracy"].item() == pytest.approx(sum(right) / len(right))
    assert shown["chance"].item() == pytest.approx(max(taken) / sum(taken))
    assert shown["first_visits"].item() == pytest.approx(sum(new) / len(new))


def test_both_losses_shape_the_features():
    of, _ = played()
    for costs in ({"forward_cost": 0.0}, {"inverse_cost": 0.0}, {}):
        module = build(**costs)
        reduce(*module(of, GIVEN, scores(module, of))).backward()
        assert all(p.grad.isfinite().all() and p.grad.any() for p in module.embedding.parameters())


def test_nothing_is_read_across_a_reset():
    module, (of, _) = build(), played(ends=0.3)
    episode = of.first.long().cumsum(0)
    clean = scores(module, of)
    value, _ = module(of, GIVEN, clean)
    for number in range(1, int(episode.max()) + 1):
        other = (episode != number).unsqueeze(-1)
        broken = of._replace(
            observation={"vector": torch.where(other, torch.nan, of.observation["vector"])},
            action=torch.where(of.valid, of.action, -999),
        )
        mine = (episode[1:] == number) & of.valid
        found = scores(module, broken)
        assert mine.any()
        assert torch.equal(found.raw[mine], clean.raw[mine])
        assert torch.equal(module(broken, GIVEN, found)[0][mine], value[mine])


def test_a_split_rollout_is_scored_alike():
    module, (of, _) = build(), played(ends=0.15)
    whole = scores(module, of)
    for cut in (1, 6, 12):
        one = scores(module, part(of, 0, cut))
        two = scores(module, part(of, cut, T), one.state)
        torch.testing.assert_close(torch.cat([one.raw, two.raw])[of.valid], whole.raw[of.valid], rtol=1e-5, atol=1e-5)
        assert remembered(two.state) == remembered(whole.state)


def test_neighbours_do_not_matter():
    module, (of, _) = build(), played()
    state = scores(module, played(seed=5)[0]).state
    whole = scores(module, of, state)
    for b in range(B):
        alone = of._replace(
            **{name: getattr(of, name)[:, [b]] for name in ("first", "last", "task", "action", "reward", "discount")},
            observation={"vector": of.observation["vector"][:, [b]]},
        )
        one = scores(module, alone, type(state)(*(x[[b]] for x in state)))
        torch.testing.assert_close(one.raw[alone.valid], whole.raw[:, [b]][alone.valid], rtol=1e-5, atol=1e-5)
        assert remembered(one.state) == remembered(whole.state)[b : b + 1]


def test_the_cell_may_be_counted_instead():
    """In one cell all the time, views are new and visits are not."""
    of = walked(0.0, 1.0, 2.0, 3.0)._replace(info={"cell": torch.zeros(4, 1, dtype=torch.int64)})
    for key, expected in (("view", [1.0, 1.0, 1.0]), ("cell", [2**-0.5, 3**-0.5, 0.5])):
        module = build(key=key)
        module.embedding = Given()
        assert scores(module, of).raw.squeeze(-1).tolist() == pytest.approx(expected)


def test_images_are_embedded_by_convolutions_alone():
    shown = spec(image=(7, 7, 3), actions=A)._replace(max_steps=40)
    module, of = build(shown), rollout(shown, T, B)
    assert module.embedding.size == 128
    assert len(list(module.embedding.layers.parameters())) == 0
    value, mask = module(of, GIVEN, scores(module, of))
    assert value.shape == mask.shape == (T, B)
    both = spec(image=(7, 7, 3), vector=2, actions=A)._replace(max_steps=40)
    assert build(both).embedding.size == 19


def ring(seed, moves, columns=31):
    """A ring of places that actions walk along by one, or not, or back; beside it noise that nothing influences. If not
    ``moves``, one jumps anywhere instead.
    """
    g = torch.Generator().manual_seed(seed)
    shown = spec(vector=2 * PLACES, actions=A)._replace(max_steps=40)
    of = rollout(shown, T, columns, seed)
    at = [torch.randint(PLACES, (columns,), generator=g)]
    for t in range(T):
        jump = torch.randint(PLACES, (columns,), generator=g)
        at.append(torch.where(of.first[t + 1], jump, (at[-1] + of.action[t] - 1) % PLACES if moves else jump))
    place = F.one_hot(torch.stack(at), PLACES).float()
    noise = torch.randn(T + 1, columns, PLACES, generator=g)
    return of._replace(observation={"vector": torch.cat([place, noise], -1)})


def trained(moves, **options):
    """A module that has learned from such rings, and the ratio of the impact of a step to that of noise alone: before
    and after.
    """
    shown = spec(vector=2 * PLACES, actions=A)._replace(max_steps=40)
    module = build(shown, **{"hidden": 48, **options})
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    ratios = []
    for step in range(201):
        if step in (0, 200):
            of = ring(999, moves)
            with torch.no_grad():
                change = impact(module.embed(of))
            place = of.observation["vector"][..., :PLACES].argmax(-1)
            still = of.valid & (place[1:] == place[:-1])
            ratios.append((change[of.valid & ~still].mean() / change[still].mean()).item())
        of, optimizer.param_groups[0]["lr"] = ring(step, moves), 3e-3 * (1 - step / 201)
        optimizer.zero_grad()
        reduce(*module(of, GIVEN, scores(module, of))).backward()
        optimizer.step()
    return figures(module), ratios


def test_steps_pay_more_than_noise_once_features_have_learned_what_actions_do():
    """The trap: in random features noise is as large a change as a step."""
    shown, (before, after) = trained(moves=True)
    assert before < 1.3
    assert after > 1.5 * before
    assert shown["accuracy"] > 0.95
    assert shown["impact"] > 0.3


def test_what_no_action_influences_is_not_told_from_noise():
    """The control."""
    shown, (before, after) = trained(moves=False)
    assert shown["accuracy"] < shown["chance"] + 0.15
    assert after < 1.2 * before


def test_features_shrink_where_the_forward_model_shapes_what_it_predicts():
    """The trap of the authors' losses, which is why it does not by default."""
    shown, _ = trained(moves=True, shape_target=True)
    assert shown["accuracy"] < 0.6
    assert shown["impact"] < 0.05
