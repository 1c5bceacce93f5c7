"""Saved settings of a run, and checks that a resumed run keeps them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ...auxiliaries import Auxiliary
from ...envs.errors import UserError
from .config import Config
from .saved import FREE_TO_CHANGE, NEVER_SAVED, modern

ABSENT = object()


def to_save(preset: str, config: Config, plugins: Mapping[str, Auxiliary]) -> dict[str, Any]:
    """Return the settings of a run in the form in which its folder stores them."""
    added = {name: [type(m).__name__, dataclasses.asdict(m.config)] for name, m in plugins.items()}
    settings = {**dataclasses.asdict(config), "preset": preset, "plugins": added}
    return {name: value for name, value in settings.items() if name not in NEVER_SAVED}


def refuse_other(run: str, begun: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise UserError, naming the first of ``settings`` that differs from those with which ``run`` was ``begun``."""
    begun = modern(begun)
    fixed = {name: value for name, value in settings.items() if name not in FREE_TO_CHANGE}
    for name, before, now in differences({name: begun.get(name, ABSENT) for name in fixed}, _plain(fixed)):
        name = name.removeprefix("learner.")
        if before is ABSENT:
            how = f"without {name}"
        elif now is ABSENT:
            how = f"with {name}, which is now left out"
        else:
            how = f"with {name} = {_said(before)}, not {_said(now)}"
        raise UserError(
            f"{run} was begun {how}: resume it with its own settings, or start another run in another folder."
        )


def refuse_fewer_steps(run: str, begun: int, steps: int, made: int) -> None:
    """Raise UserError if the budget of ``steps`` was reduced below the steps already ``made``."""
    if steps < made and steps < begun:
        raise UserError(f"{run} has made {made:,} steps already: leave --steps {steps} out, or ask for more than that.")


def differences(before: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """List (dotted name, value before, value now) of everything that differs between two trees of dicts; `ABSENT` marks
    a missing value.
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in {**before, **now}:
            inner = f"{name}.{key}" if name else str(key)
            yield from differences(before.get(key, ABSENT), now.get(key, ABSENT), inner)
    elif before is ABSENT or now is ABSENT or before != now:
        yield name, before, now


def _said(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _plain(value: Any) -> Any:
    """Return a value as it would be read back from JSON."""
    return json.loads(json.dumps(value))
