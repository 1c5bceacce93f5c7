"""Causal convolution over time with growing dilations, reset inside the unroll.

van den Oord et al., "WaveNet" (2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..envs.trees import State
from .base import SequenceModel, add_condition
from .episode_age import episode_age


class Dilated(SequenceModel):
    """Residual layers over x[t], x[t - d], ..., x[t - (k - 1) d], summed by their skips.

    Each layer computes ``z = tanh(Wf * x + Vf c) . sigmoid(Wg * x + Vg c)``, where ``c`` is the side information; it
    passes ``x + R z`` to the next layer and ``S z`` to the output ``relu(O relu(sum S z))``. Row t sees ``reach`` =
    ``1 + (k - 1) sum(dilations)`` rows, itself included. The state holds the last (k - 1) d inputs of each layer,
    [B, (k - 1) d, D].
    """

    def __init__(
        self,
        input_size: int,
        size: int,
        cond: int = 0,
        *,
        kernel: int = 2,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32),
    ) -> None:
        super().__init__()
        if min(kernel, *dilations, len(dilations)) < 1:
            raise ValueError(f"a kernel and dilations are 1 or more, not {kernel} and {list(dilations)}")
        self.size, self.kernel, self.dilations = size, kernel, tuple(dilations)
        self.reach = 1 + (kernel - 1) * sum(dilations)
        self.input = nn.Linear(input_size, size)
        last = len(self.dilations) - 1
        self.layers = nn.ModuleList(_Layer(size, cond, kernel, d, i == last) for i, d in enumerate(self.dilations))
        self.output = nn.Linear(size, size)

    def initial_state(self, batch: int) -> State:
        """Return the number of rows seen [B] and a buffer of zeros for each layer."""
        weight = self.output.weight
        buffers = tuple(weight.new_zeros(batch, (self.kernel - 1) * d, self.size) for d in self.dilations)
        return torch.zeros(batch, dtype=torch.int64, device=weight.device), *buffers

    def forward(self, x: Tensor, state: State, first: Tensor, cond: Tensor | None = None) -> tuple[Tensor, State]:
        """Map [T, B, E] to [T, B, D] and the next state."""
        count, *buffers = state
        seen = episode_age(first, count)
        x, total, kept = self.input(x), torch.zeros((), device=x.device), []
        for layer, buffer in zip(self.layers, buffers, strict=True):
            x, skip, buffer = layer(x, buffer, seen, cond)
            total = total + skip
            kept.append(buffer)
        return F.relu(self.output(F.relu(total))), (seen[-1] + 1, *kept)


class _Layer(nn.Module):
    def __init__(self, size: int, cond: int, kernel: int, dilation: int, last: bool) -> None:
        super().__init__()
        self.offsets = [j * dilation for j in reversed(range(kernel))]  # oldest first
        self.taps = nn.Linear(kernel * size, 2 * size)
        self.cond = nn.Linear(cond, 2 * size, bias=False) if cond else None
        self.skip = nn.Linear(size, size)
        self.residual = None if last else nn.Linear(size, size)  # the last layer's residual is not read

    def forward(self, x: Tensor, buffer: Tensor, seen: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Map x [T, B, D], buffer [B, L, D] and seen [T, B] to x and skip [T, B, D] and the next buffer."""
        T, L = len(x), buffer.shape[1]
        past = torch.cat([buffer.transpose(0, 1), x])  # [L + T, B, D]
        there = [torch.where((seen >= o).unsqueeze(-1), past[L - o : L - o + T], 0.0) for o in self.offsets]
        value, gate = add_condition(self.cond, self.taps(torch.cat(there, dim=-1)), cond).chunk(2, dim=-1)
        z = torch.tanh(value) * torch.sigmoid(gate)
        after = x if self.residual is None else x + self.residual(z)
        return after, self.skip(z), past[T:].transpose(0, 1)
