"""Text with a topic: a property of the whole item that no short window reveals.

A text model with a global code should encode the topic in it (Chen et al., "Variational lossy autoencoder", ICLR 2017).
"""

from __future__ import annotations

import torch

from .markov_text import MarkovText, ladder
from .mixture import Mixture


class TopicText(Mixture):
    """Text [T] from one of ``topics`` Markov chains.

    The ladder is that of the mixture: a model reaches its last rung with ``order`` symbols of context, and gets below
    it only by inferring the topic from a longer context.
    """

    def __init__(
        self,
        topics: int = 4,
        symbols: int = 8,
        order: int = 1,
        concentration: float = 0.3,
        length: int = 64,
        seed: int = 0,
    ) -> None:
        chains = [MarkovText(symbols, order, concentration, length, seed * topics + z) for z in range(topics)]
        super().__init__(chains, seed)
        self.bounds = ladder(torch.stack([chain.grams for chain in chains]).mean(0), length)
