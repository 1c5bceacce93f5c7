"""What there is to choose from: one line each, read from the registries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..auxiliaries import AUXILIARY_LOSSES, INTRINSIC_REWARDS
from ..envs.labyrinth.levels import LEVELS
from .presets import ABOUT, PRESETS


def environments() -> Iterator[tuple[str, str]]:
    """Every environment by the name that --env takes."""
    for name, level in LEVELS.items():
        yield f"labyrinth:{name}", level.summary
    yield "gym:ID", "what Gymnasium has registered, such as gym:CartPole-v1; gym:module:ID imports the module first"
    yield "counting:steps", "diagnostic: counts its steps, to prove that nothing is misaligned"


def presets() -> Iterator[tuple[str, str]]:
    """Every preset and its paper."""
    for name in PRESETS:
        yield name, ABOUT[name]


def classes(registry: Mapping[str, type]) -> Callable[[], Iterator[tuple[str, str]]]:
    """Every class of a registry with the first line of its docstring."""

    def lines() -> Iterator[tuple[str, str]]:
        for name, kind in registry.items():
            yield name, (kind.__doc__ or "").partition("\n")[0]
        if not registry:
            yield "(none built in)", "pass your own as plugins to morello.train"

    return lines


CATALOGUES: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "envs": environments,
    "presets": presets,
    "losses": classes(AUXILIARY_LOSSES),
    "intrinsic": classes(INTRINSIC_REWARDS),
}
