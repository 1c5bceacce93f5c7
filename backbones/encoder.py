"""Encoder of observations: one torso per key, applied to cache-sized chunks of rows on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..envs.experience import Spec
from .base import Sizes, Torso
from .convolutional import ConvolutionalTorso
from .kept import Kept

CHUNK_VALUES = 256 * 84 * 84 * 3
"""Input values per chunk on a CPU, whose caches also hold the activations (measured: 256 frames of 84x84x3)."""


class Encoder(nn.Module):
    """Concatenated outputs of ``image_torso`` on "image" and of ``vector_torso`` on "vector"."""

    def __init__(
        self, spec: Spec, image_torso: Callable[..., Torso], vector_torso: Callable[..., Torso], bfloat16: bool = False
    ) -> None:
        super().__init__()
        kinds = {"image": image_torso, "vector": vector_torso}
        torsos = {k: kinds[k](shape) for k, (shape, _) in sorted(spec.observation.items())}
        self.torsos = nn.ModuleDict(torsos)
        self.autocast = bfloat16
        self.size = sum(t.size for t in torsos.values())
        self.rows = max(1, CHUNK_VALUES // max(math.prod(shape) for shape, _ in spec.observation.values()))
        self.map_shape = torsos["image"].map_shape if "image" in torsos else None
        self.kept: Kept | None = None

    def sizes(self, memory: int) -> Sizes:
        """Return the widths of the features that this encoder and a memory of width ``memory`` give."""
        return Sizes(self.map_shape, self.size, memory)

    @contextmanager
    def keeping(self, observation: dict[str, Tensor]) -> Iterator[None]:
        """Keep what is computed in this context from rows of ``observation`` [T + 1, B, ...], where that is possible.

        All of ``observation`` can then be encoded without computing it again; see `Kept`.
        """
        images = observation.get("image")
        torso = self.torsos["image"] if images is not None else None
        if images is None or not isinstance(torso, ConvolutionalTorso) or not Kept.possible(torso, images):
            yield
            return
        kept = self.kept
        if kept is None or kept.images is not images:
            kept = self.kept = Kept(torso, images)
        kept.begin(torch.bfloat16 if self.autocast else torch.float32)
        try:
            yield
            kept.finish()
        finally:
            kept.open = False

    def forward(self, observation: dict[str, Tensor], mapped: bool = True) -> tuple[Tensor | None, Tensor]:
        """Map [T, B, ...] to the map [T B, channels, h, w], or None, and the vector [T, B, E] float32. ``mapped``:
        whether the map is needed; otherwise it is None.
        """
        T, B = next(iter(observation.values())).shape[:2]
        device = next(iter(observation.values())).device
        # On a CPU the activations of one chunk stay in cache. Chunks are of even size, so that none is very small.
        pieces = max(1, round(T * B / self.rows)) if device.type == "cpu" else 1
        maps, vectors = [], []
        with torch.autocast(device.type, torch.bfloat16, enabled=self.autocast):
            for key, torso in self.torsos.items():
                x = observation[key]
                known = self.kept.serving(x) if self.kept is not None and key == "image" else None
                encode: Any = known or (torso if mapped else torso.unmapped)
                results = [encode(rows) for rows in x.flatten(0, 1).tensor_split(pieces)]
                maps += [m for m, _ in results if m is not None and mapped]
                vectors.append(torch.cat([v for _, v in results]) if pieces > 1 else results[0][1])
        joined = torch.cat(vectors, dim=-1) if len(vectors) > 1 else vectors[0]
        return (torch.cat(maps) if len(maps) > 1 else maps[0] if maps else None), joined.float().unflatten(0, (T, B))
