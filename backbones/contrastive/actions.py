"""Predictions conditioned on the actions taken in between (CPC|A)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def next_actions(action: Tensor, query: Tensor, steps: int) -> Tensor:
    """Return the ``steps`` = S actions that follow each row t B + b of ``query`` [N]: a[t] to a[t + S - 1], [S, N].

    ``action`` is [T, B]; entries past its end are arbitrary.
    """
    ahead = torch.arange(steps, device=query.device).unsqueeze(-1) * action.shape[1]
    return action.flatten()[(query + ahead).clamp(max=action.numel() - 1)]


class ActionContext(nn.Module):
    """GRU that starts from the context and reads the actions that follow: contexts for predictions k steps ahead.

    Guo et al., "Neural predictive belief representations" (2018).
    """

    def __init__(self, context: int, actions: int, embedding: int = 4) -> None:
        super().__init__()
        self.table = nn.Embedding(actions, embedding)
        self.gru = nn.GRU(embedding, context)

    def forward(self, c: Tensor, action: Tensor) -> Tensor:
        """Map c [N, D] and the next actions [S, N] int64 to [S, N, D], of which row k - 1 depends on k actions."""
        contexts: Tensor = self.gru(self.table(action), c.unsqueeze(0).contiguous())[0]
        return contexts
