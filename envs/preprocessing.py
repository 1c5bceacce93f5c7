"""What stands between an environment and its agent: options that a family takes itself, or that wrappers provide."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .errors import UserError, suggest

if TYPE_CHECKING:
    from .experience import VectorEnv

PREPROCESSING: dict[str, dict[str, Any]] = {
    "atari": {"height": 84, "width": 84, "grey": True, "stack": 4, "repeat": 4},
    "icm": {"height": 42, "width": 42, "grey": True, "stack": 4, "repeat": 4},
    "rgb": {"grey": False, "stack": 1, "repeat": 4},
}
"""By paper: Mnih et al. 2015; Pathak et al. 2017 (ViZDoom); colour, one frame."""

WRAPPED = ("sticky", "height", "width", "grey", "noisy_tv", "stack", "time_limit")
"""Options every family has, by wrappers where it does not take them itself; in this order, from the inside."""

NOTHING = {"sticky": 0.0, "grey": False, "noisy_tv": "none", "stack": 1, "time_limit": None, "repeat": 1}
"""Values that ask for nothing."""


def build(family: Callable[..., VectorEnv], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> VectorEnv:
    """``family(*arguments)`` with ``options``, in wrappers for those it does not take. UserError for what cannot be."""
    options = dict(options)
    named = options.pop("preprocessing", None)
    if named is not None:
        if named not in PREPROCESSING:
            raise UserError(f"no preprocessing {named!r}; {suggest(named, PREPROCESSING)}")
        options = PREPROCESSING[named] | options
    own = defaults(family)
    wrapped = {k: v for k, v in options.items() if k not in own and v != NOTHING.get(k, ...)}
    if "repeat" in wrapped:
        raise UserError(f"{arguments[0]} takes one frame a step: an action cannot last {wrapped['repeat']}")
    taken = {k: v for k, v in options.items() if k in own}
    # A wrapper that changes the picture comes before the stack: the stack is then a wrapper's as well.
    if "stack" in own and wrapped.keys() & {"height", "width", "grey", "noisy_tv"}:
        wrapped["stack"] = taken.get("stack", own["stack"])
        taken["stack"] = 1
    env = family(*arguments, **taken)
    return _wrap(env, wrapped, seed=arguments[-1], env_offset=taken.get("env_offset", 0)) if wrapped else env


def defaults(family: Callable[..., VectorEnv]) -> dict[str, Any]:
    """The options a family takes itself, with their defaults."""
    parameters = inspect.signature(family).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _wrap(env: VectorEnv, options: dict[str, Any], seed: int, env_offset: int) -> VectorEnv:
    from .wrappers import FrameStack, Grey, NoisyTV, Resize, StickyActions, TimeLimit

    if "sticky" in options:
        env = StickyActions(env, options["sticky"], seed=seed, env_offset=env_offset)
    if "height" in options or "width" in options:
        if not {"height", "width"} <= options.keys():
            raise UserError("a frame size has both height and width")
        env = Resize(env, options["height"], options["width"])
    if options.get("grey"):
        env = Grey(env)
    if "noisy_tv" in options:
        how = options["noisy_tv"]
        if how not in ("region", "remote"):
            raise UserError(f"noisy_tv is 'region' or 'remote', not {how!r}")
        env = NoisyTV(env, channel="step" if how == "region" else "action", seed=seed, env_offset=env_offset)
    if options.get("stack", 1) != 1:
        env = FrameStack(env, options["stack"])
    if "time_limit" in options:
        env = TimeLimit(env, options["time_limit"])
    return env
