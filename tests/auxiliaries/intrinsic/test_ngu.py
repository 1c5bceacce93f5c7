"""Never give up: what is far from its episode pays, more where it is new in the whole life."""

import math

import pytest
import torch
from torch.nn import functional as F

from morello.auxiliaries.intrinsic.ngu import NGU, NGUConfig, Running, episodic_bonus, modulator, running_mean
from morello.auxiliaries.reduction import reduce
from morello.backbones import Sizes
from morello.envs.trees import tree_map

from ...support.figures import figures
from ...support.oracles import softmax
from ...support.rollouts import features, rollout, spec

T, B, A, V, PLACES = 13, 5, 3, 4, 10
SPEC, SIZES = spec(vector=V, actions=A)._replace(max_steps=40), Sizes(None, 7, 11)
GIVEN = features(SIZES, T, B)  # of which these rewards read nothing
SMALL = {"size": 17, "embedding": 6, "hidden": 19, "neighbours": 3}


def build(spec=SPEC, seed=0, **options):
    torch.manual_seed(seed)
    return NGU(NGUConfig(**{**SMALL, **options}), spec, SIZES)


def scores(module, of, state=None):
    with torch.no_grad():
        return module.score(of, GIVEN, module.initial_state(of.reward.shape[1]) if state is None else state)


def seen(module, *rollouts):
    """``module`` after it has scored and observed these."""
    for of in rollouts:
        module.observe(of, GIVEN, scores(module, of))
    return module


def part(of, start, stop):
    """Rows ``start`` to ``stop`` of a rollout."""
    rows = {name: getattr(of, name)[start : stop + 1] for name in ("first", "last", "task")}
    steps = {name: getattr(of, name)[start:stop] for name in ("action", "logits", "reward", "discount")}
    observation = {name: x[start : stop + 1] for name, x in of.observation.items()}
    return of._replace(observation=observation, **rows, **steps)


def remembered(state):
    """The embeddings of each environment's episode."""
    entries, length = state.episode
    return torch.cat([row[len(row) - n :] for row, n in zip(entries, length.tolist(), strict=True)])


def standing(*places, columns=2):
    """One episode that visits these places of ten, in all columns."""
    shown = spec(vector=PLACES, actions=A)._replace(max_steps=40)
    walk = F.one_hot(torch.tensor(places), PLACES).float().unsqueeze(1).expand(-1, columns, -1)
    return rollout(shown, len(places) - 1, columns, ends=0.0)._replace(observation={"vector": walk})


def one(distances, mean=1.0):
    found = episodic_bonus(torch.tensor(distances).view(1, 1, -1), torch.tensor([[mean]]), NGUConfig())
    return found.item()


def test_the_oracles():
    """Ten identical neighbours, ten that are equally far, and the clipped factor."""
    assert one([0.0] * 10) == pytest.approx(1 / (math.sqrt(10) + 0.001), rel=1e-5)
    assert one([0.0] * 10) == pytest.approx(0.3161, abs=1e-4)
    assert one([7.0] * 10, 7.0) == pytest.approx(30.54, abs=0.01)
    assert one([0.0] * 10, 0.0) == one([0.0] * 10), "where nothing has moved yet, all are the same"
    assert one([0.008] * 10) == one([0.0] * 10), "near ones are the same"
    assert one([7.0] + [math.inf] * 9, 7.0) == pytest.approx(one([7.0], 7.0)), "who is not there is no neighbour"
    errors = torch.tensor([1.0, 3.0, 1.0, 3.0], dtype=torch.float64)  # mean 2, deviation 1
    sums = torch.stack([torch.tensor(4.0, dtype=torch.float64), errors.sum(), errors.square().sum()])
    found = modulator(torch.tensor([[0.0, 2.0, 3.0, 6.0, 60.0]]), sums, 5.0)
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0, 2.0, 5.0, 5.0]]))
    assert modulator(torch.tensor([[9.0]]), torch.zeros(3, dtype=torch.float64), 5.0).item() == 1


def test_the_greatest_similarity_needs_many_neighbours():
    assert one([0.0] * 63) > 0
    assert one([0.0] * 64) == 0


def test_the_running_mean_is_in_the_order_of_time():
    g = torch.Generator().manual_seed(0)
    distance = torch.rand(T, B, 3, generator=g)
    distance[torch.rand(T, B, 3, generator=g) < 0.4] = torch.inf
    distance[0, 0] = torch.inf
    before = Running(torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]).double(), torch.tensor([0.0, 1.0, 7.0, 2.0, 5.0]).double())
    mean, after = running_mean(distance, before)
    for b in range(B):
        total, number = before.total[b].item(), before.number[b].item()
        for t in range(T):
            known = [x for x in distance[t, b].tolist() if x < math.inf]
            total, number = total + sum(known), number + len(known)
            assert mean[t, b].item() == pytest.approx(total / number if number else 0.0, rel=1e-6)
        assert after.total[b].item() == pytest.approx(total)
        assert after.number[b].item() == number


@pytest.mark.parametrize("memory", [40, 5, 1])
def test_scores_are_those_of_a_loop(memory):
    """Over three rollouts, with more and fewer neighbours than are wanted, several episodes, and the factor."""
    module = seen(build(memory=memory), rollout(SPEC, T, B, seed=9))
    moments, networks, c = module.whitening.moments["vector"], module.networks, module.config
    deviation = (moments.squares / moments.count).sqrt().clamp(min=1e-3)
    count, total, squares = module.errors.tolist()
    average, spread = total / count, math.sqrt(squares / count - (total / count) ** 2)
    before = {name: x.clone() for name, x in module.state_dict().items()}
    state, past, running, factors = module.initial_state(B), [[] for _ in range(B)], [(0.0, 0)] * B, []
    for seed in range(3):
        of = rollout(SPEC, T, B, seed, ends=0.1)
        found = scores(module, of, state)
        state = found.state
        with torch.no_grad():
            phi = module.embedding.layers(of.observation["vector"])
        for b in range(B):
            for t in range(T + 1):
                if of.first[t, b]:
                    past[b] = []
                if t == 0 and past[b]:
                    continue  # known from the rollout before
                point = phi[t, b].tolist()
                near = sorted(math.dist(point, x) ** 2 for x in past[b][-memory:])[: c.neighbours]
                running[b] = (running[b][0] + sum(near), running[b][1] + len(near))
                past[b].append(point)
                if t == 0 or of.last[t - 1, b]:
                    continue
                mean = running[b][0] / running[b][1]
                kernel = [c.epsilon / (max(d / mean - c.cluster, 0) + c.epsilon) for d in near]
                similar = math.sqrt(sum(kernel)) + c.constant
                whitened = ((of.observation["vector"][t, b] - moments.mean) / deviation).clamp(-5, 5).float()
                with torch.no_grad():
                    gap = networks.head(networks.trunk.layers(whitened)) - networks.target.layers(whitened)
                factor = 1 + (gap.square().mean().item() - average) / spread
                factors.append(min(max(factor, 1.0), 5.0))
                assert found.raw[t - 1, b].item() == pytest.approx(factors[-1] / similar, rel=1e-3)
        assert (found.raw[~of.valid] == 0).all()
    assert all(torch.equal(x, before[name]) for name, x in module.state_dict().items()), "scoring changes nothing"
    assert min(factors) == 1 < max(factors)


def test_statistics_are_those_of_valid_rows():
    module, of = build(), rollout(SPEC, T, B, ends=0.3)
    scored = scores(module, of)
    module.observe(of, GIVEN, scored)
    errors = scored.context.known.error[of.valid].double()
    torch.testing.assert_close(module.errors, torch.stack([of.valid.sum(), errors.sum(), errors.square().sum()]))
    assert scores(module, of).raw.isfinite().all()


def test_the_loss_is_that_of_the_action_and_of_the_random_features():
    module, of = seen(build(train_share=1.0), rollout(SPEC, T, B, seed=9)), rollout(SPEC, T, B)
    scored = scores(module, of)
    value, mask = module(of, GIVEN, scored)
    assert torch.equal(mask, of.valid)
    phi = module.embedding.layers(of.observation["vector"])
    right = []
    for t, b in mask.nonzero().tolist():
        p = softmax(module.inverse.layers(torch.cat([phi[t, b], phi[t + 1, b]])).tolist())
        loss = -math.log(p[of.action[t, b]]) + scored.context.known.error[t, b].item()
        assert value[t, b].item() == pytest.approx(loss, abs=1e-4)
        right.append(p[of.action[t, b]] == max(p))
    assert figures(module)["accuracy"].item() == pytest.approx(sum(right) / len(right))
    reduce(value, mask).backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters() if p.requires_grad)
    some = part(of, 3, 5)  # a minibatch
    cut = tree_map(lambda x: x[3:5], scored.context)
    torch.testing.assert_close(module(some, GIVEN, scored._replace(context=cut))[0], value[3:5])


def test_nothing_is_read_across_a_reset():
    module, of = seen(build(), rollout(SPEC, T, B, seed=9)), rollout(SPEC, T, B, ends=0.3)
    episode = of.first.long().cumsum(0)
    clean = scores(module, of)
    value, _ = module(of, GIVEN, clean)
    for number in range(1, int(episode.max()) + 1):
        later, other = (episode > number).unsqueeze(-1), (episode != number).unsqueeze(-1)
        mine = (episode[1:] == number) & of.valid
        assert mine.any()
        noise = torch.where(later, torch.nan, of.observation["vector"])
        broken = of._replace(observation={"vector": noise}, action=torch.where(of.valid, of.action, -999))
        found = scores(module, broken)
        assert torch.equal(found.raw[mine], clean.raw[mine]), "of what comes later"
        assert torch.equal(module(broken, GIVEN, found)[0][mine], value[mine])
        # Earlier episodes set the unit of distance, d_m^2, and nothing else: alike ones, moved elsewhere, are nobody.
        unit = module.initial_state(B)._replace(
            distance=Running(torch.ones(B).double(), torch.full((B,), 1e12).double())
        )
        fixed = scores(module, of, unit)
        moved = of._replace(observation={"vector": torch.where(other, 100.0, of.observation["vector"])})
        found = scores(module, moved, unit)
        torch.testing.assert_close(found.raw[mine], fixed.raw[mine], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("memory", [5, 40])
def test_a_split_rollout_is_scored_alike(memory):
    module, of = seen(build(memory=memory), rollout(SPEC, T, B, seed=9)), rollout(SPEC, T, B, ends=0.1)
    state = scores(module, rollout(SPEC, T, B, seed=5)).state
    whole = scores(module, of, state)
    for cut in (1, 6, 12):
        one = scores(module, part(of, 0, cut), state)
        two = scores(module, part(of, cut, T), one.state)
        torch.testing.assert_close(torch.cat([one.raw, two.raw])[of.valid], whole.raw[of.valid], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(remembered(two.state), remembered(whole.state))
        torch.testing.assert_close(two.state.distance, whole.state.distance)


def test_neighbours_do_not_matter():
    module, of = seen(build(), rollout(SPEC, T, B, seed=9)), rollout(SPEC, T, B, ends=0.1)
    state = scores(module, rollout(SPEC, T, B, seed=5)).state
    whole = scores(module, of, state)
    for b in range(B):
        alone = of._replace(
            **{name: getattr(of, name)[:, [b]] for name in ("first", "last", "task", "action", "reward", "discount")},
            observation={"vector": of.observation["vector"][:, [b]]},
        )
        found = scores(module, alone, tree_map(lambda x, b=b: x[[b]], state))
        torch.testing.assert_close(found.raw, whole.raw[:, [b]], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.state.distance.total[0], whole.state.distance.total[b])


def test_the_memory_is_no_longer_than_an_episode():
    assert build().entries == 41
    assert build(memory=7).entries == 8
    assert build(SPEC._replace(max_steps=None)).entries == 4097
    module = build(memory=7)
    state = scores(module, rollout(SPEC, T, B, ends=0.0)).state
    assert state.episode.length.tolist() == [8] * B
    assert figures(module)["memory"] == 1


def learned(module, walks, steps=150):
    """``module`` after it has learned from these rollouts."""
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], 1e-2)
    for step in range(steps):
        of, optimizer.param_groups[0]["lr"] = walks[step % len(walks)], 1e-2 * (1 - step / steps)
        scored = scores(module, of)
        module.observe(of, GIVEN, scored)
        optimizer.zero_grad()
        reduce(*module(of, GIVEN, scored)).backward()
        optimizer.step()
    return module


def walking(seed, moves=True, columns=17, places=6):
    """Walks on a ring of ``places``; or else one goes anywhere."""
    g = torch.Generator().manual_seed(seed)
    of = rollout(spec(vector=PLACES, actions=A), T, columns, seed)
    at = [torch.randint(places, (columns,), generator=g)]
    for t in range(T):
        jump = torch.randint(places, (columns,), generator=g)
        at.append(torch.where(of.first[t + 1], jump, (at[-1] + of.action[t] - 1) % places if moves else jump))
    return of._replace(observation={"vector": F.one_hot(torch.stack(at), PLACES).float()})


@pytest.mark.parametrize("moves", [True, False])
def test_new_places_of_the_episode_pay_and_new_places_of_the_life_pay_more(moves):
    """Six places of ten were learned, whether or not actions lead from one to the next. Who stays gets nothing."""
    module = build(spec(vector=PLACES, actions=A)._replace(max_steps=40), neighbours=10)
    first = scores(module, walking(0, moves))
    module = learned(module, [walking(seed, moves) for seed in range(4)])
    shown = figures(module)
    assert (shown["accuracy"] > shown["chance"] + 0.4) == moves
    assert shown["error"] < 0.05 * first.context.known.error.mean()
    assert shown["factor"] < 1.1, "nothing is new any more"
    assert shown["episodic_bonus"] > 0.1 * first.raw.mean(), "but each episode begins anew"
    known = scores(module, standing(*[0] * 11, 1, 2, *[0] * 3)).raw[:, 0]
    assert (known[[10, 11]] > 3 * known[9]).all()
    assert known[9] < 0.4
    assert (known[12:] < 0.4).all(), "it has been there"
    new = scores(module, standing(*[0] * 11, 8)).raw[-1, 0]
    again = scores(module, standing(*[0] * 11, 1)).raw[-1, 0]
    assert new > 3 * again


def test_noise_is_always_new():
    """The trap: no frame is like those before, whatever was learned. In a picture that stands still, all are."""
    module = learned(build(), [rollout(SPEC, T, 17, seed=seed) for seed in range(4)], steps=60)
    noise = scores(module, rollout(SPEC, T, 17, seed=99, ends=0.0)).raw[4:].mean()
    still = rollout(SPEC, T, 17, ends=0.0)
    still = still._replace(observation={"vector": still.observation["vector"][:1].expand(T + 1, -1, -1)})
    assert noise > 10 * scores(module, still).raw[4:].mean()
