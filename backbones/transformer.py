"""Causal transformer with a window of fixed length, reset inside the unroll.

Blocks of Vaswani et al., "Attention is all you need" (2017), with pre-normalisation (Xiong et al. 2020). Positions are
a learned bias for each head and distance (Raffel et al., "T5", 2020, with a bucket for each distance), so that the
keys and values kept from earlier rows need no absolute position.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..envs.trees import State
from .base import SequenceModel, add_condition
from .episode_age import episode_age


class Transformer(SequenceModel):
    """Transformer whose row t attends to itself and to those of the ``window - 1`` rows before it that are of its
    episode.

    The state holds keys and values of ``window - 1`` rows, [B, window - 1, 2 I] per layer, where I is D rounded up to a
    multiple of ``heads``. Row t sees ``layers * (window - 1) + 1`` rows in all, since the kept keys and values were
    themselves computed from earlier rows. (A row from before a reset has weight 0, which excludes all but NaN.)
    """

    def __init__(
        self, input_size: int, size: int, cond: int = 0, *, layers: int = 2, heads: int = 4, window: int = 64
    ) -> None:
        super().__init__()
        if min(layers, heads, window) < 1 or size < 2:
            raise ValueError(
                "a transformer has at least 1 layer, head and row, and 2 features (one alone is 0 once normalised),"
                f" not {layers}, {heads}, {window} and {size}"
            )
        self.size, self.window, self.reach = size, window, layers * (window - 1) + 1
        self.inner = -(-size // heads) * heads
        self.input = nn.Linear(input_size, size)
        self.cond = nn.Linear(cond, size, bias=False) if cond else None
        self.blocks = nn.ModuleList(_Block(size, self.inner, heads, window) for _ in range(layers))
        self.norm = nn.LayerNorm(size)

    def initial_state(self, batch: int) -> State:
        """Return the number of rows seen [B] and, for each layer, keys and values of zeros."""
        weight = self.input.weight
        kept = (weight.new_zeros(batch, self.window - 1, 2 * self.inner) for _ in self.blocks)
        return torch.zeros(batch, dtype=torch.int64, device=weight.device), *kept

    def forward(self, x: Tensor, state: State, first: Tensor, cond: Tensor | None = None) -> tuple[Tensor, State]:
        """Map [T, B, E] to [T, B, D] and the next state."""
        count, *kept = state
        seen = episode_age(first, count)
        x = add_condition(self.cond, self.input(x), cond).transpose(0, 1)  # [B, T, D]
        T, past = x.shape[1], self.window - 1
        rows, keys = torch.arange(T, device=x.device), torch.arange(-past, T, device=x.device)
        distance = rows.unsqueeze(-1) - keys  # [T, past + T]
        visible = (distance >= 0) & (distance <= seen.T.clamp(max=past).unsqueeze(-1))  # [B, T, past + T]
        distance = distance.clamp(0, past)
        states = []
        for block, cache in zip(self.blocks, kept, strict=True):
            x, cache = block(x, cache, visible, distance)
            states.append(cache)
        return self.norm(x).transpose(0, 1), (seen[-1] + 1, *states)


class _Block(nn.Module):
    def __init__(self, size: int, inner: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(size), nn.LayerNorm(size)
        self.query, self.key_value = nn.Linear(size, inner), nn.Linear(size, 2 * inner)
        self.joined = nn.Linear(inner, size)
        self.bias = nn.Parameter(torch.zeros(heads, window))  # by distance
        self.mlp = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))

    def forward(self, x: Tensor, cache: Tensor, visible: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
        """Return x [B, T, D] after the block and the next cache [B, past, 2 I].

        ``visible`` is [B, T, past + T], ``distance`` [T, past + T].
        """
        normed = self.before(x)
        cache = torch.cat([cache, self.key_value(normed)], dim=1)
        query, key, value = (self._split(y) for y in (self.query(normed), *cache.chunk(2, dim=-1)))
        # -inf for rows that may not be read: their weight is exactly 0.
        mask = torch.where(visible.unsqueeze(1), self.bias[:, distance], -torch.inf)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.joined(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.between(x)), cache[:, x.shape[1] :]

    def _split(self, x: Tensor) -> Tensor:
        """Reshape [B, S, I] to [B, heads, S, I / heads]."""
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)
