"""Coverage: first visits of cells against sets in a loop, over episodes and over life."""

import pytest
import torch

from morello.auxiliaries.intrinsic.coverage import CELL_BITS, Coverage, CoverageConfig
from morello.backbones import Sizes

from ...support.rewards import part, permuted, score, snapshot, unchanged, unseen
from ...support.rollouts import rollout, spec

T, B, CELLS = 23, 7, 41
WORLD = spec(vector=1)._replace(tasks=("a", "b", "c"))


def built(span="episode", world=WORLD):
    return Coverage(CoverageConfig(span=span), world, Sizes(None, 17, 13))


def walk(seed, ends=0.15, cells=CELLS):
    """Environments walk about; each episode has a task."""
    seen, g = rollout(WORLD, T, B, seed, ends), torch.Generator().manual_seed(seed + 1)
    task = torch.randint(3, (T + 1, B), generator=g)
    for t in range(1, T + 1):
        task[t] = torch.where(seen.first[t], task[t], task[t - 1])
    return seen._replace(task=task, info={"cell": torch.randint(cells, (T + 1, B), generator=g)})


def by_loop(seen, span):
    """Whether a row is the first in its cell and task; the cell that an episode begins in is visited too."""
    expected, ever, now = torch.zeros(T, B), set(), [set() for _ in range(B)]
    for t in range(T + 1):
        for b in range(B):
            if seen.first[t, b]:
                now[b] = set()
            known = ever if span == "life" else now[b]
            place = int(seen.task[t, b]), int(seen.info["cell"][t, b])
            if t > 0:
                expected[t - 1, b] = place not in known
            known.add(place)
    return torch.where(seen.valid, expected, 0.0)


@pytest.mark.parametrize("span", ["episode", "life"])
@pytest.mark.parametrize("split", [(23,), (11, 12), (1, 2, 3, 5, 12), (1,) * 23], ids=len)
def test_it_pays_first_visits_however_the_rollout_is_cut(span, split):
    seen, module = walk(3), built(span)
    state, t, found = module.initial_state(B), 0, []
    for length in split:
        one = part(seen, t, t + length)
        before = snapshot(module)
        scored = score(module, one, state)
        assert unchanged(module, before)
        module.observe(one, unseen(one), scored)
        found.append(scored.raw)
        state, t = scored.state, t + length
    found = torch.where(seen.valid, torch.cat(found), 0.0)
    expected = by_loop(seen, span)
    assert torch.equal(found, expected)
    assert 0 < expected.sum() < T * B


def test_metrics():
    seen, module = walk(4), built("life")
    found = score(module, seen)
    assert float(module.metrics["first_visits"]) == pytest.approx(float(found.raw[seen.valid].mean()))
    assert float(module.metrics["cells"]) == 0
    module.observe(seen, unseen(seen), found)
    score(module, seen)
    places = {(int(a), int(b)) for a, b in zip(seen.task.flatten(), seen.info["cell"].flatten(), strict=True)}
    assert float(module.metrics["cells"]) == len(places)


def test_over_a_life_what_was_seen_once_never_pays_again_and_in_an_episode_it_does():
    seen = walk(5, ends=0.0)
    seen.first[0] = True
    for span, again in (("life", 0.0), ("episode", None)):
        module = built(span)
        a = score(module, seen, module.initial_state(B))
        module.observe(seen, unseen(seen), a)
        b = score(module, seen, a.state)
        assert torch.equal(b.raw, torch.zeros(T, B) if again == 0.0 else a.raw)


def test_neighbours_do_not_matter_to_an_episode_and_share_a_life():
    seen, order = walk(6), torch.tensor([3, 6, 0, 5, 1, 4, 2])
    module = built()
    a, b = (score(module, x, module.initial_state(B)) for x in (seen, permuted(seen, order)))
    assert torch.equal(b.raw, a.raw[:, order])
    same = seen._replace(task=torch.zeros_like(seen.task))
    together = same._replace(info={"cell": torch.arange(T + 1).unsqueeze(-1).expand(-1, B)})
    assert (score(built("life"), together).raw[:, 1:] == 0).all()


def test_cells_of_tasks_are_told_apart_to_the_last():
    """No hash: the largest cells of all tasks are different counters."""
    module, seen = built("life"), walk(7, ends=0.0)
    assert len(module.counts.table) == 4 * 2**CELL_BITS
    cell = torch.full_like(seen.info["cell"], 2**CELL_BITS - 1)
    task = (torch.arange(B) % 3).expand(T + 1, -1)
    seen = seen._replace(info={"cell": cell}, task=task)
    module.observe(seen, unseen(seen), score(module, seen))
    assert (module.counts.table > 0).sum() == 3


def test_what_the_agent_sees_is_nothing_to_it():
    seen, module = walk(8), built()
    other = seen._replace(observation={"vector": torch.full_like(seen.observation["vector"], torch.nan)})
    a, b = (score(module, x, module.initial_state(B)).raw for x in (seen, other))
    assert torch.equal(a, b)


@pytest.mark.parametrize("span", ["episode", "life"])
def test_an_environment_that_tells_no_cells_is_refused_with_the_way_out(span):
    module = built(span)
    with pytest.raises(ValueError, match=r"coverage needs .* cell .*: choose .* or count what the agent sees"):
        score(module, walk(9)._replace(info={}), module.initial_state(B))


@pytest.mark.parametrize("span", ["episode", "life"])
def test_nothing_has_to_be_known_on_the_host(span):
    """On the meta device any branch on data raises."""
    seen, module = walk(10), built(span).to("meta")
    there = part(seen, 0, T)
    there = there._replace(
        info={"cell": seen.info["cell"].to("meta")},
        **{k: getattr(seen, k).to("meta") for k in ("first", "last", "task", "reward")},
    )
    scored = score(module, there, module.initial_state(B))
    module.observe(there, unseen(there), scored)
    assert scored.raw.shape == (T, B)


def test_a_screen_of_noise_pays_nothing_and_the_next_cell_does():
    seen, module = walk(11, ends=0.0), built()
    seen.first[0] = True
    seen.observation["vector"] = torch.randn(T + 1, B, 1)
    still = seen._replace(task=torch.zeros_like(seen.task), info={"cell": torch.full((T + 1, B), 3)})
    assert not score(module, still, module.initial_state(B)).raw.any()
    on = still._replace(info={"cell": torch.arange(T + 1).unsqueeze(-1).expand(-1, B)})
    assert (score(module, on, module.initial_state(B)).raw == 1).all()
