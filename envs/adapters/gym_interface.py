"""Properties of Gymnasium environments besides their spaces: longest episode and version of the interface."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import gymnasium

OLD = (
    "speaks the interface of Gym before 0.26 ({how}), which recreating it does not change: wrap it in shimmy's "
    "GymV21CompatibilityV0, or implement the interface of gymnasium.Env"
)
UNPACKED = re.compile(r"values to unpack \(expected (?:2|5)\b")
UNKNOWN = re.compile(r"unexpected keyword argument '(?:seed|options)'")


class OldAnswerError(ValueError):
    """An environment answered in the format of Gym before 0.26; the message gives the difference."""


def episode_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Return the maximum number of steps in an episode of ``env``: the minimum over its TimeLimit wrappers and its own
    ``max_steps`` (MiniGrid, Labyrinth) or ``max_episode_steps`` (MiniWorld). None if none of them is set.
    """
    limits: list[Any] = []
    inside: Any = env
    while isinstance(inside, gymnasium.Wrapper):
        if isinstance(inside, gymnasium.wrappers.TimeLimit):
            limits.append(inside._max_episode_steps)
        inside = inside.env
    limits += [getattr(inside, name, None) for name in ("max_steps", "max_episode_steps")]
    known = [x for x in limits if isinstance(x, (int, float)) and not isinstance(x, bool) and 1 <= x < math.inf]
    return int(min(known)) if known else None


def first_observation(answer: Any) -> Any:
    """Return the observation in the answer of ``reset``, which is (observation, info)."""
    if isinstance(answer, tuple) and len(answer) == 2 and (answer[1] is None or isinstance(answer[1], Mapping)):
        return answer[0]
    raise OldAnswerError("its reset returns an observation without info")


def step_answer(answer: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Return the answer of ``step``, (observation, reward, terminated, truncated, info), checked for its length."""
    if not isinstance(answer, (tuple, list)):
        raise ValueError(f"its step returns a {type(answer).__name__}, not 5 values")
    if len(answer) == 4:
        raise OldAnswerError("its step returns 4 values, not 5")
    if len(answer) != 5:
        raise ValueError(f"its step returns {len(answer)} values, not 5")
    observation, reward, terminated, truncated, info = answer
    return observation, reward, terminated, truncated, info


def old_interface(error: BaseException) -> str | None:
    """Return a message with a remedy if ``error`` shows that an environment uses Gym's old interface, else None."""
    if isinstance(error, OldAnswerError):
        return OLD.format(how=error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    # Only errors raised by Gymnasium's wrappers or this package: an environment may raise similar errors itself.
    where = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    if where.partition(".")[0] != "gymnasium" and where != f"{__package__}.gymnasium":
        return None
    if isinstance(error, ValueError) and UNPACKED.search(str(error)):
        return OLD.format(how="its step returns 4 values, or its reset an observation without info")
    if isinstance(error, TypeError) and UNKNOWN.search(str(error)):
        return OLD.format(how="its reset takes no seed")
    return None
