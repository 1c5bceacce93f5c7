"""The learner's plugins: auxiliary losses and intrinsic rewards, both an `Auxiliary` with its settings.

The three calls of a reward are kept separate: ``score`` computes rewards and changes nothing, ``observe`` updates
statistics, ``forward`` is the reward's own loss. A reward never trains the agent: its inputs from the agent are
detached.
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
Normalise = Literal["none", "return", "reward", "standard", "minmax", "advantage"]


@dataclass(frozen=True)
class AuxiliaryConfig:
    """Settings of every plugin. Every field is a flag: ``--aux.NAME.FIELD`` or ``--intrinsic.NAME.FIELD``."""

    weight: Annotated[float, Meta(ge=0)] = 0.0
    """Weight of this loss (of this reward: of its advantage); 0 disables it."""

    def fitted(self, unroll: int) -> Self:
        """Return the settings adapted to unrolls of this many steps."""
        return self


@dataclass(frozen=True)
class LossConfig(AuxiliaryConfig):
    """Settings of every auxiliary loss."""


@dataclass(frozen=True)
class IntrinsicConfig(AuxiliaryConfig):
    """Settings of every intrinsic reward: of its stream in the learner, and of the training of its own networks."""

    gamma: Annotated[float, Meta(ge=0, lt=1)] = 0.99
    """Discount per step of this reward's return."""
    episodic: bool = False
    """End this reward's return where an episode ends; otherwise it continues across resets."""
    normalise: Normalise = "return"
    """Scaling of the reward: none; return (divided by the standard deviation of its discounted return over time);
    reward (divided by its own standard deviation); standard (its mean subtracted, then as reward);
    minmax (its recent range mapped to [0, 1]); or advantage (as return, then its advantage divided by its own size)."""
    value_cost: Annotated[float, Meta(ge=0)] = 0.5
    """Weight of the value loss of this reward.
    Below the value head its gradient is scaled by the square of the reward's weight, at most 1."""
    learning_rate: Annotated[float, Meta(gt=0)] = 1e-4
    """Learning rate of the reward's own networks (Adam)."""
    warmup_steps: Annotated[int, Meta(ge=0)] = 0
    """Steps at the beginning, charged like all others, that set statistics: this reward is 0, and nothing of its own
    learns."""


class Auxiliary(nn.Module, abc.ABC):
    """An auxiliary loss or an intrinsic reward. Built as ``Class(config, spec, sizes)``; ``Config`` is the dataclass of
    its settings. Raises ValueError if it does not fit the environment or the network.

    It cannot learn from rollouts of fewer than ``length`` steps, or of fewer than ``environments``. The gradient of its
    own weights is clipped to the norm ``max_grad_norm``.
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
        """Further metrics of the latest call: a detached scalar, or [K] for a curve, averaged over updates (NaN means
        that there was nothing to average, and is left out); or `Pooled`, such as ``reduction.average`` returns, if
        updates should count by their number of elements."""

    def attach(self, encoder: Encoder) -> None:
        """Store a reference to the agent's encoder; called once, before training. Its weights stay the agent's: it is
        not registered as a submodule.
        """
        object.__setattr__(self, "encoder", encoder)

    def precision(self, device: torch.device) -> torch.autocast:
        """Return an autocast context for heads as costly as a torso: bfloat16 if the agent's torso uses it."""
        encoder: Encoder | None = getattr(self, "encoder", None)
        return torch.autocast(device.type, torch.bfloat16, enabled=encoder is not None and encoder.autocast)

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer | None:
        """Return the optimiser of the module's own weights. None: the agent's kind for a loss, Adam for a reward."""
        return None

    def after_update(self) -> None:
        """Run after each successful update, for example to move target networks."""
        return


class AuxiliaryLoss(Auxiliary):
    """A loss on the agent's own features.

    ``data`` is its input. "rollout": the fresh rollout, and the features of the learner's single unroll of it.
    "sequence_replay": unrolls from the replay, with the features of one unroll of them that all such losses share.
    "transition_replay": ``batch`` windows of ``length`` steps, one per column, without features: the loss applies
    ``encoder`` to the rows it needs. ``skewed``: half of the windows end with a non-zero reward, positive and negative
    equally often if both occur.
    """

    Config: ClassVar[type[LossConfig]] = LossConfig
    data: ClassVar[Data] = "rollout"
    skewed: ClassVar[bool] = False
    batch: int = 64

    @abc.abstractmethod
    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """Return (value, mask) of equal shape, unreduced. Values outside the mask may be NaN."""

    def heat(self, features: Features) -> Tensor:
        """Return a heat map [h, w] of one step (features of T = B = 1) for display. Losses without one do not override
        this.
        """
        raise NotImplementedError  # marks a loss without a heat map: callers check for an override first


class Scored(NamedTuple):
    """The result of scoring a rollout."""

    raw: Tensor  # [T, B] float32, before any normaliser; rows that cross a reset are ignored
    state: State = ()  # memories after the rollout
    context: State = ()  # embeddings or errors that `observe` and `forward` reuse


class Onlooker:
    """The agent's encoder as a reward may use it: what it returns is detached, so nothing trains it."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def __call__(self, *arguments: Any) -> Any:
        """Return what the encoder returns, without a gradient."""
        with torch.no_grad():
            return self._encoder(*arguments)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # a copy looks for some before it has an encoder
            raise AttributeError(name)
        return getattr(self._encoder, name)


class IntrinsicReward(Auxiliary):
    """A reward that the agent generates for itself: a separate stream in the learner, which weights, discounts and
    normalises it.

    In all three calls ``features`` are detached and ``rollout.reward`` is the reward that the agent learns from
    (possibly clipped). Row 0 was scored with the previous rollout, unless ``first[0]``. Episodic memories are cleared
    at ``first`` and then include that observation. Memories are kept for each ``rollout.source``, and cleared after a
    gap in ``rollout.sequence`` or the loss of an environment. ``needs``: entries of ``rollout.info`` that it reads,
    which not every environment has. ``keeps_graph``: where one update follows, ``score`` runs with gradients enabled,
    so that ``forward`` can go on from the context instead of computing it again; state and metrics are to be detached.
    ``over`` what something is new and what it ``trains``, in words, are for lists.
    """

    needs: tuple[str, ...] = ()
    keeps_graph: ClassVar[bool] = False
    over: ClassVar[str] = ""
    trains: ClassVar[str] = ""

    Config: ClassVar[type[IntrinsicConfig]] = IntrinsicConfig

    def attach(self, encoder: Encoder) -> None:
        """Take the agent's encoder, once, before training, to look through but not to train."""
        object.__setattr__(self, "encoder", Onlooker(encoder))

    def initial_state(self, batch: int) -> State:
        """Return the memories of ``batch`` environments before the first observation: tensors, batch first."""
        return ()

    def warm_up(self, rollout: Rollout) -> None:
        """Update the statistics of observations in the steps before the reward begins (``warmup_steps``)."""
        return

    @abc.abstractmethod
    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Score T transitions, without gradient unless it ``keeps_graph``; changes nothing in self."""

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Update running statistics; called once per rollout, after scoring."""
        return

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return (value, mask) of the reward's own loss, unreduced and of equal shape; by default there is none."""
        return torch.zeros_like(scored.raw), rollout.valid


def image_shape(spec: Spec, name: str) -> tuple[int, int, int]:
    """Return height, width and channels. ValueError, naming the loss, if there are no images."""
    if "image" not in spec.observation:
        raise ValueError(f"{name} needs images, and this environment shows {' and '.join(spec.observation)}.")
    height, width, channels = spec.observation["image"][0]
    return height, width, channels
