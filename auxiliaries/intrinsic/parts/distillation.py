"""Random network distillation: the error of a network that learns a fixed, random one (Burda et al. 2018)."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from msgspec import Meta
from torch import Tensor, nn

from ....backbones import Features, Sizes
from ....envs.experience import Rollout, Spec
from ...base import IntrinsicConfig, IntrinsicReward, Scored
from .networks import Embedding, once, orthogonal, perceptron
from .view import View, Views, taken
from .whitening import MOST, Whitening


class Distillation(nn.Module):
    """A fixed random ``target`` [N, size] of views, and a ``predictor`` with two more layers."""

    def __init__(self, view: View, size: int, activation: Callable[[], nn.Module] = nn.LeakyReLU) -> None:
        super().__init__()
        self.small = view.small("image")
        self.target = orthogonal(Embedding(view, (size,), activation)).requires_grad_(False)
        self.trunk = orthogonal(Embedding(view, (size,), activation))
        self.head = orthogonal(nn.Sequential(nn.ReLU(), perceptron((size, size, size))))

    def predict(self, views: Views) -> Tensor:
        """Predict the target [N, size]."""
        return once(lambda some: self.head(self.trunk(some)).float(), views, self.small)

    def error(self, views: Views, target: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the mean squared error over features [N], and the target [N, size], computed if not given."""
        if target is None:
            with torch.no_grad():
                target = self.target(views)
        return (self.predict(views) - target).square().mean(-1), target


class Known(NamedTuple):
    """What scoring computed of the observations arrived at, for the predictor to learn from."""

    target: Tensor  # [T, B, size]
    views: Views  # whitened, and kept as networks read them
    error: Tensor  # [T, B], with a graph in the environments that the predictor learns from if gradients were enabled


@dataclass(frozen=True)
class DistilledConfig(IntrinsicConfig):
    """Settings of rewards with a distilled network."""

    size: Annotated[int, Meta(ge=1, le=2**16)] = 512
    """Number of random features."""
    side: Annotated[int, Meta(ge=20, le=2**12)] = 42
    """Images are averaged down to at least this many pixels a side (the paper: 84)."""
    train_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Share of the environments that the predictor learns from in each update, in turns
    (the paper: 0.25 of 128, which keeps 32)."""
    warmup_steps: Annotated[int, Meta(ge=0)] = 4096
    """Steps at the beginning, without this reward, whose observations only set the whitening's statistics."""


class Distilled(IntrinsicReward, abc.ABC):
    """Rewards from the error of RND's predictor on whitened observations, which it learns. Their context, or what they
    give to this ``forward`` as one, is what is `Known` of the observations arrived at.
    """

    keeps_graph = True

    def __init__(self, config: DistilledConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.view = View(spec, config.side)
        self.whitening = Whitening(self.view.shapes)
        self.networks = Distillation(self.view, config.size)

    def arrived(self, rollout: Rollout, environments: slice = slice(None)) -> Views:
        """Return the views of the observations arrived at, rows 1 to T, of some environments."""
        return self.view({name: x[1:, environments] for name, x in rollout.observation.items()})

    def whitened(self, observation: Mapping[str, Tensor]) -> Views:
        """Return whitened views [T, B, ...] of observations, as networks read them in the precision here."""
        return self.view.kept(observation, self.whitening, at_once=not self.whitening.begun)

    def warm_up(self, rollout: Rollout) -> None:
        """Learn the statistics of observations."""
        self.whitening.update(self.arrived(rollout))

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Include the rollout in the whitening's statistics, or some of its environments in turn if it is large."""
        every = min(-(-rollout.reward.numel() // MOST), rollout.reward.shape[1])
        self.whitening.update(self.arrived(rollout, slice(rollout.sequence % every, None, every)))

    def known(self, views: Views, rollout: Rollout) -> Known:
        """Return what is known of whitened views [N, B, ...]: if gradients are enabled, with a graph of the errors in
        the environments whose turn it is to be learnt from.
        """
        shape = next(iter(views.values())).shape[:2]
        with torch.no_grad():
            target = self.networks.target(taken(views)).view(*shape, -1)
        if not torch.is_grad_enabled():
            return Known(target, views, self._error(views, target, slice(None)))
        mine, rest = self._turns(rollout)
        error = torch.zeros(shape, device=target.device)
        error[:, mine] = self._error(views, target, mine)
        if len(rest):
            with torch.no_grad():
                others = self._error(views, target, rest)
            error[:, rest] = others
        return Known(target, views, error)

    def _error(self, views: Views, target: Tensor, some: slice | Tensor) -> Tensor:
        """Return the predictor's error [N, some] in some environments."""
        error, _ = self.networks.error(taken(views, some), target[:, some].flatten(0, 1))
        return error.view(len(target), -1)

    def _turns(self, rollout: Rollout) -> tuple[slice, Tensor]:
        """Return the environments whose turn it is to be learnt from, and the others, int64."""
        number = rollout.reward.shape[1]
        every = max(1, min(round(1 / self.config.train_share), number))
        index = torch.arange(number, device=rollout.reward.device)
        turns = [slice((rollout.sequence + i) % every, None, every) for i in range(every)]
        return turns[0], torch.cat([index[:0], *(index[turn] for turn in turns[1:])])

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return the error [T, B] to be minimised, and the environments in turn that it is computed for; targets and
        views are those that were scored.
        """
        assert isinstance(scored.context, Known)
        target, views, error = scored.context
        mine, mask = self._turns(rollout)[0], torch.zeros_like(rollout.valid)
        mask[:, mine] = rollout.valid[:, mine]
        if error.requires_grad:
            return error, mask
        value = torch.zeros_like(rollout.reward)
        with self.precision(rollout.reward.device):
            value[:, mine] = self._error(views, target, mine)
        return value, mask
