"""What each loss does to the encoder, and how many directions its features use. Costly: once a logging interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

ROWS = 1024
"""Of features, at most, for `effective_rank`."""


def encoder_shares(weighted: Mapping[str, Tensor], parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """Of each of the ``weighted`` losses, scalars: "NAME/gradient_share", the norm of its gradient with respect to
    ``parameters`` over the sum of all norms, and "NAME/gradient_cosine" with that of "policy" (0 where either is 0).
    """
    parameters = list(parameters)
    gradients = {}
    for name, loss in weighted.items():
        if loss.requires_grad:
            parts = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True, allow_unused=True)
            gradients[name] = torch.cat([g.flatten() for g in parts])
        else:
            gradients[name] = torch.cat([torch.zeros_like(p).flatten() for p in parameters])
    norms = {name: g.norm() for name, g in gradients.items()}
    tiny = torch.finfo(torch.float32).tiny
    total = torch.stack(list(norms.values())).sum().clamp(min=tiny)
    shares = {f"{name}/gradient_share": norm / total for name, norm in norms.items()}
    for name, g in gradients.items():
        product = (norms[name] * norms["policy"]).clamp(min=tiny)
        shares[f"{name}/gradient_cosine"] = torch.dot(g, gradients["policy"]) / product
    return shares


@torch.no_grad()
def effective_rank(features: Tensor) -> Tensor:
    """exp(H(p)) of the singular values of centred ``features`` [N, E], p their shares (Roy & Vetterli 2007): how many
    directions they use, from 1 (or 0: constant features) to min(N, E).
    """
    rows = features[:: -(-len(features) // ROWS)].float()
    values = torch.linalg.svdvals(rows - rows.mean(0))
    p = values / values.sum().clamp(min=torch.finfo(torch.float32).tiny)
    rank: Tensor = torch.special.entr(p).sum().exp()
    return torch.where(values.sum() > 1e-5 * rows.norm(), rank, 0.0)  # the mean of constants is rounded
