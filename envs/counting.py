"""A diagnostic environment that counts, so that a misplaced row is detectable.

Episodes of environment i last ``3 + (5 * i) % 7`` steps. Environments with even i terminate (task 0, discount 0), those
with odd i are truncated (task 1, discount 1). The observation gives environment, time and preceding action; the reward
of step s is ``100 * (i + 1) + s``, an integer unique to that environment and step while episodes are shorter than 100
steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .arguments import as_action, as_mask
from .experience import Spec, Timestep
from .rows import write_rows
from .vector_env import VectorEnv

VECTOR = ("seed", "index", "episode", "step", "action")
"""Entries of ``vector``; ``action`` is the preceding action, -1 at the first row of an episode."""


LONGEST = 9
"""Largest value of `episode_length`, in steps."""


def episode_length(index: Tensor) -> Tensor:
    """Return the number of steps in every episode of the environments with these global indices."""
    return 3 + (5 * index) % 7


class Counting(VectorEnv):
    """B counting environments; ``env_offset`` is the global index of environment 0."""

    def __init__(
        self,
        num_envs: int,
        device: torch.device,
        seed: int,
        *,
        frame_size: tuple[int, int] = (5, 7),
        env_offset: int = 0,
    ) -> None:
        self.num_envs, self.device = num_envs, device
        self._index = torch.arange(env_offset, env_offset + num_envs, device=device)
        self._seed = torch.full_like(self._index, seed)
        self._episode = torch.full_like(self._index, -1)
        self._step = torch.zeros_like(self._index)
        self._action = torch.full_like(self._index, -1)
        self.spec = Spec(
            observation={"vector": ((len(VECTOR),), torch.float32), "image": ((*frame_size, 3), torch.uint8)},
            num_actions=3,
            action_names=("zero", "one", "two"),
            tasks=("terminates", "truncates"),
            frames_per_step=1,
            max_steps=LONGEST,
            resumable=True,
        )

    def reset(self, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Begin episodes where ``mask`` is True; ``seed`` only appears in the observation."""
        begin = as_mask(mask, self.num_envs, self.device)
        if seed is not None:
            self._seed = torch.where(begin, seed, self._seed)
            self._episode = torch.where(begin, -1, self._episode)
        self._begin(begin)
        return self._answer(None)

    def step(self, action: Tensor, out: Timestep | None = None) -> Timestep:
        """Advance the counters; where the episode had ended, begin the next one."""
        action = as_action(action, self.num_envs, self.spec.num_actions, self.device)
        ended = self._step == episode_length(self._index)
        self._step = self._step + 1
        self._action = action.clone()
        self._begin(ended)
        return self._answer(out)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the counters."""
        return {"seed": self._seed, "episode": self._episode, "step": self._step, "action": self._action}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue counting from ``state_dict``."""
        self._seed, self._episode = state["seed"].clone(), state["episode"].clone()
        self._step, self._action = state["step"].clone(), state["action"].clone()

    def _begin(self, where: Tensor) -> None:
        self._episode = self._episode + where
        self._step = torch.where(where, 0, self._step)
        self._action = torch.where(where, -1, self._action)

    def _answer(self, out: Timestep | None) -> Timestep:
        first = self._step == 0
        last = self._step == episode_length(self._index)
        task = self._index % 2
        image = torch.stack([self._index, self._episode, self._step], -1).remainder(256).to(torch.uint8)
        height, width, _ = self.spec.observation["image"][0]
        now = Timestep(
            observation={
                "vector": torch.stack([self._seed, self._index, self._episode, self._step, self._action], -1).float(),
                "image": image[:, None, None, :].expand(-1, height, width, -1).contiguous(),
            },
            reward=torch.where(first, 0, 100 * (self._index + 1) + self._step).float(),
            discount=torch.where(last & (task == 0), 0.0, 1.0),
            first=first,
            last=last,
            task=task,
            info={"position": torch.stack([self._index, self._step], -1).float(), "cell": self._step.clone()},
        )
        return now if out is None else write_rows(now, out)
