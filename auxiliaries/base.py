"""What plugs into the learner: auxiliary losses and intrinsic rewards, both an `Auxiliary` with its settings.

Three calls of a reward are never mixed: ``score`` judges and changes nothing, ``observe`` keeps statistics, ``forward``
is its own loss. A reward never trains the agent: what it reads of it is detached.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

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
class AuxiliaryConfig:
    """Settings of whatever plugs in. Every field is a flag: ``--aux.NAME.FIELD`` or ``--intrinsic.NAME.FIELD``."""

    weight: Annotated[float, Meta(ge=0)] = 0.0
    """Weight of this loss or reward in the total; 0 disables it."""

    def fitted(self, unroll: int) -> Self:
        """Return the settings that make sense for unrolls of this many steps."""
        return self


@dataclass(frozen=True)
class LossConfig(AuxiliaryConfig):
    """Settings of every auxiliary loss."""


@dataclass(frozen=True)
class IntrinsicConfig(AuxiliaryConfig):
    """Settings of every intrinsic reward: of its stream in the learner, and of how its own networks are trained."""

    gamma: Annotated[float, Meta(ge=0, lt=1)] = 0.99
    """Discount per step of this reward's return."""
    episodic: bool = False
    """End this reward's return where an episode ends; otherwise it continues across resets."""
    normalise: Literal["none", "return", "reward"] = "return"
    """What to divide the reward by: none (nothing), return (the standard deviation of its discounted return over time)
    or reward (its own standard deviation)."""
    value_cost: Annotated[float, Meta(ge=0)] = 0.5
    """Weight of the value loss of this reward.
    Below the value head its gradient is scaled by the square of the reward's weight, at most 1."""
    learning_rate: Annotated[float, Meta(gt=0)] = 1e-4
    """Learning rate of the reward's own networks (Adam)."""


class Auxiliary(nn.Module, abc.ABC):
    """An auxiliary loss or an intrinsic reward. Built as ``Class(config, spec, sizes)``; ``Config`` is a dataclass
    beside it. Raises ValueError where it does not fit the environment or the network.

    It has nothing to learn from rollouts of less than ``length`` steps, or of fewer than ``environments``. The gradient
    of its own weights is clipped to the norm ``max_grad_norm``.
    """

    Config: ClassVar[type[AuxiliaryConfig]]
    paper: ClassVar[str] = ""
    length: int = 1
    environments: int = 1
    max_grad_norm: float = 10.0
    encoder: Encoder

    def __init__(self, config: AuxiliaryConfig) -> None:
        super().__init__()
        self.config: Any = config
        self.metrics: dict[str, Metric] = {}
        """What else the latest call is worth logging for: a detached scalar, or [K] for a curve, averaged over updates
        (NaN says that there was nothing to average, and is left out); or `Pooled`, such as ``reduction.average`` gives,
        if updates differ in how much they have to say."""

    def attach(self, encoder: Encoder) -> None:
        """Take the agent's encoder, once, before training. Its weights stay the agent's: it is no submodule."""
        object.__setattr__(self, "encoder", encoder)

    def precision(self, device: torch.device) -> torch.autocast:
        """Return a context for heads that cost as much as a torso: bfloat16 where the agent's torso runs in it."""
        encoder: Encoder | None = getattr(self, "encoder", None)
        return torch.autocast(device.type, torch.bfloat16, enabled=encoder is not None and encoder.autocast)

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer | None:
        """Return the optimiser of the module's own weights. None: as the agent's for a loss, and Adam for a reward."""
        return None

    def after_update(self) -> None:
        """Follow an update that was made: target networks move here."""
        return


class AuxiliaryLoss(Auxiliary):
    """A loss on the agent's own features.

    ``data`` is what it reads. "rollout": the fresh rollout, and the features of the learner's one unroll of it.
    "sequence_replay": unrolls from the replay, with features of one unroll of them that all such losses share.
    "transition_replay": ``batch`` windows of ``length`` steps, a column each, without features: the loss has
    ``encoder`` look at what it needs. ``skewed``: half of the windows end with a reward, positive as often as negative
    where there are both.
    """

    Config: ClassVar[type[LossConfig]] = LossConfig
    data: ClassVar[Data] = "rollout"
    skewed: ClassVar[bool] = False
    batch: int = 64

    @abc.abstractmethod
    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """Return (value, mask) of equal shape, unreduced. What the mask leaves out may be NaN."""

    def heat(self, features: Features) -> Tensor:
        """Return [h, w], what the loss knows at one step (features of T = B = 1), for people to look at. Losses that
        have nothing of the kind leave this out.
        """
        raise NotImplementedError  # the mark of a loss without a picture: who draws looks for it and never calls it


class Scored(NamedTuple):
    """What a reward makes of a rollout."""

    raw: Tensor  # [T, B] float32, before any normaliser; rows that cross a reset are ignored
    state: State = ()  # memories after the rollout
    context: State = ()  # embeddings, errors: what `observe` and `forward` need again


class IntrinsicReward(Auxiliary):
    """A reward the agent gives itself: a stream of its own in the learner, which weighs, discounts and normalises it.

    ``features`` are detached and ``rollout.reward`` is what the agent learns from (clipped, say) in all three calls.
    Row 0 was scored with the rollout before, unless ``first[0]``. Episodic memories are wiped at ``first`` and then
    take that observation in. Memories are kept for each ``rollout.source``, and begun again after a gap in
    ``rollout.sequence`` or a lost environment.
    """

    Config: ClassVar[type[IntrinsicConfig]] = IntrinsicConfig

    def initial_state(self, batch: int) -> State:
        """Return the memories of ``batch`` environments before anything was seen: tensors, batch first."""
        return ()

    @abc.abstractmethod
    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Judge T transitions, without gradient; changes nothing in self."""

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Update running statistics, once a rollout, after it was scored."""
        return

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return (value, mask) of equal shape of its own loss, unreduced; by default there is none."""
        return torch.zeros_like(scored.raw), rollout.valid


def image_shape(spec: Spec, name: str) -> tuple[int, int, int]:
    """Return height, width and channels. ValueError, naming the loss, where there are no images."""
    if "image" not in spec.observation:
        raise ValueError(f"{name} needs images, and this environment shows {' and '.join(spec.observation)}.")
    height, width, channels = spec.observation["image"][0]
    return height, width, channels
