"""What stands between an environment and its agent: options that a family takes itself, or that wrappers provide."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from .errors import UserError, suggest

if TYPE_CHECKING:
    from .vector_env import VectorEnv

PREPROCESSING: dict[str, dict[str, Any]] = {
    "atari": {"height": 84, "width": 84, "grey": True, "stack": 4, "repeat": 4},
    "icm": {"height": 42, "width": 42, "grey": True, "stack": 4, "repeat": 4},
    "rgb": {"grey": False, "stack": 1, "repeat": 4},
}
"""By paper: Mnih et al. 2015; Pathak et al. 2017 (ViZDoom); colour, one frame."""

WRAPPED = ("sticky", "height", "width", "grey", "noisy_tv", "stack", "time_limit")
"""Options every family has, by wrappers where it does not take them itself; in this order, from the inside."""

LARGEST = 2**20
"""Pixels a side, frames, threads: beyond any use."""

IDLE = ("none", "noop", "no-op", "nothing", "idle", "wait")
"""Names of actions that leave the world as it is. (MiniGrid's "done" ends the episode in some of its tasks.)"""

NOTHING = {"sticky": 0.0, "grey": False, "noisy_tv": "none", "stack": 1, "time_limit": None, "repeat": 1}
"""Values that ask for nothing."""


def build(family: Callable[..., VectorEnv], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> VectorEnv:
    """``family(*arguments)`` with ``options``, in wrappers for those it does not take. UserError for what cannot be."""
    options = {k: v for k, v in options.items() if v is not None}
    own = defaults(family)
    named = options.pop("preprocessing", None)
    if named is not None:
        if named not in PREPROCESSING:
            raise UserError(f"no preprocessing {named!r}; {suggest(named, PREPROCESSING)}")
        # How long an action lasts is the family's own affair, where it does not ask.
        asked = {k: v for k, v in PREPROCESSING[named].items() if k != "repeat" or k in own}
        options = asked | options
    _check(options)
    wrapped = {k: v for k, v in options.items() if k not in own and v != NOTHING.get(k, ...)}
    if "repeat" in wrapped:
        raise UserError(f"how long an action lasts is fixed in {arguments[0]}: leave repeat (--action-repeat) out")
    taken = {k: v for k, v in options.items() if k in own}
    # A wrapper that changes the picture comes before the stack: the stack is then a wrapper's as well.
    if "stack" in own and wrapped.keys() & {"height", "width", "grey", "noisy_tv"}:
        wrapped["stack"] = taken.get("stack", own["stack"])
        taken["stack"] = 1
    env = family(*arguments, **taken)
    if not wrapped:
        return env
    seed, begin = arguments[-1], taken.get("env_offset", 0)
    if hasattr(env, "wrap"):  # pools that take turns, each in wrappers of its own
        env.wrap(lambda pool, first: _wrap(pool, wrapped, seed, begin + first))
        return env
    return _wrap(env, wrapped, seed, begin)


def _check(options: Mapping[str, Any]) -> None:
    """UserError for numbers that no family can make anything of: simulators may end the process over them."""
    for name, least in (("height", 1), ("width", 1), ("stack", 1), ("repeat", 1), ("threads", 1), ("env_offset", 0),
                        ("pools", 1), ("workers", 0), ("time_limit", 1)):  # fmt: skip
        if name in options and not (type(options[name]) is int and least <= options[name] <= LARGEST):
            raise UserError(f"{name} is a whole number from {least} to {LARGEST}, not {options[name]!r}")
    timeout = options.get("timeout", 1)
    if type(timeout) not in (int, float) or not 0 < timeout < math.inf:
        raise UserError(f"timeout is a number of seconds, more than 0 and finite, not {timeout!r}")
    sticky = options.get("sticky", 0)
    if not isinstance(sticky, (int, float)) or not 0 <= sticky <= 1:
        raise UserError(f"sticky is the probability that an action is repeated, 0 to 1, not {sticky!r}")


def defaults(family: Callable[..., VectorEnv]) -> dict[str, Any]:
    """The options a family takes itself, with their defaults."""
    parameters = inspect.signature(family).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _wrap(env: VectorEnv, options: dict[str, Any], seed: int, env_offset: int) -> VectorEnv:
    from .wrappers import FrameStack, Grey, NoisyTV, Resize, StickyActions, TimeLimit

    if getattr(env, "codes", False) and options.keys() & {"height", "width", "grey"}:
        raise UserError(
            f"{', '.join(env.spec.tasks)} shows codes of things, not colours: leave out the frame size "
            "(--frame-size), grey (--grey) and preprocessing (--preprocessing)"
        )
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
        idle = [k for k, action in enumerate(env.spec.action_names) if action.lower() in IDLE]
        if how == "remote" and not idle:
            tasks, actions = ", ".join(env.spec.tasks), ", ".join(env.spec.action_names)
            raise UserError(f"noisy_tv 'remote' needs an action that does nothing; {tasks} has {actions}: use 'region'")
        channel: Literal["step", "action"] = "step" if how == "region" else "action"
        env = NoisyTV(env, channel=channel, noop=idle[0] if idle else 0, seed=seed, env_offset=env_offset)
    if options.get("stack", 1) != 1:
        env = FrameStack(env, options["stack"])
    if "time_limit" in options:
        env = TimeLimit(env, options["time_limit"])
    return env
