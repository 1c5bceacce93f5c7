"""What plugs into the learner: auxiliary losses and intrinsic rewards.

Three calls, never mixed: ``reward`` scores and changes nothing, ``observe`` keeps statistics, ``forward`` is the
loss. A reward never trains.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn

from ..backbones import Features
from ..backbones.encoder import Encoder
from ..envs.experience import Rollout, Spec
from ..envs.trees import State
from .pooling import Metric

Data = Literal["rollout", "sequence_replay", "transition_replay"]


@dataclass(frozen=True)
class LossConfig:
    """What every auxiliary loss can be told."""

    weight: Annotated[float, Meta(ge=0)] = 0.0
    """Weight of this loss in the total; 0 disables it."""


class AuxiliaryLoss(nn.Module, abc.ABC):
    """A loss on the agent's own features. Built as ``Class(config, spec, sizes)``; ``Config`` is a dataclass beside it.
    ValueError where it does not fit the environment or the network.

    ``data`` is what it reads. "rollout": the fresh rollout, and the features of the learner's one unroll of it.
    "sequence_replay": unrolls from the replay, with features of one unroll of them that all such losses share.
    "transition_replay": ``batch`` windows of ``length`` steps, a column each, without features: the loss has
    ``encoder`` look at what it needs. ``skewed``: half of the windows end with a reward, positive as often as negative
    where there are both. A loss has nothing to learn from rollouts of less than ``length`` steps, or of fewer than
    ``environments``.
    """

    Config: ClassVar[type[LossConfig]] = LossConfig
    paper: ClassVar[str] = ""
    data: ClassVar[Data] = "rollout"
    length: int = 1
    environments: int = 1
    skewed: ClassVar[bool] = False
    batch: int = 64
    encoder: Encoder

    def __init__(self) -> None:
        super().__init__()
        self.metrics: dict[str, Metric] = {}
        """What else the latest ``forward`` is worth logging for: a detached scalar, or [K] for a curve, averaged over
        updates (NaN says that there was nothing to average, and is left out); or `Pooled`, such as
        ``reduction.average`` gives, if updates differ in how much they have to say."""

    @abc.abstractmethod
    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """(value, mask) of equal shape, unreduced. What the mask leaves out may be NaN."""

    def attach(self, encoder: Encoder) -> None:
        """Take the agent's encoder, once, before training. Its weights stay the agent's: it is no submodule."""
        object.__setattr__(self, "encoder", encoder)

    def precision(self, device: torch.device) -> torch.autocast:
        """A context for heads that cost as much as a torso: bfloat16 where the agent's torso runs in it."""
        encoder: Encoder | None = getattr(self, "encoder", None)
        return torch.autocast(device.type, torch.bfloat16, enabled=encoder is not None and encoder.autocast)

    def after_update(self) -> None:
        """Called after each optimiser step: target networks move here."""
        return

    def heat(self, features: Features) -> Tensor:
        """[h, w], what the loss knows at one step (features of T = B = 1), for people to look at. Losses that have
        nothing of the kind leave this out.
        """
        raise NotImplementedError  # the mark of a loss without a picture: who draws looks for it and never calls it


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


class Draws(nn.Module):
    """Random numbers of a module's own, on the device of what they are drawn for, and part of the module's state. The
    seed is drawn from torch's generator when the module is built. States of another kind of device do not fit: there
    the numbers begin anew.
    """

    def __init__(self) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        self._state: Tensor | None = None  # to go on from, once it is known on which device

    def on(self, device: torch.device) -> torch.Generator:
        """The generator."""
        if self._generator.device != device:  # the module has moved
            self._generator = torch.Generator(device).manual_seed(self._generator.initial_seed())
        if self._state is not None:
            set_state(self._generator, self._state)
            self._state = None
        return self._generator

    def get_extra_state(self) -> Tensor:
        """[..] uint8."""
        return self._generator.get_state() if self._state is None else self._state

    def set_extra_state(self, state: Tensor) -> None:
        """Go on from ``get_extra_state``."""
        self._state = state.cpu().clone()


def set_state(generator: torch.Generator, state: Tensor) -> bool:
    """Go on from ``state``, if it is one of the same kind of device."""
    fits = len(state) == len(generator.get_state())
    if fits:
        generator.set_state(state.cpu())
    return fits


def image_shape(spec: Spec, name: str) -> tuple[int, int, int]:
    """Height, width, channels. ValueError, naming the loss, where there are no images."""
    if "image" not in spec.observation:
        raise ValueError(f"{name} needs images, and this environment shows {' and '.join(spec.observation)}.")
    height, width, channels = spec.observation["image"][0]
    return height, width, channels
