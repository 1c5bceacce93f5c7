"""One update of an intrinsic reward by itself, in the learner's order: score, observe, learn."""

import torch

from morello.auxiliaries import Scored
from morello.auxiliaries.reduction import reduce
from morello.backbones import Features, Sizes

from .rollouts import features

NOWHERE = Sizes(None, 0, 0)
NOTHING = Features(None, *(torch.zeros(0, 0, 0) for _ in range(3)), {})
"""Sizes and features of an agent that a reward does not look at."""
UNSCORED = Scored(torch.zeros(0, 0))


def unseen(rollout):
    """Features of the agent's, made up and without gradients, for rewards that do not look at them."""
    given = features(Sizes(None, 17, 13), *rollout.reward.shape, rollout.logits.shape[-1])
    parts = {k: v.detach() for k, v in given._asdict().items() if isinstance(v, torch.Tensor)}
    return given._replace(**parts, value={k: v.detach() for k, v in given.value.items()})


def learn(module, rollout, optimizer, state=(), epochs=1):
    """Score a rollout, take it in, and train the reward's own networks on it. Returns what was scored."""
    given = unseen(rollout)
    with torch.no_grad():
        scored = module.score(rollout, given, state)
        module.observe(rollout, given, scored)
    for _ in range(epochs):
        optimizer.zero_grad()
        reduce(*module(rollout, given, scored)).backward()
        optimizer.step()
        module.after_update()
    return scored


def score(module, rollout, state=()):
    """What is scored, without anything else."""
    with torch.no_grad():
        return module.score(rollout, unseen(rollout), state)


def snapshot(module):
    """A copy of everything that a module would save."""
    return {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in module.state_dict().items()}


def unchanged(module, before):
    """Whether nothing of a module has changed since ``snapshot``."""
    now = module.state_dict()
    return now.keys() == before.keys() and all(torch.equal(v, before[k]) for k, v in now.items())


def permuted(rollout, order):
    """The same environments in another order."""
    by_time = {"observation", "info", "intrinsic"}
    parts = {}
    for name, x in rollout._asdict().items():
        if isinstance(x, torch.Tensor):
            parts[name] = x[:, order]
        elif name in by_time:
            parts[name] = {k: v[:, order] for k, v in x.items()}
    return rollout._replace(**parts)


def part(rollout, start, stop):
    """Steps ``start`` to ``stop`` of a rollout, which are the next after those before them."""
    rows, steps = slice(start, stop + 1), slice(start, stop)
    return rollout._replace(
        observation={k: v[rows] for k, v in rollout.observation.items()},
        info={k: v[rows] for k, v in rollout.info.items()},
        **{k: getattr(rollout, k)[rows] for k in ("first", "last", "task", "skill")},
        **{k: getattr(rollout, k)[steps] for k in ("action", "logits", "reward", "discount")},
        sequence=rollout.sequence + start,
    )
