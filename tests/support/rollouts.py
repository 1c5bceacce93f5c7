"""Rollouts and features made up at random, for losses and rewards: nothing here learns or acts."""

import torch

from morello.backbones import Features, Sizes
from morello.envs.experience import AgentState, Rollout, Spec


def spec(*, image=None, vector=None, actions=5):
    seen = {}
    if image is not None:
        seen["image"] = (image, torch.uint8)
    if vector is not None:
        seen["vector"] = ((vector,), torch.float32)
    return Spec(seen, actions, tuple(f"a{i}" for i in range(actions)), ("task",), 4, None, True)


def rollout(spec, T, B, seed=0, ends=0.15):
    """Every row is what it could be: an end is followed by a beginning, half of the ends are time limits, rewards are
    -1, 0 or 1, and what must not be read is NaN: reward and discount of rows that cross a reset.
    """
    g = torch.Generator().manual_seed(seed)
    last = torch.rand(T + 1, B, generator=g) < ends
    for t in range(1, T + 1):
        last[t] &= ~last[t - 1]  # an episode has two rows or more
    first = torch.cat([torch.rand(1, B, generator=g) < ends, last[:-1]])
    first[0] &= ~last[0]
    observation = {}
    for name, (shape, dtype) in spec.observation.items():
        rows = (T + 1, B, *shape)
        pixels = torch.randint(256, rows, generator=g).to(dtype)
        observation[name] = pixels if dtype == torch.uint8 else torch.randn(rows, generator=g)
    terminated = last[1:] & (torch.rand(T, B, generator=g) < 0.5)
    crossing = last[:-1]
    return Rollout(
        observation=observation,
        first=first,
        last=last,
        task=torch.zeros(T + 1, B, dtype=torch.int64),
        info={},
        action=torch.randint(spec.num_actions, (T, B), generator=g),
        logits=torch.randn(T, B, spec.num_actions, generator=g),
        reward=torch.where(crossing, torch.nan, torch.randint(-1, 2, (T, B), generator=g).float()),
        discount=torch.where(crossing, torch.nan, torch.where(terminated, 0.0, 1.0)),
        skill=torch.zeros(T + 1, B, 0),
        state=AgentState((), torch.full((B,), -1), torch.zeros(B)),
    )


def features(sizes: Sizes, T, B, actions=5, streams=("extrinsic",), seed=0):
    """Leaves that ask for gradients."""
    g = torch.Generator().manual_seed(seed)

    def leaf(*shape):
        return torch.randn(shape, generator=g).requires_grad_()

    maps = None if sizes.map is None else leaf((T + 1) * B, *sizes.map)
    widths = (sizes.vector, sizes.memory, actions)
    return Features(maps, *(leaf(T + 1, B, width) for width in widths), {name: leaf(T + 1, B) for name in streams})
