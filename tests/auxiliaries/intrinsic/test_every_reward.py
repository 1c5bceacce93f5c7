"""Every registered reward: scoring changes nothing, episodes and environments are kept apart, and it never trains the
agent, at weight 0 not even by a bit.
"""

import copy
from functools import cache

import pytest
import torch
from torch.utils._pytree import tree_flatten, tree_map_only

from morello.agents.learner import Learner
from morello.agents.model import EXTRINSIC, ActorCritic
from morello.auxiliaries import INTRINSIC_REWARDS, IntrinsicReward
from morello.auxiliaries.pooling import value_of

from ...support.plugins import weighed
from ...support.registered import A2C, IMAGES, PPO, SIZES, WORLDS, built
from ...support.rewards import part, permuted
from ...support.rollouts import features, rollout

T, B, A, CELLS = 11, 5, 3, 7

SHARED = {
    "byol_explore": "its unit is the deviation of all rewards, this rollout's included",
    "compression_progress": "one density learns what all environments saw",
    "count": "one table for all environments",
    "pseudo_count": "one density learns what all environments saw",
    "re3": "one buffer for all environments",
}
"""Rewards whose scores depend on all environments and episodes of a rollout, and why."""
LIFELONG = {"ngu": "its unit is the mean distance in an environment's whole life"}
"""Rewards whose scores depend on earlier episodes of the same environment, and why."""
CUT = {
    "byol_explore": SHARED["byol_explore"],
    "compression_progress": "what is saved is that of a whole rollout",
}
"""Rewards that depend on where rollouts are cut, and why."""
UNSCALED = {"re3": {"scaled": False}}
"""Settings without a divisor that moves with each rollout."""


def cheap(name):
    """The world in which a reward is tested more closely."""
    return WORLDS["grid" if name in IMAGES else "vector"]


def experience(world, number=3, seed=0, ends=0.15):
    """Rollouts that follow each other. Places look alike often enough to be seen again."""
    long = rollout(world, number * T, B, seed, ends)
    g = torch.Generator().manual_seed(seed + 1)
    cell = torch.randint(CELLS, long.first.shape, generator=g)
    observation = {}
    for name, (shape, dtype) in world.observation.items():
        looks = torch.rand(CELLS, *shape, generator=torch.Generator().manual_seed(7))
        looks = (10 * looks).to(dtype) if min(shape) < 20 and name == "image" else looks
        looks = (255 * looks).to(dtype) if dtype == torch.uint8 and looks.dtype != dtype else looks
        observation[name] = looks[cell]
    long = long._replace(observation=observation, info={"cell": cell})
    return [part(long, i * T, (i + 1) * T)._replace(sequence=i) for i in range(number)]


def test_lists_say_what_a_reward_trains_and_over_what_it_is_new():
    for name, kind in INTRINSIC_REWARDS.items():
        learns = any(p.requires_grad for p in built(name, cheap(name)).parameters())
        densities = {"pseudo_count", "compression_progress"}  # these learn by counting, too
        assert bool(kind.trains) == (learns or name in densities), name
        assert bool(kind.over) == (name != "noise"), name


def seen(rows, seed=0):
    """The agent's features of a rollout, by its observations alone: [rows, B, ...] without gradient."""
    given = features(SIZES, len(rows.action), rows.action.shape[1], A)
    return tree_map_only(torch.Tensor, torch.Tensor.detach, given)


def scored(module, rows, state):
    """What is scored, from memories that may be written in place."""
    with torch.no_grad():
        return module.score(rows, seen(rows), tree_map_only(torch.Tensor, torch.clone, state))


def leaves(tree):
    return [x for x in tree_flatten(tree)[0] if isinstance(x, torch.Tensor)]


def same(one, other, mask=None):
    """Whether two trees hold the same numbers, bit for bit."""
    pairs = list(zip(leaves(one), leaves(other), strict=True))
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)


def begun(name, world, **more):
    """A reward that has learnt from one rollout, its memories after it, and the rollouts that follow."""
    module, (first, *rest) = built(name, world, **more), experience(world)
    module.warm_up(first)
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained or [torch.zeros(1, requires_grad=True)], 1e-3)
    found = scored(module, first, module.initial_state(B))
    with torch.no_grad():
        module.observe(first, seen(first), found)
    if trained:
        value, mask = module(first, seen(first), found)
        value[mask].mean().backward()
        optimizer.step()
        module.after_update()
    return module, found.state, rest


def everything(module):
    """A copy of all that a module consists of, saved or not."""
    parts = [module.state_dict(), dict(module.named_buffers()), dict(module.named_parameters())]
    return copy.deepcopy(parts)


def learns(module):
    """Whether a reward has a loss."""
    return type(module).forward is not IntrinsicReward.forward


names = pytest.mark.parametrize("name", INTRINSIC_REWARDS)
worlds = pytest.mark.parametrize("kind", WORLDS)


@names
@worlds
def test_scoring_changes_nothing_and_can_be_repeated(name, kind):
    module, state, (rows, _) = begun(name, WORLDS[kind])
    before, given, asked = everything(module), copy.deepcopy(rows), torch.get_rng_state()
    found = scored(module, rows, state)
    assert same(everything(module), before)
    assert torch.equal(torch.get_rng_state(), asked), "it draws from its own numbers"
    assert same(given, rows), "the rollout is the actor's"
    assert same(scored(module, rows, state), found)
    assert found.raw.shape == (T, B)
    assert found.raw.dtype == torch.float32
    assert found.raw[rows.valid].isfinite().all()
    assert not any(x.requires_grad for x in leaves(found))
    assert [x.shape for x in leaves(found.state)] == [x.shape for x in leaves(module.initial_state(B))]
    if learns(module):  # otherwise the context is for `observe`, which sees whole rollouts
        assert all(x.shape[:2] in ((T, B), (T + 1, B)) for x in leaves(found.context))


def elsewhere(rows, other, mask):
    """``rows`` with everything replaced by ``other``'s in the rows [T + 1, B] of a mask, but not where episodes end."""

    def mixed(mine, its):
        chosen = mask[: len(mine)].view(len(mine), B, *[1] * (mine.dim() - 2))
        return torch.where(chosen, its, mine)

    changed = {
        k: {name: mixed(x, getattr(other, k)[name]) for name, x in getattr(rows, k).items()}
        for k in ("observation", "info")
    }
    changed |= {k: mixed(getattr(rows, k), getattr(other, k)) for k in ("action", "logits")}
    paid = mask[:T] & rows.valid
    changed["reward"] = torch.where(paid, 1 - rows.reward, rows.reward)
    return rows._replace(**changed)


def close(one, other):
    torch.testing.assert_close(one, other, rtol=2e-3, atol=1e-4)


@names
def test_nothing_is_read_across_a_reset(name):
    """One environment has an episode that ended and one that began in the rollout: what happened in the other one, and
    in all memories of it, is replaced.
    """
    if name in SHARED:
        pytest.skip(SHARED[name])
    module, state, (rows, other) = begun(name, cheap(name))
    begins = [(b, int(rows.first[1:T, b].nonzero()[0]) + 1) for b in range(B) if rows.first[1:T, b].any()]
    assert begins
    found = scored(module, rows, state)
    time = torch.arange(T + 1)
    for b, t in begins[:2]:
        for mask, mine in ((time < t, slice(t, T)), (time >= t, slice(0, t - 1))):
            changed = torch.zeros(T + 1, B, dtype=torch.bool)
            changed[mask, b] = True
            again = scored(module, elsewhere(rows, other, changed), state)
            valid = rows.valid[mine, b]
            if name not in LIFELONG:
                close(again.raw[mine, b][valid], found.raw[mine, b][valid])
            others = [i for i in range(B) if i != b]
            close(again.raw[:, others][rows.valid[:, others]], found.raw[:, others][rows.valid[:, others]])


@names
def test_what_is_on_rows_that_cross_a_reset_is_not_read(name):
    """Neither by scores nor statistics nor the reward's own gradient: NaN, or an action that does not exist."""
    results = []
    for poison in (False, True):
        module, state, (rows, following) = begun(name, cheap(name))
        if poison:
            nothing = torch.where(rows.valid, 0.0, torch.nan)
            rows = rows._replace(
                reward=rows.reward + nothing,
                discount=rows.discount + nothing,
                logits=rows.logits + nothing.unsqueeze(-1),
                action=torch.where(rows.valid, rows.action, A + 7),
            )
        else:
            rows = rows._replace(reward=rows.reward.nan_to_num(5.0), discount=rows.discount.nan_to_num(1.0))
        assert not rows.valid.all()
        found = scored(module, rows, state)
        with torch.no_grad():
            module.observe(rows, seen(rows), found)
        value, mask = module(rows, seen(rows), found)
        if learns(module):
            value[mask].sum().backward()
        after = scored(module, following, found.state)
        gradients = [torch.zeros(()) if p.grad is None else p.grad for p in module.parameters()]
        results.append((found.raw[rows.valid], value[mask].detach(), gradients, after.raw[following.valid]))
    one, other = (leaves(x) for x in results)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@names
def test_environments_do_not_matter_to_each_other(name):
    """Neither if they change places, nor if another one has lived otherwise."""
    if name in SHARED:
        pytest.skip(SHARED[name])
    module, state, (rows, other) = begun(name, cheap(name))
    order = torch.tensor([3, 0, 4, 1, 2])
    found = scored(module, rows, state)
    moved = scored(module, permuted(rows, order), tree_map_only(torch.Tensor, lambda x: x[order], state))
    elses = torch.zeros(T + 1, B, dtype=torch.bool)
    elses[:, 2] = True
    changed = scored(module, elsewhere(rows, other, elses), state)
    valid = rows.valid[:, order]
    close(moved.raw[valid], found.raw[:, order][valid])
    for a, b in zip(leaves(moved.state), leaves(found.state), strict=True):
        close(a, b[order])
    mine = [0, 1, 3, 4]
    close(changed.raw[:, mine][rows.valid[:, mine]], found.raw[:, mine][rows.valid[:, mine]])
    for a, b in zip(leaves(changed.state), leaves(found.state), strict=True):
        close(a[mine], b[mine])


@names
@pytest.mark.parametrize("steps", [1, 4])
def test_splitting_a_rollout_changes_no_bonus(name, steps):
    """Of what learns by gradients: none while it does not learn."""
    if name in CUT:
        pytest.skip(CUT[name])
    module, state, (rows, following) = begun(name, cheap(name), **UNSCALED.get(name, {}))
    whole, found = scored(module, rows, state), []
    for t in range(0, T, steps):
        one = part(rows, t, min(t + steps, T))._replace(sequence=1 + t)
        result = scored(module, one, state)
        if not learns(module):
            with torch.no_grad():
                module.observe(one, seen(one), result)
        found.append(result.raw)
        state = result.state
    close(torch.cat(found)[rows.valid], whole.raw[rows.valid])
    # What comes after it is scored alike. Places of a memory that are not in use may differ.
    a, b = (scored(module, following, memory) for memory in (whole.state, state))
    close(a.raw[following.valid], b.raw[following.valid])


def parts(name, kind="grid", weight=1.0, config=A2C, seed=0, **more):
    """A learner with this reward, or without any, and an agent that has the same weights whatever the reward."""
    world = WORLDS[kind]
    torch.manual_seed(seed)
    streams = (EXTRINSIC,) if name is None else (EXTRINSIC, name)
    model = ActorCritic(world, torso={"image": "shallow"}.get(kind, "auto"), memory_size=13, streams=streams)
    plugins = {}
    if name is not None:
        plugins[name] = weighed(built(name, world, model.sizes, seed + 1, **more), weight)
    return model, Learner(model, config, 10**6, plugins=plugins)


def agent(model, name):
    """The weights that an agent without the reward has too."""
    return {k: v.clone() for k, v in model.state_dict().items() if not k.startswith(f"values.{name}.")}


@cache
def without(config):
    model, learner = parts(None, config=config)
    for rows in experience(WORLDS["grid"]):
        learner.step(rows)
    return agent(model, None)


@names
@pytest.mark.parametrize("config", [A2C, PPO], ids=["a2c", "ppo"])
def test_at_weight_zero_the_agent_is_bit_identical(name, config):
    model, learner = parts(name, weight=0.0, config=config)
    for rows in experience(WORLDS["grid"]):
        learner.step(rows)
    found = agent(model, name)
    assert found.keys() == without(config).keys()
    assert all(torch.equal(found[k], v) for k, v in without(config).items())


@names
@worlds
@pytest.mark.parametrize("config", [A2C, PPO], ids=["a2c", "ppo"])
def test_it_pays_and_learns_in_the_learner(name, kind, config):
    """From vectors, from grids and from images, from whole rollouts and from minibatches."""
    model, learner = parts(name, kind, config=config)
    module = learner.plugins[name]
    before, start = agent(model, name), {k: p.clone() for k, p in module.named_parameters() if p.requires_grad}
    for rows in experience(WORLDS[kind], number=2):
        metrics = {k: value_of(v) for k, v in learner.step(rows).items() if k.startswith(f"{name}/")}
    assert {f"{name}/reward", f"{name}/divisor"} < metrics.keys()
    for key, value in metrics.items():
        assert value.dim() <= 1, key
        assert not value.isinf().any(), key
        assert not value.requires_grad, key
    assert metrics[f"{name}/reward"].isfinite()
    assert learner.updates == 2 * config.updates
    assert any(not torch.equal(v, before[k]) for k, v in agent(model, name).items())
    assert bool(start) == learns(module)
    assert not start or any(not torch.equal(p, start[k]) for k, p in module.named_parameters() if k in start)
    assert ("accuracy" in {k.partition("/")[2] for k in metrics}) <= (f"{name}/chance" in metrics)


@names
def test_a_run_goes_on_from_its_state_bit_for_bit(name):
    model, learner = parts(name, config=PPO)
    one, two, three, four = experience(WORLDS["grid"], number=4)
    for rows in (one, two):
        learner.step(rows)
    saved = copy.deepcopy(learner.state_dict())
    other, again = parts(name, config=PPO, seed=3)
    again.load_state_dict(saved)
    for rows in (three, four):
        learner.step(rows)
        again.step(rows)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    mine, its = (everything(x.plugins[name]) for x in (learner, again))
    assert same(mine, its)
    assert same(learner.streams.memories["0"], again.streams.memories["0"])


@names
def test_its_loss_never_trains_the_agent(name):
    model, learner = parts(name)
    if not learns(learner.plugins[name]):
        pytest.skip("it has no loss")
    learner.weights = {k: float(k == name) for k in learner.weights}
    own, reached = dict(learner.plugins[name].named_parameters()), set()
    for rows in experience(WORLDS["grid"]):  # some have nothing to learn from in the first
        learner.step(rows)
        assert not any(p.grad is not None and p.grad.any() for p in model.parameters())
        reached |= {k for k, p in own.items() if p.grad is not None and p.grad.any()}
    assert reached == {k for k, p in own.items() if p.requires_grad}, "every weight of its own is trained"
