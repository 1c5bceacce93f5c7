"""Hashes of observations, and counts of how often each was seen (N = T + 1 rows)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ....envs.experience import Spec
from .episodes import Recalled
from .view import View

BITS = 31
"""Bits of the random factors: their products with bytes never leave 64 bits."""


RGB = 3
"""Channels of a colour image; other numbers are most likely grey frames that were stacked without saying so."""


class Hash(nn.Module):
    """A random linear hash, modulo 2^64, of what the agent sees.

    Grids of codes are hashed as they are. Larger images are first averaged to about ``side`` pixels each way, of which
    each channel is rounded to ``levels`` levels (the cells of Go-Explore, Ecoffet et al. 2019); by default a colour
    image to its mean colour in 16 levels, others to 8x8 pixels of 8. Vectors are rounded to multiples of ``step``.
    """

    def __init__(self, spec: Spec, side: int | None = None, levels: int | None = None, step: float = 0.1) -> None:
        super().__init__()
        colour = "image" in spec.observation and spec.observation["image"][0][-1] // spec.stacked == RGB
        self.view = View(spec, side or (1 if colour else 8))
        self.levels, self.step = levels or (16 if colour else 8), step
        generator = torch.Generator().manual_seed(20_19)
        for name, shape in self.view.shapes.items():
            count = int(torch.Size(shape).numel())
            factors = torch.randint(1, 2**BITS, (count,), generator=generator) * 2 + 1
            self.register_buffer(f"factors_{name}", factors, persistent=False)

    @property
    def like(self) -> Tensor:
        """Return a tensor of the hashes' dtype and device."""
        name = next(iter(self.view.shapes))
        like: Tensor = getattr(self, f"factors_{name}")
        return like

    def forward(self, observation: dict[str, Tensor]) -> Int[Tensor, "*rows"]:
        """Hash observations [..., H, W, C] and [..., V] to [...] int64."""
        views = self.view(observation)
        name, x = next(iter(observation.items()))
        rows = x.shape[: x.dim() - len(self.view.shapes[name])]
        return torch.stack([self._hashed(name, v) for name, v in views.items()]).sum(0).view(rows)

    def _hashed(self, name: str, x: Tensor) -> Tensor:
        if name == "image":
            codes = x if self.view.small(name) else (x * self.levels / 256).floor()
        else:
            codes = (x / self.step).round()
        factors = getattr(self, f"factors_{name}")[: codes[0].numel()]
        return mixed(((codes.flatten(1).long() + 1) * factors).sum(-1))


def mixed(x: Tensor) -> Tensor:
    """Mix the bits of 64-bit numbers (the finaliser of SplitMix64, Steele et al. 2014)."""
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def episodic_counts(hashes: Int[Tensor, "N B"], recalled: Recalled) -> Int[Tensor, "N B"]:
    """Count how often each row's hash has been seen in its episode, this time included."""
    same = hashes.T.unsqueeze(-1) == recalled.keys.unsqueeze(-2)
    return 1 + (same & recalled.earlier).sum(-1).T


class Counts(nn.Module):
    """Counts of hashes over the whole life, shared by all environments: a table of 2^``bits`` numbers."""

    table: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("table", torch.zeros(2**bits, dtype=torch.int32))

    def index(self, hashes: Int[Tensor, "*rows"]) -> Int[Tensor, "*rows"]:
        """Return where hashes are counted."""
        found: Tensor = hashes & (2**self.bits - 1)
        return found

    def forward(self, hashes: Int[Tensor, "T B"], valid: Bool[Tensor, "T B"]) -> Int[Tensor, "T B"]:
        """Return how often each was seen, this time included, in the order of time and then of environments. Changes
        nothing; rows that are not ``valid`` do not count.
        """
        index = torch.where(valid, self.index(hashes), -1).flatten()
        order = index.argsort(stable=True)
        ordered = index[order]
        place = torch.arange(len(index), device=index.device)
        begins = torch.where(F.pad(ordered[1:] != ordered[:-1], (1, 0), value=True), place, 0).cummax(0).values
        rank = torch.empty_like(index).scatter_(0, order, place - begins)
        return (self.table[index.clamp(min=0)] + 1 + rank).view_as(hashes)

    def observe(self, hashes: Int[Tensor, "T B"], valid: Bool[Tensor, "T B"]) -> None:
        """Count the ``valid`` hashes."""
        self.table.index_add_(0, self.index(hashes).flatten(), valid.flatten().int())
