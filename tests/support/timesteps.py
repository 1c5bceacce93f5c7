"""Random actions, and answers of environments compared."""

import torch
from torch import Tensor

from morello.envs.experience import Timestep
from morello.envs.vector_env import VectorEnv


def actions(env: VectorEnv, steps: int, seed: int = 0) -> Tensor:
    return torch.randint(env.spec.num_actions, (steps, env.num_envs), generator=torch.Generator().manual_seed(seed))


def copy(step: Timestep) -> Timestep:
    observation = {k: v.clone() for k, v in step.observation.items()}
    return Timestep(observation, *(x.clone() for x in step[1:6]), {k: v.clone() for k, v in step.info.items()})


def leaves(step: Timestep) -> dict[str, Tensor]:
    named = {k: getattr(step, k) for k in ("reward", "discount", "first", "last", "task")}
    return {**{f"observation {k}": v for k, v in step.observation.items()}, **named, **step.info}


def assert_same(a: Timestep, b: Timestep, where: Tensor | None = None) -> None:
    for (name, x), y in zip(leaves(a).items(), leaves(b).values(), strict=True):
        if where is not None:
            x, y = x[where], y[where]
        assert torch.equal(x, y), name
