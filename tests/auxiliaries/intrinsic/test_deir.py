"""DEIR: novelty relative to the trajectory's, the queue of false observations, and what its discriminator learns."""

import copy
import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from morello.auxiliaries.intrinsic.deir import DEIR, DEIRConfig, Queue, differ, novelty
from morello.auxiliaries.intrinsic.parts.episodes import empty, recall
from morello.auxiliaries.intrinsic.parts.view import View
from morello.auxiliaries.reduction import reduce
from morello.backbones import Sizes

from ...support.figures import figures
from ...support.rewards import NOTHING
from ...support.rollouts import rollout, spec
from ...support.screens import WORLD as BESIDE
from ...support.screens import pulls

T, B, V, A = 11, 5, 3, 3
SPEC, SIZES = spec(vector=V, actions=A), Sizes(None, 7, 11)


def build(shown=SPEC, seed=0, **options):
    torch.manual_seed(seed)
    return DEIR(DEIRConfig(**{"size": 7, "hidden": 13, "queue": 97, **options}), shown, SIZES)


def piece(played, begin, end):
    """Steps ``begin`` to ``end`` of a rollout."""
    rows, steps = slice(begin, end + 1), slice(begin, end)
    return played._replace(
        observation={k: x[rows] for k, x in played.observation.items()},
        **{k: getattr(played, k)[rows] for k in ("first", "last", "task", "skill")},
        **{k: getattr(played, k)[steps] for k in ("action", "logits", "reward", "discount")},
    )


def column(played, b):
    """One environment of a rollout."""
    one = slice(b, b + 1)
    return played._replace(
        observation={k: x[:, one] for k, x in played.observation.items()},
        **{k: getattr(played, k)[:, one] for k in ("first", "last", "task", "skill", "action", "reward", "discount")},
    )


@torch.no_grad()
def brute(module, played):
    """The bonus [T, B] of a rollout, step by step, with lists of what each episode has seen; it begins at row 0."""
    found, memory = torch.zeros(played.action.shape), module.config.memory
    for b in range(found.shape[1]):
        pairs, h = [], torch.zeros(module.config.size)
        for t in range(len(found) + 1):
            if t == 0 or played.first[t, b]:
                pairs, h = [], torch.zeros_like(h)
            e = module.embed({"vector": played.observation["vector"][t, b].unsqueeze(0)})[0]
            if pairs and t:
                ratios = [math.dist(e, x) ** 2 / (math.dist(h, y) + 1e-6) for x, y in pairs[-memory:]]
                found[t - 1, b] = min(ratios)
            pairs.append((e, h))
            h = module.step(e, h)
    return found


def scored_in_pieces(module, played, *cuts):
    """The bonus of a rollout that came in pieces, and the last memory."""
    state, found, bounds = module.initial_state(played.action.shape[1]), [], [0, *cuts, len(played.action)]
    for begin, end in itertools.pairwise(bounds):
        scored = module.score(piece(played, begin, end), NOTHING, state)
        state = scored.state
        found.append(scored.raw)
    return torch.cat(found)


def test_a_case_by_hand():
    """The first step of an episode is compared with a trajectory of nothing."""
    e = torch.tensor([0.0, 3.0, 2.0]).view(3, 1, 1)
    led = torch.tensor([0.0, 1.0, 5.0]).view(3, 1, 1)
    first = torch.tensor([[True], [False], [False]])
    rows = torch.cat([e, led], -1)
    found = novelty(rows, recall(empty(1, 9, rows[0], (2,)), rows, first)).flatten()
    assert found[0] == torch.inf
    torch.testing.assert_close(found[1:], torch.tensor([9 / 1, min(4 / 5, 1 / 4)]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("memory", [3, 50])
@pytest.mark.parametrize("seed", [1, 2])
def test_bonus_is_that_of_a_loop(seed, memory):
    played, module = rollout(SPEC, 23, B, seed), build(memory=memory)
    expected = brute(module, played)
    for cuts in ((), (1, 2, 13)):
        raw = scored_in_pieces(module, played, *cuts)
        torch.testing.assert_close(raw[played.valid], expected[played.valid], atol=1e-5, rtol=1e-4)
        assert not raw[~played.valid].any()


def test_the_trajectory_counts():
    """The control of the loop: with constant trajectories it would be another number."""
    played, module = rollout(SPEC, T, B, ends=0.1), build()
    before = scored_in_pieces(module, played)
    torch.nn.init.zeros_(module.gru.recurrent.weight)
    assert not torch.allclose(scored_in_pieces(module, played), before, rtol=0.01)


def test_nothing_is_read_across_a_reset_and_neighbours_do_not_matter():
    played, module = rollout(SPEC, T, B, seed=3, ends=0.3), build()
    raw = scored_in_pieces(module, played, 4)
    for b in range(B):
        torch.testing.assert_close(scored_in_pieces(module, column(played, b), 4), raw[:, b : b + 1])
    last_begin = torch.where(played.first, torch.arange(T + 1).unsqueeze(-1), 0).amax(0)
    earlier = torch.arange(T + 1).unsqueeze(-1) < last_begin
    seen = torch.where(earlier.unsqueeze(-1), 77.0, played.observation["vector"])
    other = scored_in_pieces(module, played._replace(observation={"vector": seen}), 4)
    late = torch.arange(T).unsqueeze(-1) >= last_begin
    assert late.any()
    assert not late.all()
    assert torch.equal(other[late], raw[late])


def learnt(module, played):
    """Score, observe and return the loss."""
    scored = module.score(played, NOTHING, module.initial_state(played.action.shape[1]))
    module.observe(played, NOTHING, scored)
    return module(played, NOTHING, scored)


def test_loss_reads_no_row_that_crosses_a_reset():
    played, one, two = rollout(SPEC, T, B, seed=4, ends=0.3), build(), build()
    odd = torch.where(played.valid, played.action, -77)
    broken = played._replace(action=odd, reward=played.reward * torch.nan, discount=played.discount * torch.nan)
    for module, seen in ((one, played), (two, broken)):
        reduce(*learnt(module, seen)).backward()
    for mine, its in zip(one.parameters(), two.parameters(), strict=True):
        assert mine.grad.isfinite().all()
        assert torch.equal(mine.grad, its.grad)
        assert mine.grad.any()
    assert torch.equal(one.queue.seen_vector, two.queue.seen_vector)


def test_loss_is_the_mean_of_the_two_halves_one_by_one():
    """Half of the queue is what every environment sees next: some are drawn like the true one, twice."""
    played, module = rollout(SPEC, T, B, seed=5, ends=0.2), build(queue=2)
    played.observation["vector"][1:-1] = 1.0
    scored = module.score(played, NOTHING, module.initial_state(B))
    queue = torch.stack([torch.ones(V), torch.tensor([2.0, 3.0, 4.0])])
    module.queue.seen_vector[:2] = queue
    module.queue.total.fill_(2)
    again = copy.deepcopy(module)
    value, mask = module(played, NOTHING, scored)

    arrived = played.observation["vector"][1:].flatten(0, 1)
    false, differs = again.queue.draw({"vector": arrived}, again.draws.on(torch.device("cpu")))
    false, differs = false["vector"].view(T, B, V), differs.view(T, B)
    losses = {1: [], 0: []}
    with torch.no_grad():
        for t in range(T):
            for b in range(B):
                e = again.embed({"vector": played.observation["vector"][t, b].unsqueeze(0)})[0]
                h = again.step(e, scored.context[t, b])
                for label, x in ((1, played.observation["vector"][t + 1, b]), (0, false[t, b])):
                    if not played.valid[t, b] or (label == 0 and not differs[t, b]):
                        continue
                    later = again.step(again.embed({"vector": x.unsqueeze(0)})[0], h)
                    action = F.one_hot(played.action[t, b], A)
                    logit = again.discriminator(torch.cat([h, action, later]))[0]
                    losses[label].append(math.log1p(math.exp(-logit if label else logit)))
    assert 0 < len(losses[0]) < len(losses[1])
    expected = (sum(losses[1]) / len(losses[1]) + sum(losses[0]) / len(losses[0])) / 2
    assert reduce(value, mask).item() == pytest.approx(expected, rel=1e-4)
    assert figures(module)["chance"].item() == pytest.approx(len(losses[1]) / (len(losses[1]) + len(losses[0])))


@pytest.mark.parametrize("size", [2, 7, 100])
def test_the_queue_holds_the_newest_that_entered(size):
    queue, kept, value = Queue(View(SPEC, 42), size), [], 0
    for _ in range(9):
        x = torch.arange(value, value + 13).float().unsqueeze(-1).expand(-1, V)
        enters = torch.rand(13) < 0.4
        queue.add({"vector": x}, enters)
        kept, value = kept + x[enters, 0].tolist(), value + 13
        assert sorted(queue.seen_vector[: int(queue.filled), 0].tolist()) == kept[-size:]


def test_what_is_drawn_is_in_the_queue_and_unlike_the_true_one_where_it_says_so():
    shown = spec(image=(7, 7, 3), vector=V)
    queue = Queue(View(shown, 42), 50)
    draw = torch.Generator().manual_seed(0)
    views = {"image": torch.randint(2, (20, 3, 7, 7)).float(), "vector": torch.randint(2, (20, V)).float()}
    assert not queue.draw(views, draw)[1].any()  # nothing to draw from
    queue.add(views, torch.arange(20) < 3)
    true = {name: x[:1].expand(500, *x.shape[1:]) for name, x in views.items()}
    found, differs = queue.draw(true, draw)
    for name, x in found.items():
        assert (x.flatten(1).unsqueeze(1) == views[name][:3].flatten(1)).all(-1).any(-1).all()
    assert torch.equal(differ(found, true), differs)
    assert differs.float().mean().item() == pytest.approx(8 / 9, abs=0.05)


def test_what_is_newer_than_usual_enters():
    module, played = build(queue=1000), rollout(SPEC, T, B, seed=6)
    scored = module.score(played, NOTHING, module.initial_state(B))
    raw, valid = scored.raw, played.valid
    module.observe(played, NOTHING, scored)
    assert module.queue.total == valid.sum()  # everything at first
    mean = raw[valid].mean()
    module.observe(played, NOTHING, scored)
    assert module.queue.total == valid.sum() + (valid & (raw >= mean)).sum()
    higher = scored._replace(raw=raw + 10)
    module.observe(played, NOTHING, higher)
    assert module.mean.item() == pytest.approx((0.9 * mean + 0.1 * (mean + 10)).item(), rel=1e-4)
    assert torch.equal(
        differ({"image": torch.tensor([[1.2]])}, {"image": torch.tensor([[1.0]])}), torch.tensor([False])
    )


def walk(T, B, places, generator):
    """A ring of places, one-hot, in which actions 0, 1 and 2 lead back, nowhere and on; nobody resets."""
    action = torch.randint(3, (T, B), generator=generator)
    start = torch.randint(places, (1, B), generator=generator)
    place = torch.cat([start, start + (action - 1).cumsum(0)]) % places
    return action, F.one_hot(place, places).float()


@pytest.mark.parametrize("tells", [True, False])
def test_the_discriminator_learns_what_follows_and_nothing_where_anything_does(tells):
    places, draw = 8, torch.Generator().manual_seed(0)
    shown = spec(vector=places, actions=3)
    module = build(shown, size=16, hidden=32, queue=500, memory=5)
    optimizer, found = torch.optim.Adam(module.parameters(), 2e-2), []
    for step in range(100):
        action, seen = walk(5, 32, places, draw)
        if not tells:
            seen = F.one_hot(torch.randint(places, (6, 32), generator=draw), places).float()
        played = rollout(shown, 5, 32, ends=0)._replace(observation={"vector": seen}, action=action)
        optimizer.zero_grad()
        reduce(*learnt(module, played)).backward()
        optimizer.step()
        if step >= 80:
            found.append(figures(module)["accuracy"])
    accuracy = torch.stack(found).mean()
    assert accuracy > 0.93 if tells else accuracy < 0.55


def test_staying_and_coming_back_pay_nothing_and_the_next_episode_pays_again():
    module, draw = build(size=32), torch.randn(4, V)
    path = draw[torch.tensor([0, 0, 1, 0, 1, 2, 0, 1])]
    played = rollout(SPEC, 7, 1, ends=0)._replace(observation={"vector": path.unsqueeze(1)})
    played.first[6], played.last[5] = True, True
    raw = module.score(played, NOTHING, module.initial_state(1)).raw.flatten()
    assert (raw[[0, 2, 3, 5]].abs() < 1e-6).all()
    assert (raw[[1, 4, 6]] > 0.1).all()


def test_scoring_changes_nothing_and_it_goes_on_from_its_state():
    one, two = build(), build(seed=1)
    learnt(one, rollout(SPEC, T, B, seed=1))
    before = copy.deepcopy(one.state_dict())
    one.score(rollout(SPEC, T, B, seed=2), NOTHING, one.initial_state(B))
    assert all(torch.equal(x, before[k]) for k, x in one.state_dict().items())
    two.load_state_dict(before)
    played = rollout(SPEC, T, B, seed=3)
    assert all(torch.equal(x, y) for x, y in zip(learnt(one, played), learnt(two, played), strict=True))


def test_images_of_both_kinds():
    for image in ((7, 7, 3), (45, 47, 3)):
        shown = spec(image=image, actions=A)
        value, mask = learnt(build(shown), rollout(shown, T, B))
        assert value[mask].isfinite().all()


@pytest.mark.parametrize("moves", [True, False])
def test_noise_is_ignored_beside_what_tells_the_next_observation(moves):
    """The control: where anything follows, places are not told from noise either."""
    before, after = pulls(build(BESIDE, size=16, hidden=32, queue=500), moves, steps=250)
    assert before > 1
    assert after < 0.6 if moves else after > 0.8
