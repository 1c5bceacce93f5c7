"""What plugs into the learner: auxiliary losses and intrinsic rewards.

Three calls, never mixed: ``reward`` scores and changes nothing, ``observe`` keeps statistics, ``forward`` is the
loss. A reward never trains.
"""

from __future__ import annotations

import abc
from typing import ClassVar

from torch import Tensor, nn

from ..backbones import Features
from ..envs.experience import Rollout, State


class AuxiliaryLoss(nn.Module, abc.ABC):
    """A loss on the agent's own features. Built as ``Class(config, spec, sizes)``; Config is a dataclass beside it."""

    data: ClassVar[str] = "rollout"

    @abc.abstractmethod
    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """(value, mask) of equal shape, unreduced."""

    def after_update(self) -> None:
        """Called after each optimiser step: target networks move here."""
        return


class IntrinsicReward(nn.Module, abc.ABC):
    """A reward the agent gives itself; one stream of its own in the learner."""

    episodic: ClassVar[bool]
    warmup_steps: ClassVar[int] = 0

    def initial_state(self, batch: int) -> State:
        """Per-environment memories, batch first; wiped at ``first`` where they are episodic."""
        return ()

    @abc.abstractmethod
    def reward(self, rollout: Rollout, features: Features, state: State) -> tuple[Tensor, State]:
        """[T, B], without gradient, and the memories after the rollout. Changes nothing in self."""

    def observe(self, rollout: Rollout, features: Features, raw_reward: Tensor, state: State) -> None:
        """Running statistics, once a rollout, after it was scored."""
        return

    @abc.abstractmethod
    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """Its own loss: (value, mask) of equal shape, unreduced."""

    def after_update(self) -> None:
        """Called after each optimiser step."""
        return
