"""Rewards that keep the graph of what was scored: ``forward`` goes on from it and learns the same, where one update
follows.
"""

import copy

import pytest
import torch
from torch.utils._pytree import tree_flatten

from morello.agents.learner import Learner
from morello.agents.model import EXTRINSIC, ActorCritic
from morello.auxiliaries import INTRINSIC_REWARDS
from morello.auxiliaries.intrinsic.parts.networks import Embedding

from ...support.registered import A2C, PPO, SIZES, WORLDS, built
from ...support.rollouts import features, rollout

T, B, A = 11, 5, 3

GRAPHS = [name for name, kind in INTRINSIC_REWARDS.items() if kind.keeps_graph]


def experience(world):
    return [rollout(world, T, B, i, 0.15)._replace(sequence=i) for i in range(2)]


@pytest.mark.parametrize("more", [{}, {"train_share": 0.2}, {"train_share": 1.0}, {"shape_features": False}], ids=str)
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", GRAPHS)
def test_going_on_from_the_graph_of_scoring_gives_the_same_loss_and_gradient(name, world, more):
    start, rows = built(name, WORLDS[world], **more), experience(WORLDS[world])
    start.warm_up(rows[0])
    seen = features(SIZES, T, B, A)
    gradients, losses, scores = [], [], []
    for graph in (False, True):
        module = copy.deepcopy(start)
        with torch.set_grad_enabled(graph):
            scored = module.score(rows[1], seen, module.initial_state(B))
        module.observe(rows[1], seen, scored)
        kept = any(x.requires_grad for x in tree_flatten(scored.context)[0])
        assert kept == graph
        assert not any(x.requires_grad for x in tree_flatten(scored.state)[0])
        value, mask = module(rows[1], seen, scored)
        loss = value[mask].mean()
        loss.backward()
        scores.append(scored.raw.detach())
        losses.append(loss.detach())
        gradients.append([p.grad.clone() for p in module.parameters() if p.grad is not None])
    torch.testing.assert_close(scores[1], scores[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses[1], losses[0])
    assert len(gradients[0]) > 2
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [*GRAPHS, "ride"])
@pytest.mark.parametrize("config", [A2C, PPO], ids=["one update", "several"])
def test_where_one_update_follows_nothing_is_embedded_twice(name, config, monkeypatch):
    """Of rewards that keep their graph: others are scored without one."""
    world, single = WORLDS["vector"], config is A2C
    module, kept, embedded, scoring = built(name, world), [], [], []
    forward, score, embed = type(module).forward, type(module).score, Embedding.forward

    def learns(self, rollout, *given):
        kept.append(any(x.requires_grad for x in tree_flatten(given[-1].context)[0]))
        return forward(self, rollout, *given)

    def scores(self, *given):
        scoring.append(torch.is_grad_enabled())
        return score(self, *given)

    def embeds(self, views):
        if torch.is_grad_enabled():
            embedded.append(len(views["vector"]))
        return embed(self, views)

    monkeypatch.setattr(type(module), "forward", learns)
    monkeypatch.setattr(type(module), "score", scores)
    monkeypatch.setattr(Embedding, "forward", embeds)
    torch.manual_seed(0)
    learner = Learner(ActorCritic(world, streams=(EXTRINSIC, name)), config, 10**6, plugins={name: module})
    for one in experience(world):
        learner.step(one)
    keeps = single and name in GRAPHS
    assert scoring == [keeps] * 2
    assert kept == [keeps] * (2 if single else 8)
    if keeps:  # three of five environments learn from the first rollout, and two from the second
        own = {"icm": [(T + 1, B, B)], "ngu": [(T + 1, B, B), (T, 3, 2)], "rnd": [(T, 3, 2)], "noveld": [(T + 1, 3, 2)]}
        assert embedded == [rows * n[i] for i in (0, 1) for rows, *n in own[name]]
    memories = tree_flatten(learner.streams.memories)[0]
    assert not any(x.requires_grad for x in memories if isinstance(x, torch.Tensor))
