"""Video of a sprite that moves, bounces and sometimes turns, under noise, with its likelihood by a Bayes filter.

The source resembles Moving MNIST (Srivastava et al., "Unsupervised learning of video representations using LSTMs",
2015), but has so few states that a hidden Markov model's forward algorithm (Rabiner, "A tutorial on hidden Markov
models", 1989) can sum over all of them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import Source, estimating, mean_and_error, seeded
from .symmetric import disturb, told_entropy, told_log_prob

ESTIMATED_FROM = 1024
"""Number of videos from which the entropy is estimated."""
MOST = 7
"""Largest side of a sprite in pixels: its picture is sampled as the bits of one int64."""


class MovingSprite(Source):
    """Binary videos [F, side, side, 1]; a pixel is flipped with probability ``error``.

    A state is (sprite, row, column, one of four diagonal velocities); the first is uniform. Between frames a new
    velocity is sampled with probability ``turning``; then the sprite moves by one pixel along each axis, or at the
    border stays in place and reverses. Moves permute the states, so every frame's state is uniform.
    """

    symbols = 2

    def __init__(
        self,
        frames: int = 8,
        side: int = 12,
        sprites: int = 4,
        sprite_side: int = 3,
        error: float = 0.01,
        turning: float = 0.0,
        seed: int = 0,
    ) -> None:
        if not 0 < error < 1:
            raise ValueError(f"the filter would divide by 0 for impossible videos: error > 0 and < 1, not {error}")
        if not 0 <= turning <= 1:
            raise ValueError(f"a sprite turns with a probability, 0 to 1, not {turning}")
        if not 1 <= sprite_side <= min(side, MOST):
            raise ValueError(f"a sprite is 1 to {min(side, MOST)} pixels wide in a frame of {side}, not {sprite_side}")
        self.shape, self.error, self.turning, self.seed = (frames, side, side, 1), error, turning, seed
        reach = side - sprite_side + 1
        self.grid = (sprites, reach, reach, 2, 2)  # of states
        self.states = math.prod(self.grid)
        self.pictures = render(draw_sprites(sprites, sprite_side, seeded(seed)), side)
        self.after = moves(self.grid)
        self.before = self.after.argsort()
        self.conditional_entropy = frames * side**2 * told_entropy(error, 2)
        """H(x given the states), the entropy of the noise, in nats per item."""
        self.bounds = {"uniform": frames * side**2 * math.log(2)}

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Sample videos [count, F, side, side, 1]."""
        return self.sample_labelled(count, generator)[0]

    def sample_labelled(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sample videos [count, F, side, side, 1] and the states of their frames [count, F] int64."""
        state = torch.randint(self.states, (count,), generator=generator)
        path = [state]
        for _ in range(self.shape[0] - 1):
            turns = torch.rand(count, generator=generator, dtype=torch.float64) < self.turning
            velocity = torch.where(turns, torch.randint(4, (count,), generator=generator), state % 4)
            state = self.after[state // 4 * 4 + velocity]
            path.append(state)
        states = torch.stack(path, dim=1)
        return disturb(self.pictures[states // 4], self.error, 2, generator), states

    def frame_log_prob(self, x: Tensor) -> Tensor:
        """Return ``log p(frame given the frames before it)``, [count, F]."""
        belief = torch.full((len(x), self.states), -math.log(self.states), dtype=torch.float64)  # log p(state)
        terms = []
        for frame in x.unbind(1):
            joint = belief + self.picture_log_prob(frame).repeat_interleave(4, dim=-1)  # the velocity is not visible
            terms.append(joint.logsumexp(-1))
            belief = self.move(joint - terms[-1].unsqueeze(-1))
        return torch.stack(terms, dim=-1)

    def picture_log_prob(self, frame: Tensor) -> Tensor:
        """Return ``log p(frame given picture)``, [count, pictures], of frames [count, side, side, 1].

        It is computed from the number of pixels in which they differ.
        """
        seen, clean = frame.flatten(1).double(), self.pictures.flatten(1).double()
        differ = seen @ (1 - clean).T + (1 - seen) @ clean.T
        right, wrong = told_log_prob(torch.tensor([True, False]), self.error, 2)
        log_p: Tensor = differ * wrong + (clean.shape[1] - differ) * right
        return log_p

    def move(self, belief: Tensor) -> Tensor:
        """Advance log-probabilities of states [count, states] by one frame."""
        if self.turning:
            same = belief.reshape(len(belief), -1, 4)
            new = same.logsumexp(-1, keepdim=True) - math.log(4)
            keeps, turns = torch.tensor([1 - self.turning, self.turning], dtype=torch.float64).log()
            belief = torch.logaddexp(same + keeps, new + turns).flatten(-2)
        return belief[:, self.before]

    def _log_prob(self, x: Tensor) -> Tensor:
        """Return the filter's terms summed over frames, [count]."""
        return self.frame_log_prob(x).sum(-1)

    def entropy(self) -> tuple[float, float]:
        """Return ``H(x given s) + I(x; s)`` and its standard error.

        I(x; s) is estimated by the mean of ``log p(x given s) - log p(x)``.
        """
        x, states = self.sample_labelled(ESTIMATED_FROM, estimating(self.seed))
        noise = told_log_prob(x == self.pictures[states // 4], self.error, 2).flatten(1).sum(-1)
        information, error = mean_and_error(noise - self.log_prob(x))
        return self.conditional_entropy + information, error


def draw_sprites(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Sample sprites [count, side, side] int64 of 0 and 1, uniform over all but the empty one."""
    bits = side**2
    number = torch.randint(1, 2**bits, (count,), generator=generator)
    return ((number.unsqueeze(-1) >> torch.arange(bits)) & 1).reshape(-1, side, side)


def render(sprites: Tensor, side: int) -> Tensor:
    """Draw sprites [N, n, n] at every place: pictures [N * places, side, side, 1], places row by row."""
    n = sprites.shape[-1]
    reach = side - n + 1
    pictures = torch.zeros(len(sprites), reach, reach, side, side, 1, dtype=torch.int64)
    for row in range(reach):
        for column in range(reach):
            pictures[:, row, column, row : row + n, column : column + n, 0] = sprites
    return pictures.flatten(0, 2)


def moves(grid: tuple[int, ...]) -> Tensor:
    """Return the successor of each state, [states], which is a permutation.

    ``grid`` is (sprites, rows, columns, 2, 2), the last two being the directions down and right, with 0 for the
    opposite.
    """
    sprite, *place, down, right = torch.unravel_index(torch.arange(math.prod(grid)), grid)
    moved, turned = [], []
    for at, size, forward in zip(place, grid[1:3], (down, right), strict=True):
        goal = at + 2 * forward - 1
        inside = (goal >= 0) & (goal < size)
        moved.append(torch.where(inside, goal, at))
        turned.append(torch.where(inside, forward, 1 - forward))
    row, column = moved
    down, right = turned
    return (((sprite * grid[1] + row) * grid[2] + column) * 2 + down) * 2 + right
