"""Exploration via elliptical episodic bonuses (Henaff et al. 2022, E3B)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from msgspec import Meta
from torch import Tensor
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...backbones.numerics import one_hot
from ...envs.experience import Rollout, Spec
from ...envs.trees import State
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..pooling import Commonest
from ..reduction import average
from .parts.dynamics import InverseModel
from .parts.episodes import episode_of
from .parts.networks import Embedding
from .parts.view import View


@dataclass(frozen=True)
class E3BConfig(IntrinsicConfig):
    """Elliptical episodic bonus: how unlike the features of this episode so far."""

    ridge: Annotated[float, Meta(gt=0)] = 0.1
    """Regulariser lambda of the episode's second moments."""
    size: Annotated[int, Meta(ge=1, le=4096)] = 256
    """Number of features (the paper: 1024 on MiniHack)."""
    hidden: Annotated[int, Meta(ge=1, le=2**16)] = 256
    """Width of the inverse model's hidden layer (the paper: 1024)."""
    unit: bool = True
    """Scale each observation's features to length 1, so that it is paid 1 / ridge at most. The paper does not; they
    grow while the inverse model learns, and one update then moves them further than different views are apart."""
    side: Annotated[int, Meta(ge=20, le=2**12)] = 42
    """Images are averaged down to at least this many pixels a side."""


def elliptical(
    inverse: Float[Tensor, "B D D"], phi: Float[Tensor, "T B D"], number: Tensor, ridge: float
) -> tuple[Float[Tensor, "T B"], Float[Tensor, "B D D"]]:
    """Compute ``b[t] = phi[t]' C[t]^-1 phi[t]``, C[t] = ridge I + sum of phi phi' of the episode before row t, and the
    inverse after the last row (Henaff et al. 2022, equation 1).

    ``inverse`` is that of the episode numbered 0 in ``number`` [T, B]; later ones begin at ridge I. All rows at once:
    with K the products of features under the C^-1 that the episode has before the rollout, the diagonal of the Cholesky
    factor of I + K is sqrt(1 + b).
    """
    x = phi.transpose(0, 1).double()  # [B, T, D]
    n = number.T
    carried = (n == 0).unsqueeze(-1)
    under = torch.where(carried, x @ inverse.double(), x / ridge)
    same = n.unsqueeze(-1) == n.unsqueeze(-2)
    gram = torch.where(same, under @ x.mT, 0.0)
    eye = torch.eye(len(phi), dtype=x.dtype, device=x.device)
    factor, failed = torch.linalg.cholesky_ex((gram + gram.mT) / 2 + eye)  # which does not wait for a GPU
    factor = torch.where((failed == 0).view(-1, 1, 1), factor, torch.nan)
    bonus = factor.diagonal(dim1=-2, dim2=-1).square() - 1
    # What the last episode adds, C^-1 - U' (I + K)^-1 U with its rows U = phi C^-1 (Woodbury).
    last = torch.where((n == n[:, -1:]).unsqueeze(-1), under, 0.0)
    half = torch.linalg.solve_triangular(factor, last, upper=False)
    fresh = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device) / ridge
    begun = torch.where((n[:, -1] == 0).view(-1, 1, 1), inverse.double(), fresh)
    after = begun - half.mT @ half
    return bonus.T.float(), (after + after.mT) / 2


class E3B(IntrinsicReward):
    """``phi[t]' C^-1 phi[t]``, C the second moments of the episode before row t, in features from which the action
    between two observations can be told, by default scaled to length 1. The state that is acted from is scored; the
    first of an episode gets 0.
    """

    Config = E3BConfig
    paper = "elliptical bonus of the episode (E3B, Henaff et al. 2022)"
    over = "episode"
    trains = "an inverse model"

    def __init__(self, config: E3BConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.view = View(spec, config.side)
        scale = 10.0 if self.view.small("image") else 255.0
        self.embedding = Embedding(self.view, (config.size,), scale=scale)
        self.inverse = InverseModel(config.size, spec.num_actions, config.hidden)

    def initial_state(self, batch: int) -> State:
        """Return C^-1 of an episode without observations [B, D, D], in float64: rounding adds up over an episode."""
        device = next(self.parameters()).device
        empty = torch.eye(self.config.size, dtype=torch.float64, device=device) / self.config.ridge
        return empty.expand(batch, -1, -1).clone()

    def embed(self, rollout: Rollout) -> Tensor:
        """Return the features phi [T + 1, B, D]."""
        with self.precision(rollout.reward.device):
            phi: Tensor = self.embedding(self.view(rollout.observation))
        return phi.view(*rollout.first.shape, -1)

    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Score T transitions."""
        assert isinstance(state, Tensor)
        first, phi = rollout.first[:-1], self.embed(rollout)[:-1]
        if self.config.unit:
            phi = F.normalize(phi, dim=-1)
        bonus, after = elliptical(state, phi, episode_of(first), self.config.ridge)
        begins = first.clone()  # or goes on from a memory that was lost
        begins[0] |= (state == self.initial_state(1)).flatten(1).all(1)
        return Scored(torch.where(begins, 0.0, bonus), after)

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return the inverse model's loss [T, B] in nats."""
        phi, valid = self.embed(rollout), rollout.valid
        action = torch.where(valid, rollout.action, 0)
        with self.precision(rollout.reward.device):
            logits = self.inverse(phi[:-1], phi[1:])
        self.metrics = {
            "accuracy": average((logits.detach().argmax(-1) == action).float(), valid),
            "chance": Commonest.of(one_hot(action, logits.shape[-1]), valid),
        }
        loss = F.cross_entropy(logits.flatten(0, 1), action.flatten(), reduction="none")
        return loss.view_as(rollout.reward), valid
