"""Cases of ``morello bench density``: a density model with a source of known entropy, or with recorded data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...backbones.autoregressive import (
    NETWORKS,
    Autoregressive,
    Given,
    GivenSizes,
    Head,
    Ordering,
    permuted,
    raster,
    time,
)
from ...backbones.autoregressive.heads import Bernoulli, Categorical, DiscretisedLogisticMixture
from ...backbones.sources import MESH, ClassMixture, LagCopy, MarkovMesh, MarkovText, ShiftCopy, Source, load_digits
from .frames import levels_of, record

Batch = tuple[Tensor, Given]


@dataclass(frozen=True)
class Data:
    """Data of a case: how items are sampled, and their exact probabilities where known."""

    name: str
    sample: Callable[[int, torch.Generator], Batch]  # items, and the side information for the model
    log_prob: Callable[[Batch], Tensor] | None = None  # [count] nats, exact; None: unknown
    bounds: dict[str, float] | None = None  # for models with a limited view, nats per item
    test: Batch | None = None  # held out, where the data are a finite set
    levels: int = 2  # levels of a pixel, for images
    text: bool = False


@dataclass(frozen=True)
class Case:
    """One model on one source. ``bound`` names the least nats per item for a model that sees as little as this one."""

    about: str
    data: Callable[[int], Data]  # by seed, which selects among sources where there are several
    model: Callable[[], Autoregressive]
    steps: int = 500
    learning_rate: float = 3e-3
    bound: str | None = None


def stream(source: Source, *, levels: int = 2, text: bool = False) -> Data:
    """Return data that are sampled from ``source`` without end."""
    return Data(
        type(source).__name__,
        lambda count, generator: (source.sample(count, generator), Given()),
        lambda batch: source.log_prob(batch[0]),
        source.bounds,
        levels=levels,
        text=text,
    )


def labelled(source: ClassMixture) -> Data:
    """Return data whose class is given to the model."""
    classes = len(source.components)

    def sample(count: int, generator: torch.Generator) -> Batch:
        x, label = source.sample_labelled(count, generator)
        return x, Given(glob=torch.nn.functional.one_hot(label, classes).float())

    def log_prob(batch: Batch) -> Tensor:
        x, given = batch
        assert given.glob is not None
        each = torch.stack([part.log_prob(x) for part in source.components])
        return each.gather(0, given.glob.argmax(1).unsqueeze(0)).squeeze(0)

    return Data("ClassMixture, class given", sample, log_prob)


def fixed(name: str, items: Tensor, held_out: int, levels: int) -> Data:
    """Return data from a finite set of items, shuffled, of which the last ``held_out`` are for the test."""
    items = torch.unique(items, dim=0)  # else a duplicate of a held-out item may be trained on
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(0))
    train, test = items[order[:-held_out]], items[order[-held_out:]]

    def sample(count: int, generator: torch.Generator) -> Batch:
        return train[torch.randint(len(train), (count,), generator=generator)], Given()

    return Data(name, sample, test=(test, Given()), levels=levels)


def model(
    ordering: Callable[[], Ordering],
    head: Callable[[], Head],
    network: str,
    given: GivenSizes = GivenSizes(),  # noqa: B008 (immutable)
    **options: Any,
) -> Callable[[], Autoregressive]:
    """Return a function that builds an autoregressive model."""
    return lambda: Autoregressive(ordering(), head(), partial(NETWORKS[network], **options), given)


def text(seed: int) -> Data:
    """Return text of 8 letters, each depending on the two before it."""
    return stream(MarkovText(length=48, seed=seed), text=True)


def audio(seed: int) -> Data:
    """Return audio that copies the sample 8 before, or 7 or 6, depending on the seed."""
    return stream(LagCopy(symbols=16, lag=8 - seed % 3, length=48))


def mesh(seed: int) -> Data:
    """Return Markov mesh images; seed 0 uses the fixed table ``MESH``, others sample a table."""
    return stream(MarkovMesh(table=MESH) if seed == 0 else MarkovMesh(concentration=1.0, seed=seed))


def shift(seed: int) -> Data:
    """Return images that copy from two, three or four columns to the right, all out of reach of stacked 3x3 filters."""
    return stream(ShiftCopy(offset=2 + seed % 3))


def classes(seed: int) -> ClassMixture:
    """Return a mixture of four templates of 16 pixels."""
    return ClassMixture(classes=4, height=4, width=4, seed=seed)


def shuffled(side: int, seed: int) -> Ordering:
    """Return an ordering of a square's pixels in random order."""
    order = torch.randperm(side * side, generator=torch.Generator().manual_seed(seed))
    return permuted(raster(side, side, 1), order)


def columns(side: int) -> Ordering:
    """Return an ordering of a square's pixels, column by column."""
    return permuted(raster(side, side, 1), torch.arange(side * side).view(side, side).T.flatten())


SQUARE, SMALLER = partial(raster, 8, 8, 1), partial(raster, 4, 4, 1)
LETTER = partial(Categorical, 8)
PIXELS: dict[str, Any] = {"size": 16, "layers": 2, "first": 7}
SMALL: dict[str, Any] = {"size": 16, "first": 3}
CASES: dict[str, Case] = {
    "text/rnn": Case("RNN language model", text, model(partial(time, 48), LETTER, "lstm", size=64), 600, 1e-2),
    "text/wavenet": Case(
        "dilated convolution, 64 symbols back", text, model(partial(time, 48), LETTER, "conv", size=64), 600
    ),
    "text/transformer": Case("transformer", text, model(partial(time, 48), LETTER, "transformer", size=32), 800),
    "audio/wavenet": Case(
        "WaveNet that sees the copy", audio, model(partial(time, 48), partial(Categorical, 16), "conv", size=64), 800
    ),
    "mesh/gated": Case("gated PixelCNN", mesh, model(SQUARE, Bernoulli, "gated-pixel-cnn", **PIXELS), 500),
    "mesh/pixel-cnn": Case("plain PixelCNN", mesh, model(SQUARE, Bernoulli, "pixel-cnn", **PIXELS), 500, 1e-2),
    "mesh/rnn": Case("LSTM, row by row", mesh, model(SQUARE, Bernoulli, "lstm", size=64), 2500, 5e-3),
    "mesh/transformer": Case("transformer, row by row", mesh, model(SQUARE, Bernoulli, "transformer", size=32), 700),
    "mesh/transformer/columns": Case(
        "transformer, column by column", mesh, model(partial(columns, 8), Bernoulli, "transformer", size=32), 700
    ),
    "mesh/transformer/shuffled": Case(
        "transformer, in a random order", mesh, model(partial(shuffled, 8, 0), Bernoulli, "transformer", size=32), 700
    ),
    "shift/pixel-cnn": Case(
        "plain PixelCNN, 3x3, six layers: blind",
        shift,
        model(SQUARE, Bernoulli, "pixel-cnn", layers=6, **SMALL),
        700,
        bound="blind",
    ),
    "shift/gated": Case(
        "gated PixelCNN, 3x3", shift, model(SQUARE, Bernoulli, "gated-pixel-cnn", layers=3, **SMALL), 1000
    ),
    "class/gated": Case(
        "gated PixelCNN that must find the class",
        lambda seed: stream(classes(seed)),
        model(SMALLER, Bernoulli, "gated-pixel-cnn", **PIXELS),
        1000,
    ),
    "class/conditional": Case(
        "conditional gated PixelCNN",
        lambda seed: labelled(classes(seed)),
        model(SMALLER, Bernoulli, "gated-pixel-cnn", GivenSizes(glob=4), **PIXELS),
        500,
    ),
    "digits/logistic": Case(
        "gated PixelCNN, logistic mixture",
        lambda _: fixed("digits", load_digits()[0], 297, 17),
        model(SQUARE, partial(DiscretisedLogisticMixture, 17, components=5), "gated-pixel-cnn", **PIXELS),
        800,
    ),
    "frames/logistic": Case(
        "gated PixelCNN, colour logistic mixture",
        lambda _: fixed("Labyrinth", levels_of(record("nav_maze_static_01", 3072, 12), 16), 256, 16),
        model(
            partial(raster, 12, 12, 3, whole_pixels=True),
            partial(DiscretisedLogisticMixture, 16, 3, 5),
            "gated-pixel-cnn",
            **PIXELS,
        ),
        500,
    ),
}
"""Cases by source and model. Settings not given here are the network's defaults."""
