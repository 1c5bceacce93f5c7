"""Lists of the available choices: one line each, read from the registries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ...auxiliaries import AUXILIARY_LOSSES, INTRINSIC_REWARDS
from ...envs import FAMILIES
from ...envs.errors import UserError, suggest
from ..runners import RUNNERS
from .presets import PRESETS


def environments(family: str | None = None) -> Iterator[tuple[str, str]]:
    """List every environment of a family by the name that --env takes; without a family, list the families."""
    if family is None:
        for name, known in FAMILIES.items():
            yield f"{name}:...", f"{known.about} (morello list envs {name})"
    elif family in FAMILIES:
        yield from FAMILIES[family].list()
    else:
        raise UserError(f"no environment family {family!r}; {suggest(family, FAMILIES)}")


def presets() -> Iterator[tuple[str, str]]:
    """List every preset and its paper."""
    for name, preset in PRESETS.items():
        yield name, preset.about


def classes(registry: Mapping[str, type]) -> Callable[[], Iterator[tuple[str, str]]]:
    """Return a function that lists every class of a registry with a one-line description."""

    def lines() -> Iterator[tuple[str, str]]:
        for name, kind in registry.items():
            yield name, getattr(kind, "paper", "") or (kind.__doc__ or "").partition("\n")[0]
        if not registry:
            yield "(none built in)", "add plugins with --import FILE"

    return lines


def rewards(cost: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """List every intrinsic reward: what it pays for, over what, what it trains, and the share of time that it added
    when its ``cost`` was measured.
    """
    about = dict(classes(INTRINSIC_REWARDS)())
    for name, kind in INTRINSIC_REWARDS.items():
        facts = [about[name]]
        facts += [f"over {kind.over}"] if kind.over else []
        facts += [f"trains {kind.trains}"] if kind.trains else []
        facts += [f"+{max(0.0, cost[name]):.0%} time"] if name in cost else []
        yield name, " | ".join(facts)


CATALOGUES: dict[str, Callable[..., Iterator[tuple[str, str]]]] = {
    "envs": environments,
    "presets": presets,
    "losses": classes(AUXILIARY_LOSSES),
    "intrinsic": rewards,
    "runners": classes(RUNNERS),
}
