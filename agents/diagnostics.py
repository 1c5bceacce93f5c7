"""Diagnostics of the encoder: the share of each loss in its gradient, and the effective rank of its features. They are
costly, so they are computed for few updates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

ROWS = 1024
"""Maximum number of feature vectors used by `effective_rank`."""


def encoder_shares(weighted: Mapping[str, Tensor], parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """Compute two scalars for each of the ``weighted`` losses: "NAME/gradient_share", the norm of its gradient with
    respect to ``parameters`` divided by the sum of all norms, and "NAME/gradient_cosine", the cosine of its gradient
    and that of "policy" (0 where either gradient is 0).
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
    """Compute exp(H(p)), where p are the singular values of the centred ``features`` [N, E] divided by their sum (Roy &
    Vetterli 2007): the number of directions in use, from 1 (or 0 for constant features) to min(N, E).
    """
    rows = features[:: -(-len(features) // ROWS)].float()
    values = torch.linalg.svdvals(rows - rows.mean(0))
    p = values / values.sum().clamp(min=torch.finfo(torch.float32).tiny)
    rank: Tensor = torch.special.entr(p).sum().exp()
    return torch.where(values.sum() > 1e-5 * rows.norm(), rank, 0.0)  # rounding errors of constant features
