"""Head for real numbers: a mixture of Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...numerics import gaussian_log_prob
from .base import LOG_SCALE_MIN, Head, choose


class GaussianMixture(Head):
    """Mixture of ``components`` Gaussians with diagonal covariance over events of ``dims`` floats (None: one number,
    event ()).

    Parameters: one logit per component, then the means and log standard deviations of each component.
    """

    def __init__(self, components: int = 1, dims: int | None = None, width: int = 32) -> None:
        super().__init__()
        if components < 1 or (dims is not None and dims < 1):
            raise ValueError(f"a mixture has at least 1 component and 1 number, not {components} and {dims}")
        self.event = () if dims is None else (dims,)
        self.components, self.dims, self.width = components, dims or 1, width
        self.size = components * (1 + 2 * self.dims)
        self.value = nn.Linear(self.dims, width)

    def embed(self, x: Tensor) -> Tensor:
        """Map events [..., dims] to embeddings [..., width]."""
        embedded: Tensor = self.value(self._vector(x).to(self.value.weight.dtype))
        return embedded

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Return ``log sum_k pi_k prod_d N(x_d; mu_kd, sigma_kd)``."""
        logits, mean, log_scale = self._split(parameters)
        each = gaussian_log_prob(self._vector(x).to(parameters.dtype).unsqueeze(-2), mean, log_scale)
        return (torch.log_softmax(logits, -1) + each).logsumexp(-1)

    def sample(self, parameters: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Sample numbers; ``temperature`` divides the logits and multiplies the standard deviations."""
        logits, mean, log_scale = self._split(parameters)
        component = choose(logits, temperature, generator)[..., None, None].expand(*logits.shape[:-1], 1, self.dims)
        mean, log_scale = (y.gather(-2, component).squeeze(-2) for y in (mean, log_scale))
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        x = mean + temperature * log_scale.exp() * noise
        return x if self.event else x.squeeze(-1)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split into logits [..., K], means [..., K, dims] and log standard deviations [..., K, dims]."""
        logits, rest = torch.split(parameters, [self.components, self.size - self.components], dim=-1)
        mean, log_scale = torch.unflatten(rest, -1, (2, self.components, self.dims)).unbind(-3)
        return logits, mean, log_scale.clamp(min=LOG_SCALE_MIN)

    def _vector(self, x: Tensor) -> Tensor:
        return self.checked(x) if self.event else x.unsqueeze(-1)
