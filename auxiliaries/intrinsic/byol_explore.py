"""BYOL-Explore (Guo et al., "BYOL-Explore: exploration by bootstrapped prediction", 2022)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import torch
from jaxtyping import Bool, Float
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...backbones.contrastive import ActionContext, next_actions, pair_mask
from ...backbones.numerics import one_hot
from ...backbones.recurrent import GRU
from ...envs.experience import Rollout, Spec
from ...envs.trees import State
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..losses.parts.target_network import follow, frozen
from ..reduction import average
from .parts.networks import Embedding, orthogonal, perceptron
from .parts.view import View

FORGET = 0.95
"""Factor by which each rollout scales the older moments of the reward."""


@dataclass(frozen=True)
class BYOLExploreConfig(IntrinsicConfig):
    """BYOL-Explore: the error of predicting a slow copy's embedding of what comes after the next actions."""

    steps: Annotated[int, Meta(ge=1, le=4096)] = 8
    """Number of steps ahead to predict; at most those of an unroll."""
    size: Annotated[int, Meta(ge=1, le=2**16)] = 128
    """Number of features of the embeddings."""
    hidden: Annotated[int, Meta(ge=1, le=2**16)] = 128
    """Width of both recurrent networks and of the predictor's hidden layer."""
    side: Annotated[int, Meta(ge=20, le=2**12)] = 42
    """Images are averaged down to at least this many pixels a side."""
    momentum: Annotated[float, Meta(ge=0, le=1)] = 0.01
    """Fraction by which the target's embedding moves towards the current one after each update."""
    prioritise: bool = True
    """Subtract the running mean of the reward and cut it off at 0: only what is predicted worse than usual is paid."""
    episodic: bool = True
    """End this reward's return where an episode ends, as if added to the environment's reward (the paper); otherwise it
    continues across resets."""

    def fitted(self, unroll: int) -> BYOLExploreConfig:
        """Predict no further ahead than an unroll is long."""
        return replace(self, steps=min(self.steps, unroll))


def squared_error(guess: Tensor, target: Tensor) -> Tensor:
    """Compute ``|guess / |guess| - target / |target||^2``, [..., D] -> [...]: 0 for the same direction, 4 for opposite
    ones.
    """
    return 2 - 2 * F.cosine_similarity(guess, target, dim=-1)


def about_next(table: Float[Tensor, "K S B"], steps: int) -> Float[Tensor, "K T B"]:
    """Pick what each of the last T = ``steps`` transitions of S is rewarded for: entry [k - 1, t] is the error, k steps
    ahead, about the observation after transition t.

    ``table`` [k - 1, s] holds the errors about row s + k of predictions from row s, of S = K - 1 + T rows: the diagonal
    s + k = constant is about one observation. With K - 1 rows before the first transition it never leaves the table.
    """
    K = len(table)
    return torch.stack([row[K - k : K - k + steps] for k, row in enumerate(table, 1)])


class Memory(NamedTuple):
    """What is known of an environment before row 0."""

    state: State  # of the closed-loop network, before row 0
    contexts: Float[Tensor, "B P H"]  # its outputs at the P = K - 1 rows before row 0, whose predictions go on
    action: Tensor  # [B, P] int64, the actions of these rows
    alive: Bool[Tensor, "B P"]  # whether they are of row 0's episode


class Context(NamedTuple):
    """What `observe` and `forward` need of a scored rollout."""

    total: Tensor  # [T, B], summed errors about the observation arrived at
    state: Tensor  # [T, B, H] of the closed-loop network before each row
    target: Tensor  # [T + 1, B, D]


class BYOLExplore(IntrinsicReward):
    """The sum over k = 1 to K of ``|h(g_k) / |h(g_k)| - f'(o[t + 1]) / |f'(o[t + 1])||^2``: g_k comes from k actions
    after the context of observations and actions until row t + 1 - k. h is a predictor, f' a slow copy of the
    embedding. Divided by its running standard deviation. Noise stays unpredicted, and attracts.

    Targets are those of the weights with which the rollout was scored, for all of its updates.
    """

    Config = BYOLExploreConfig
    paper = "error of predicting a slow copy of its own embedding (BYOL-Explore, Guo et al. 2022)"
    over = "life"
    trains = "a world model"
    moments: Tensor  # [3], number, sum and squares of the reward
    steps: Tensor

    def __init__(self, config: BYOLExploreConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.length, self.actions = config.steps, spec.num_actions
        self.view = View(spec, config.side)
        scale = 10.0 if self.view.small("image") else 255.0
        self.embedding = orthogonal(Embedding(self.view, (config.size,), scale=scale))
        self.target = frozen(self.embedding)
        self.closed = GRU(config.size + spec.num_actions, config.hidden)
        self.open = ActionContext(config.hidden, spec.num_actions, embedding=32)
        self.predictor = perceptron((config.hidden, config.hidden, config.size))
        self.register_buffer("steps", torch.arange(1, config.steps + 1), persistent=False)
        self.register_buffer("moments", torch.zeros(3, dtype=torch.float64))

    def initial_state(self, batch: int) -> Memory:
        """Return memories of nothing."""
        P, (zero,) = self.config.steps - 1, self.closed.initial_state(batch)
        contexts = zero.unsqueeze(1).repeat(1, P, 1)
        return Memory((zero,), contexts, torch.zeros_like(contexts[..., 0], dtype=torch.int64), contexts[..., 0] > 0)

    def embed(self, network: nn.Module, rollout: Rollout) -> Tensor:
        """Return embeddings [T + 1, B, D] by ``network``."""
        with self.precision(rollout.reward.device):
            found: Tensor = network(self.view(rollout.observation))
        return found.view(*rollout.first.shape, -1)

    def contexts(self, rollout: Rollout, state: State) -> tuple[Tensor, State]:
        """Return the closed-loop network's outputs [T, B, H] at the rows that are acted from, and its state after."""
        before = torch.cat([rollout.state.action.unsqueeze(0), rollout.action[:-1]])
        first = rollout.first[:-1]
        done = one_hot(torch.where(first, -1, before), self.actions)
        z = self.embed(self.embedding, rollout)[:-1]
        found: tuple[Tensor, State] = self.closed(torch.cat([z, done.to(z.dtype)], -1), state, first)
        return found

    def errors(self, contexts: Tensor, action: Tensor, target: Tensor) -> Tensor:
        """Return the errors [K, S, B] about the k-th row after each of S rows, from contexts [S, B, H], actions [S, B]
        and targets [S + 1, B, D]; arbitrary where there is no such row.
        """
        S, B = action.shape
        rows = torch.arange(S * B, device=action.device)
        ahead = self.open(contexts.flatten(0, 1), next_actions(action, rows, len(self.steps)))
        with self.precision(action.device):
            guess = self.predictor(ahead).float().unflatten(1, (S, B))
        later = torch.arange(S, device=action.device) + self.steps.unsqueeze(-1)  # [K, S]
        return squared_error(guess, target[later.clamp(max=S)])

    def pairs(self, first: Tensor, there: Tensor) -> Tensor:
        """Return whether a row and the k-th after it are of one episode [K, S, B], for S + 1 rows."""
        return pair_mask(first, self.steps, there)[:, :-1]

    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Score T transitions by the errors about o[t + 1], of predictions also from the rollout before."""
        assert isinstance(state, Memory)
        P, valid = self.config.steps - 1, rollout.valid
        fresh, after = self.contexts(rollout, state.state)
        target = self.embed(self.target, rollout)
        contexts = torch.cat([state.contexts.transpose(0, 1), fresh])  # rows -P to T - 1
        action = torch.cat([state.action.T, torch.where(valid, rollout.action, 0)])
        first = torch.cat([torch.zeros_like(state.alive.T), rollout.first])
        there = torch.cat([state.alive.T, torch.ones_like(rollout.first)])
        error = self.errors(contexts, action, F.pad(target, (0, 0, 0, 0, P, 0)))
        total = about_next(torch.where(self.pairs(first, there), error, 0.0), len(valid)).sum(0)
        episode = first.cumsum(0)
        alive = (there & (episode == episode[-1]))[:-1]
        kept = Memory(after, *(x[len(x) - P :].transpose(0, 1) for x in (contexts, action, alive)))
        before = torch.cat([state.state[0].unsqueeze(0), fresh[:-1]])
        mean, deviation = self.moments_of(total, valid)
        paid = (total - mean).clamp(min=0) if self.config.prioritise else total
        unit = F.normalize(target, dim=-1)[1:]
        centre = torch.where(valid.unsqueeze(-1), unit, 0.0).sum((0, 1)) / valid.sum().clamp(min=1)
        self.metrics = {
            "paid": average((paid > 0).float(), valid),
            "chance": 2 - 2 * centre.norm(),  # of predicting the same direction always; 0: embeddings have collapsed
        }
        return Scored(paid / deviation, kept, Context(total, before, target))

    def moments_of(self, total: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the reward, this rollout included."""
        count, summed, squares = self.included(total, valid)
        mean = summed / count.clamp(min=1e-12)
        deviation = (squares / count.clamp(min=1e-12) - mean.square()).clamp(min=1e-12).sqrt()
        return mean.float(), deviation.float()

    def included(self, total: Tensor, valid: Tensor) -> Tensor:
        """Return the moments with those of a rollout."""
        x = torch.where(valid, total, 0.0).double()
        return FORGET * self.moments + torch.stack([valid.sum().double(), x.sum(), x.square().sum()])

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Include the rollout in the moments of the reward."""
        assert isinstance(scored.context, Context)
        self.moments.copy_(self.included(scored.context.total, rollout.valid))

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return the errors [K, T, B] of predictions from each row, and which have a target in its episode."""
        context = scored.context
        contexts, _ = self.contexts(rollout, (context.state[0],))
        action = torch.where(rollout.valid, rollout.action, 0)
        value = self.errors(contexts, action, context.target)
        mask = self.pairs(rollout.first, torch.ones_like(rollout.first))
        error = value.detach()
        self.metrics |= {"error": average(error, mask), "error_by_step": average(error.flatten(1), mask.flatten(1), 1)}
        return value, mask

    def after_update(self) -> None:
        """Move the target's embedding towards the current one."""
        follow(self.target, self.embedding, self.config.momentum)
