"""Which values a setting may have, and how to say so."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args, get_origin

from ...backbones import MEMORIES, TORSOS
from ...envs.errors import UserError, suggest
from .typed import fields_of, is_a


class Range(NamedTuple):
    """Which numbers a setting may be, and how to say so. NaN is in none."""

    holds: Callable[[float], bool]
    words: str


COUNT = Range(lambda x: 1 <= x < 2**63, "at least 1 and below 2^63")

EVERY = Range(lambda x: 0 <= x < 2**63, "0 (never) or more and below 2^63")

WIDTH = Range(lambda x: 1 <= x <= 2**20, "1 to 2^20")

SHARE = Range(lambda x: 0 <= x <= 1, "between 0 and 1")

POSITIVE = Range(lambda x: 0 < x < math.inf, "more than 0 and finite")

NOT_NEGATIVE = Range(lambda x: 0 <= x < math.inf, "0 or more and finite")

RANGES: dict[str, Range] = {
    **dict.fromkeys(("steps", "num_envs", "unroll", "frame_size", "capacity"), COUNT),
    "memory_size": Range(lambda x: 2 <= x < 2**63, "at least 2 and below 2^63"),  # a transformer's norm leaves 0 of one
    **dict.fromkeys(("log_every", "eval_episodes", "eval_limit", "keep"), COUNT),
    **dict.fromkeys(("frame_stack", "action_repeat"), Range(lambda x: 1 <= x <= 1024, "1 to 1024")),
    "time_limit": COUNT,
    "env_workers": Range(lambda x: 0 <= x <= 1024, "0 (in this process) to 1024"),
    **dict.fromkeys(("eval_every", "checkpoint_every"), EVERY),
    "burn_in": Range(lambda x: 0 <= x < 2**63, "0 (none) or more and below 2^63"),
    "seed": Range(lambda x: 0 <= x < 2**62, "0 or more and below 2^62"),  # evaluations add theirs to it
    **dict.fromkeys(("gamma", "vtrace_lambda", "sticky_actions", "momentum", "share"), SHARE),
    "rms_decay": Range(lambda x: 0 <= x < 1, "0 or more and below 1"),
    **dict.fromkeys(("learning_rate", "epsilon", "max_grad_norm", "rho_bar", "c_bar", "env_timeout"), POSITIVE),
    "ratio": Range(lambda x: 0 < x <= 1000, "more than 0 and at most 1000"),
    **dict.fromkeys(("hidden", "latent", "embedding", "batch", "queries", "negatives"), WIDTH),
    **dict.fromkeys(("horizons", "cell", "channels"), Range(lambda x: 1 <= x <= 4096, "1 to 4096")),
    "aux.spr.steps": Range(lambda x: 1 <= x <= 4096, "1 to 4096"),
    "pad": Range(lambda x: 0 <= x <= 4096, "0 to 4096"),
    **dict.fromkeys(("value_cost", "entropy_cost", "initial_mean_square", "weight"), NOT_NEGATIVE),
}


def check(config: Any, prefix: str = "") -> None:
    """UserError for the first field of a dataclass that is of another type, no known word or out of its range;
    ``prefix`` goes before its name.
    """
    words = {"torso": ("auto", *TORSOS), "memory": tuple(MEMORIES)}  # registries may have grown
    for name, kind in fields_of(type(config)).items():
        value, ours = getattr(config, name), _is_ours(type(config), name)
        known = (ours and words.get(name)) or (get_args(kind) if get_origin(kind) is Literal else ())
        if known and value not in known:
            raise UserError(f"Unknown {prefix}{name} {value!r}: {suggest(str(value), known)}")
        if not known and not is_a(value, kind):
            said = getattr(kind, "__name__", kind)
            raise UserError(f"{flag_of(prefix + name)} must be of type {said}, not {value!r}.")
        if ours:
            check_range(name, value, prefix)


def check_range(name: str, value: Any, prefix: str = "") -> None:
    """UserError if a number, or one of several, is outside of what the setting ``name`` may be."""
    numbers = value if isinstance(value, tuple) else () if value is None else (value,)
    allowed = RANGES.get(prefix + name, RANGES.get(name))
    if allowed and not all(map(allowed.holds, numbers)):
        raise UserError(f"{flag_of(prefix + name)} must be {allowed.words}, not {value}.")


def _is_ours(kind: type, name: str) -> bool:
    """Whether a dataclass of this package has the field, or only a loss of somebody's own, who gives it a meaning."""
    declare = [c for c in kind.__mro__ if name in inspect.get_annotations(c)]
    return any(c.__module__.partition(".")[0] == __name__.partition(".")[0] for c in declare)


def flag_of(name: str) -> str:
    """Return the flag of the setting ``name``."""
    return "--" + name.replace("_", "-")
