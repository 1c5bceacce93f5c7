"""What Gymnasium's environments say of themselves beside their spaces: how long an episode may be, and which interface
they speak.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import gymnasium

OLD = (
    "speaks the interface of Gym before 0.26 ({how}), which making it anew does not change: wrap it in shimmy's "
    "GymV21CompatibilityV0, or let it answer as gymnasium.Env says"
)
UNPACKED = re.compile(r"values to unpack \(expected (?:2|5)\b")
UNKNOWN = re.compile(r"unexpected keyword argument '(?:seed|options)'")


class OldAnswerError(ValueError):
    """An environment answered as Gym had it before 0.26; the message says how."""


def episode_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Steps after which ``env`` ends an episode at the latest: the least that its TimeLimit wrappers and its own
    ``max_steps`` (MiniGrid's, Labyrinth's) or ``max_episode_steps`` (MiniWorld's) say. None if they say nothing.
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
    """The observation in the answer of ``reset``, which is (observation, info)."""
    if isinstance(answer, tuple) and len(answer) == 2 and (answer[1] is None or isinstance(answer[1], Mapping)):
        return answer[0]
    raise OldAnswerError("its reset answers an observation without info")


def step_answer(answer: Any) -> tuple[Any, Any, Any, Any, Any]:
    """(observation, reward, terminated, truncated, info), the answer of ``step``."""
    if not isinstance(answer, (tuple, list)):
        raise ValueError(f"its step answers a {type(answer).__name__}, not 5 values")
    if len(answer) == 4:
        raise OldAnswerError("its step answers 4 values, not 5")
    if len(answer) != 5:
        raise ValueError(f"its step answers {len(answer)} values, not 5")
    observation, reward, terminated, truncated, info = answer
    return observation, reward, terminated, truncated, info


def old_interface(error: BaseException) -> str | None:
    """If ``error`` shows that an environment speaks Gym's old interface: what it speaks, and the way out."""
    if isinstance(error, OldAnswerError):
        return OLD.format(how=error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    # Only where Gymnasium's wrappers or we could not read an answer: an environment may have such faults of its own.
    where = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    if where.partition(".")[0] != "gymnasium" and where != f"{__package__}.gymnasium":
        return None
    if isinstance(error, ValueError) and UNPACKED.search(str(error)):
        return OLD.format(how="its step answers 4 values, or its reset an observation without info")
    if isinstance(error, TypeError) and UNKNOWN.search(str(error)):
        return OLD.format(how="its reset takes no seed")
    return None
