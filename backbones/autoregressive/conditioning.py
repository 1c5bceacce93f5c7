"""Side information y of a model of p(x given y)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_shape
from .orderings import Ordering


class Given(NamedTuple):
    """Side information about a batch of items, each part optional.

    Where a part that the model was built for is not given, the model uses a learned "unknown" vector instead, so that
    p(x) and p(x given y) are one network.
    """

    glob: Tensor | None = None  # [B, G], about the whole item: a class, a latent code, an action
    local: Tensor | None = None  # [B, *places, L], about each event's place: a picture, an upsampled code
    memory: Tensor | None = None  # [B, M, D], entries to attend to: a text, past frames
    mask: Tensor | None = None  # [B, M] bool, True for entries that are present; None: all


class Rows(NamedTuple):
    """Side information in the form that networks take, in the order of the events."""

    rows: Tensor | None = None  # [T, B, C]
    memory: Tensor | None = None  # [B, M, D]
    mask: Tensor | None = None  # [B, M] bool


class GivenSizes(NamedTuple):
    """Widths of the parts of side information that a model is built for; 0: without that part."""

    glob: int = 0
    local: int = 0
    memory: int = 0


class Conditioner(nn.Module):
    """Map from `Given` to `Rows` of ``size`` numbers per event: the sum of a linear map of each part."""

    def __init__(self, ordering: Ordering, sizes: GivenSizes, size: int) -> None:
        super().__init__()
        self.ordering, self.sizes = ordering, sizes
        self.size = size if sizes.glob or sizes.local else 0
        self.glob = nn.Linear(sizes.glob, size) if sizes.glob else None
        self.local = nn.Linear(sizes.local, size) if sizes.local else None
        self.unknown = nn.ParameterDict(
            {name: nn.Parameter(0.1 * torch.randn(size)) for name in ("glob", "local") if getattr(sizes, name)}
        )
        self.blank = nn.Parameter(0.1 * torch.randn(1, sizes.memory)) if sizes.memory else None

    def forward(self, given: Given, batch: int) -> Rows:
        """Return the rows of ``batch`` items.

        Raises ValueError for a part that the model was not built for, or of the wrong shape.
        """
        places: dict[str, tuple[int | str, ...]] = {"glob": (), "local": self.ordering.places, "memory": ("M",)}
        for name, between in places.items():
            part, size = getattr(given, name), getattr(self.sizes, name)
            if part is not None and not size:
                raise ValueError(f"this model was built without {name}: build it with GivenSizes({name}=...)")
            if part is not None:
                check_shape(f"{name} of this model", part, batch, *between, size)
        memory, mask = given.memory, given.mask
        if mask is not None:
            if memory is None:
                raise ValueError("a mask says which entries of the memory are present: give memory as well")
            check_shape("the mask of this memory", mask, *memory.shape[:2])
            if mask.dtype != torch.bool:
                raise ValueError(f"a mask is bool, True for entries that are present, not {mask.dtype}")
        if self.blank is not None and memory is None:
            memory, mask = self.blank.expand(batch, 1, -1), None
        return Rows(self._rows(given, batch), memory, mask)

    def _rows(self, given: Given, batch: int) -> Tensor | None:
        if not self.size:
            return None
        rows: Tensor = next(iter(self.unknown.values())).new_zeros(self.ordering.length, batch, self.size)
        if self.glob is not None:
            rows = rows + (self.unknown["glob"] if given.glob is None else self.glob(given.glob))
        if self.local is not None:
            known = None if given.local is None else self.local(self.ordering.to_sequence(given.local))
            rows = rows + (self.unknown["local"] if known is None else known)
        return rows


class Attention(nn.Module):
    """Attention of queries [T, B, Q] to a memory [B, M, D], giving [T, B, Q]."""

    def __init__(self, query: int, memory: int) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(query, query), nn.Linear(memory, query), nn.Linear(memory, query)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """Apply scaled dot-product attention (Vaswani et al. 2017) with one head."""
        there = None if mask is None else mask.unsqueeze(1)
        query = self.query(x).transpose(0, 1)
        found = F.scaled_dot_product_attention(query, self.key(memory), self.value(memory), attn_mask=there)
        return found.transpose(0, 1)
