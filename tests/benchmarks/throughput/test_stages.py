"""What `morello bench throughput` times: each part is what it says."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from morello.agents.learner import Learner
from morello.agents.model import ActorCritic
from morello.backbones.encoder import Encoder
from morello.benchmarks.throughput.stages import own_parts
from morello.envs import make
from morello.envs.labyrinth.labyrinth import Labyrinth
from morello.envs.labyrinth.launcher import Launcher

from ...support.throughput import ENV, THREADS, B, T
from ...support.throughput import config as config  # a fixture


def test_each_part_is_what_it_says(config, monkeypatch):
    """Counted from outside: environment steps, acts, rows through the network, learner steps and backward passes."""
    seen = Counter()

    def count(owner, method, name, amount=lambda *arguments: 1):
        inner = getattr(owner, method)

        def counted(self, *arguments, **options):
            seen[name] += amount(*arguments)
            return inner(self, *arguments, **options)

        monkeypatch.setattr(owner, method, counted)

    count(Labyrinth, "step", "stepped", lambda action, *out: len(action))
    count(ActorCritic, "act", "acted")
    count(Encoder, "forward", "rows", lambda observation, *others: observation["image"].shape[:2].numel())
    count(Learner, "step", "learned")
    count(torch.Tensor, "backward", "backward")
    parts = own_parts(config)
    expected = {
        "environment": {"stepped": T * B},
        "acting": {"acted": T, "rows": T * B},
        "learning": {"learned": 1, "backward": 1, "rows": (T + 1) * B},
        "torso": {"backward": 1, "rows": (T + 1) * B},
        "training": {"stepped": T * B, "acted": T, "learned": 1, "backward": 1, "rows": T * B + (T + 1) * B},
    }
    assert set(parts) == set(expected)
    for name, part in parts.items():
        assert part.steps == T * B
        assert part.threads == 1
        seen.clear()
        part.run(5)
        assert seen == {what: 5 * n for what, n in expected[name].items()}, name


@pytest.mark.skipif(THREADS < 2, reason="needs a second core")
def test_a_second_thread_is_compared_with_one(config):
    parts = own_parts(replace(config, threads=2))
    torch.set_num_threads(1)
    assert {name: part.threads for name, part in parts.items()} == {
        "environment_one_thread": 1,
        "environment": 2,
        "acting": 2,
        "learning": 2,
        "torso": 2,
        "training": 2,
    }
    used = set()
    with pytest.MonkeyPatch.context() as patch:
        inner = Launcher.run
        patch.setattr(Launcher, "run", lambda self, *launch: (used.add(len(self.parts)), inner(self, *launch))[1])
        for name in ("environment_one_thread", "environment"):
            parts[name].run(1)
            assert used == {parts[name].threads}, name
            used.clear()


def test_random_actions_differ_from_rollout_to_rollout(config, monkeypatch):
    taken = []
    inner = Labyrinth.step
    monkeypatch.setattr(Labyrinth, "step", lambda self, a, out=None: (taken.append(a.clone()), inner(self, a, out))[1])
    own_parts(replace(config, num_envs=31))["environment"].run(7)
    actions = torch.stack(taken[-7 * T :])
    assert len(actions.unique(dim=0)) == 7 * T
    assert len(actions.unique()) == len(make(ENV).spec.action_names)


def test_learning_alone_leaves_rollout_and_training_alone(config, monkeypatch):
    """The rollout it is given again and again stays the same, and the agent that trains does not learn from it."""
    given = []
    inner = Learner.step
    monkeypatch.setattr(Learner, "step", lambda self, r: (given.append((self, r)), inner(self, r))[1])
    parts = own_parts(config)
    parts["learning"].run(1)
    parts["training"].run(1)
    (alone, rollout), (trained, _) = given
    before = (rollout.observation["image"].clone(), rollout.action.clone(), rollout.logits.clone())
    weights = [p.clone() for p in trained.model.parameters()]
    for name in ("learning", "acting", "torso", "environment"):
        parts[name].run(2)
    assert all(given[i][1] is rollout for i in (2, 3))
    assert all(torch.equal(a, b) for a, b in zip(weights, trained.model.parameters(), strict=True))
    assert alone is not trained
    parts["training"].run(2)
    after = (rollout.observation["image"], rollout.action, rollout.logits)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not torch.equal(weights[0], next(trained.model.parameters()))
