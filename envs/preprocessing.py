"""Preprocessing between environment and agent: options that a family takes itself or that wrappers provide."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from .errors import UserError, suggest
from .options import NOTHING

if TYPE_CHECKING:
    from .vector_env import VectorEnv

PREPROCESSING: dict[str, dict[str, Any]] = {
    "atari": {"frame_size": (84, 84), "grey": True, "frame_stack": 4, "action_repeat": 4},
    "icm": {"frame_size": (42, 42), "grey": True, "frame_stack": 4, "action_repeat": 4},
    "rgb": {"grey": False, "frame_stack": 1, "action_repeat": 4},
}
"""Named settings: Mnih et al. 2015; Pathak et al. 2017 (ViZDoom); colour with a single frame."""

WRAPPED = ("sticky_actions", "frame_size", "grey", "noisy_tv", "frame_stack", "time_limit")
"""Options available for every family, through wrappers where the family lacks them; in order from the innermost."""

LARGEST = 2**20
"""Upper bound on pixels per side, frames, threads and similar counts."""

IDLE = ("none", "noop", "no-op", "nothing", "idle", "wait")
"""Names of actions without effect. (MiniGrid's "done" is excluded: it ends the episode in some of its tasks.)"""


def build(family: Callable[..., VectorEnv], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> VectorEnv:
    """Build ``family(*arguments)`` with ``options``, wrapped for those it lacks. UserError for invalid options."""
    options = {k: v for k, v in options.items() if v is not None}
    own = defaults(family)
    named = options.pop("preprocessing", "own")
    if named != "own":
        if named not in PREPROCESSING:
            raise UserError(f"no preprocessing {named!r}; {suggest(named, PREPROCESSING)}")
        # The action repeat applies only to families that have the option.
        asked = {k: v for k, v in PREPROCESSING[named].items() if k != "action_repeat" or k in own}
        options = asked | options
    _check(options)
    wrapped = {k: v for k, v in options.items() if k not in own and v != NOTHING.get(k, ...)}
    if "action_repeat" in wrapped:
        raise UserError(f"the action repeat of {arguments[0]} is fixed: omit --action-repeat")
    taken = {k: v for k, v in options.items() if k in own}
    # Wrappers that change the image precede frame stacking, which then is done by a wrapper as well.
    if "frame_stack" in own and wrapped.keys() & {"frame_size", "grey", "noisy_tv"}:
        wrapped["frame_stack"] = taken.get("frame_stack", own["frame_stack"])
        taken["frame_stack"] = 1
    env = family(*arguments, **taken)
    if not wrapped:
        return env
    seed, begin = arguments[-1], taken.get("env_offset", 0)
    return env.wrap(lambda each, first: _wrap(each, wrapped, seed, begin + first))


def _check(options: Mapping[str, Any]) -> None:
    """Raise UserError for numbers that no family can use: simulators may end the process because of them."""
    for name, least in (
        ("frame_stack", 1),
        ("action_repeat", 1),
        ("threads", 1),
        ("env_offset", 0),
        ("pools", 1),
        ("env_workers", 0),
        ("time_limit", 1),
    ):
        if name in options and not _is_whole(options[name], least):
            raise UserError(f"{name} is a whole number from {least} to {LARGEST}, not {options[name]!r}")
    size = options.get("frame_size", (1, 1))
    if not (isinstance(size, (tuple, list)) and len(size) == 2 and all(_is_whole(pixels, 1) for pixels in size)):
        raise UserError(f"frame_size is height and width, two whole numbers from 1 to {LARGEST}, not {size!r}")
    timeout = options.get("env_timeout", 1)
    if type(timeout) not in (int, float) or not 0 < timeout < math.inf:
        raise UserError(f"env_timeout is a number of seconds, more than 0 and finite, not {timeout!r}")
    sticky = options.get("sticky_actions", 0)
    if not isinstance(sticky, (int, float)) or not 0 <= sticky <= 1:
        raise UserError(f"sticky_actions is the probability that an action is repeated, 0 to 1, not {sticky!r}")


def _is_whole(x: object, least: int) -> bool:
    return type(x) is int and least <= x <= LARGEST


def defaults(family: Callable[..., VectorEnv]) -> dict[str, Any]:
    """Return the options a family takes itself, with their defaults."""
    parameters = inspect.signature(family).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _wrap(env: VectorEnv, options: dict[str, Any], seed: int, env_offset: int) -> VectorEnv:
    from .wrappers import FrameStack, Grey, NoisyTV, Resize, StickyActions, TimeLimit

    if env.codes and options.keys() & {"frame_size", "grey"}:
        raise UserError(
            f"{', '.join(env.spec.tasks)} observes category codes, not colours: leave out the frame size "
            "(--frame-size), grey (--grey) and preprocessing (--preprocessing)"
        )
    if "sticky_actions" in options:
        env = StickyActions(env, options["sticky_actions"], seed=seed, env_offset=env_offset)
    if "frame_size" in options:
        env = Resize(env, *options["frame_size"])
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
    if options.get("frame_stack", 1) != 1:
        env = FrameStack(env, options["frame_stack"])
    if "time_limit" in options:
        env = TimeLimit(env, options["time_limit"])
    return env
