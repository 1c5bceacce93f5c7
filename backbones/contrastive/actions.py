"""Predictions that know what was done meanwhile (CPC|A)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def next_actions(action: Tensor, query: Tensor, steps: int) -> Tensor:
    """Of ``action`` [T, B], the ``steps`` = S that follow rows t B + b of ``query`` [N]: a[t] to a[t + S - 1], [S, N].
    Past the end it is any.
    """
    ahead = torch.arange(steps, device=query.device).unsqueeze(-1) * action.shape[1]
    return action.flatten()[(query + ahead).clamp(max=action.numel() - 1)]


class ActionContext(nn.Module):
    """A GRU that begins with the context and takes in the actions that follow: the context for k steps later (Guo et
    al., "Neural predictive belief representations", 2018).
    """

    def __init__(self, context: int, actions: int, embedding: int = 4) -> None:
        super().__init__()
        self.table = nn.Embedding(actions, embedding)
        self.gru = nn.GRU(embedding, context)

    def forward(self, c: Tensor, action: Tensor) -> Tensor:
        """c [N, D] and the next actions [S, N] int64 -> [S, N, D], of which row k - 1 knows k actions."""
        contexts: Tensor = self.gru(self.table(action), c.unsqueeze(0).contiguous())[0]
        return contexts
