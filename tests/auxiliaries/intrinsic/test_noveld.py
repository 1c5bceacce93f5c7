"""NovelD: the rise of RND's error pays where an observation is new to the episode, and nowhere else."""

import pytest
import torch
from torch.nn import functional as F

from morello.auxiliaries.intrinsic.noveld import NovelD, NovelDConfig, rises
from morello.auxiliaries.reduction import reduce
from morello.backbones import Sizes
from morello.envs.trees import tree_map

from ...support.figures import figures
from ...support.rollouts import features, rollout, spec

T, B, PLACES = 13, 5, 10
SPEC, SIZES = spec(vector=PLACES)._replace(max_steps=40), Sizes(None, 7, 11)
GIVEN = features(SIZES, T, B)  # of which these rewards read nothing


def build(spec=SPEC, seed=0, **options):
    torch.manual_seed(seed)
    return NovelD(NovelDConfig(**{"size": 17, **options}), spec, SIZES)


def played(seed=0, ends=0.2, walk=None, length=T):
    """A rollout whose vectors tell the place one is at: of a ``walk`` [rows, B], or at random."""
    of = rollout(SPEC, length, B if walk is None else walk.shape[1], seed, ends)
    if walk is None:
        walk = torch.randint(PLACES, (length + 1, B), generator=torch.Generator().manual_seed(seed))
    return of._replace(observation={"vector": F.one_hot(walk, PLACES).float()}), walk


def path(*places, columns=3):
    """One episode that visits these places, in all columns."""
    walk = torch.tensor(places).unsqueeze(-1).expand(-1, columns)
    of, _ = played(walk=walk, ends=0.0, length=len(places) - 1)
    return of


def scores(module, of, state=None):
    with torch.no_grad():
        return module.score(of, GIVEN, module.initial_state(of.reward.shape[1]) if state is None else state)


def part(of, start, stop):
    """Rows ``start`` to ``stop`` of a rollout."""
    rows = {name: getattr(of, name)[start : stop + 1] for name in ("first", "last", "task")}
    steps = {name: getattr(of, name)[start:stop] for name in ("action", "logits", "reward", "discount")}
    observation = {name: x[start : stop + 1] for name, x in of.observation.items()}
    info = {name: x[start : stop + 1] for name, x in of.info.items()}
    return of._replace(observation=observation, info=info, **rows, **steps)


def remembered(state):
    """The keys of each environment's episode."""
    return [row[len(row) - n :] for row, n in zip(state.entries.tolist(), state.length.tolist(), strict=True)]


def test_the_hand_case():
    """3 - 4/2, 5 - 3/2, less than nothing, and a rise of 4.5 at a place seen before."""
    error = torch.tensor([[4.0], [3.0], [5.0], [1.0], [5.0]])
    fresh = torch.tensor([[True], [True], [True], [False]])
    assert rises(error, fresh, 0.5).squeeze(-1).tolist() == [1.0, 3.5, 0.0, 0.0]


def test_scores_are_those_of_a_loop():
    module, (of, walk) = build(alpha=0.7), played(ends=0.2)
    module.warm_up(played(seed=1)[0])
    before = {name: x.clone() for name, x in module.state_dict().items()}
    found = scores(module, of).raw
    assert all(torch.equal(x, before[name]) for name, x in module.state_dict().items())
    assert not of.valid.all()
    moments, networks = module.whitening.moments["vector"], module.networks
    deviation = (moments.squares / moments.count).sqrt().clamp(min=1e-3)

    def error(t, b):
        whitened = ((of.observation["vector"][t, b] - moments.mean) / deviation).clamp(-5, 5).float().unsqueeze(0)
        with torch.no_grad():
            gap = networks.head(networks.trunk.layers(whitened)) - networks.target.layers(whitened)
        return sum(x**2 for x in gap.squeeze(0).tolist()) ** 0.5

    fresh, rows, errors = [], [], []
    for b in range(B):
        been = set()
        for t in range(T):
            been = {walk[t, b].item()} if of.first[t, b] else been | {walk[t, b].item()}
            if of.last[t, b]:
                continue
            new = walk[t + 1, b].item() not in been
            expected = max(error(t + 1, b) - 0.7 * error(t, b), 0.0) if new else 0.0
            assert found[t, b].item() == pytest.approx(expected, abs=1e-4)
            fresh.append(new)
            errors.append(error(t + 1, b))
            rows.append(expected > 0)
    shown = figures(module)
    assert 0 < sum(fresh) < len(fresh)
    assert shown["first_visits"].item() == pytest.approx(sum(fresh) / len(fresh))
    assert shown["paid"].item() == pytest.approx(sum(rows) / sum(fresh))
    assert shown["error"].item() == pytest.approx(sum(errors) / len(errors), rel=1e-4)


def test_the_loss_is_rnds_at_the_observation_arrived_at():
    module, (of, _) = build(alpha=0.0, train_share=1.0), played(ends=0.2)
    module.warm_up(of)
    scored = scores(module, of)
    value, mask = module(of, GIVEN, scored)
    assert torch.equal(mask, of.valid)
    paid = (scored.raw > 0) & of.valid  # with alpha 0 it is the error itself
    torch.testing.assert_close((value * 17).sqrt()[paid], scored.raw[paid])
    reduce(value, mask).backward()
    assert {name for name, p in module.named_parameters() if p.requires_grad and p.grad is None} == set()
    assert all(p.grad is None for p in module.networks.target.parameters())
    segment = scored._replace(
        raw=scored.raw[3:5, 1:3], context=tree_map(lambda x: x[3:5, 1:3], scored.context), state=()
    )
    observation = {"vector": of.observation["vector"][3:6, 1:3]}
    some, _ = module(part(of, 3, 5)._replace(observation=observation, reward=of.reward[3:5, 1:3]), GIVEN, segment)
    torch.testing.assert_close(some, value[3:5, 1:3])


def test_nothing_is_read_across_a_reset():
    module, (of, _) = build(), played(ends=0.3)
    module.warm_up(of)
    episode = of.first.long().cumsum(0)
    clean = scores(module, of)
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
        value, mask = module(broken, GIVEN, found)
        assert value[mask & mine].isfinite().all()


@pytest.mark.parametrize("key", ["view", "cell"])
def test_a_split_rollout_is_scored_alike(key):
    module, (of, walk) = build(key=key), played(ends=0.15)
    of = of._replace(info={"cell": walk})
    module.warm_up(of)
    whole = scores(module, of)
    for cut in (1, 6, 12):
        one = scores(module, part(of, 0, cut))
        two = scores(module, part(of, cut, T), one.state)
        both = torch.cat([one.raw, two.raw])
        torch.testing.assert_close(both[of.valid], whole.raw[of.valid], rtol=1e-5, atol=1e-5)
        assert remembered(two.state) == remembered(whole.state)


def test_neighbours_do_not_matter():
    module, (of, _) = build(), played(ends=0.2)
    module.warm_up(of)
    state = scores(module, played(seed=5)[0]).state
    whole = scores(module, of, state)
    for b in range(B):
        alone = of._replace(
            **{name: getattr(of, name)[:, [b]] for name in ("first", "last", "task", "action", "reward", "discount")},
            observation={"vector": of.observation["vector"][:, [b]]},
        )
        one = scores(module, alone, type(state)(*(x[[b]] for x in state)))
        torch.testing.assert_close(one.raw[of.valid[:, [b]]], whole.raw[:, [b]][of.valid[:, [b]]], rtol=1e-5, atol=1e-5)
        assert remembered(one.state) == remembered(whole.state)[b : b + 1]


def test_the_key_says_what_a_visit_is():
    """One place all the time, but another cell in each step; and the other way round."""
    of = path(0, 0, 1, 1, 2, 2)._replace(info={"cell": torch.arange(6).unsqueeze(-1).expand(-1, 3)})
    shown = {}
    for key in ("view", "cell"):
        module = build(key=key)
        scores(module, of)
        shown[key] = figures(module)["first_visits"].item()
    assert shown == {"view": pytest.approx(2 / 5), "cell": 1.0}


def test_the_border_of_the_known_pays_once_and_what_is_known_does_not():
    """Places 0 to 5 of a line were learned, 6 to 9 never seen."""
    module, generator = build(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], 3e-3)
    walks = [torch.randint(6, (T + 1, 31), generator=generator) for _ in range(4)]
    known = [played(walk=walk)[0] for walk in walks]
    for of in known:
        module.warm_up(of)
    fresh = scores(module, known[0]).raw[known[0].valid].mean()
    for step in range(200):
        of, optimizer.param_groups[0]["lr"] = known[step % 4], 1e-2 * (1 - step / 200)
        optimizer.zero_grad()
        reduce(*module(of, GIVEN, scores(module, of))).backward()
        optimizer.step()
    assert scores(module, known[0]).raw[known[0].valid].mean() < 0.02 * fresh, "it decays where nothing is new"
    to_and_fro = scores(module, path(3, 4, 5, 6, 5, 6, 5, 6, 4)).raw[:, 0]
    assert to_and_fro[2] > 1
    assert (to_and_fro[[0, 1]] < 0.05 * to_and_fro[2]).all()
    assert (to_and_fro[3:] == 0).all()
    again = path(6, 5, 6)
    assert (scores(module, again).raw == 0).all(), "an error that falls, and then a place of the episode"


def test_new_noise_pays_for_ever():
    """The trap: it is never the same twice, and never predicted. A picture that is seen again and again is."""
    module, generator = build(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], 3e-3)
    still = torch.randn(1, 1, PLACES, generator=generator)
    means = {"noise": [], "still": []}
    for step in range(100):
        for name, row in means.items():
            of = rollout(SPEC, T, 7, seed=step, ends=0.1)
            if name == "still":
                of = of._replace(observation={"vector": still + torch.zeros(T + 1, 7, 1)})
            if step < 5:
                module.warm_up(of)
            scored = scores(module, of)
            row.append(scored.raw[of.valid].mean().item())
            optimizer.zero_grad()
            reduce(*module(of, GIVEN, scored)).backward()
            optimizer.step()
    late = {name: sum(row[-20:]) / 20 for name, row in means.items()}
    assert late["noise"] > 0.1 * means["noise"][5]
    assert late["still"] == 0
