"""User-facing errors, each with a one-sentence message."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MANY, FEW = 30, 6
"""Largest number of names listed in full, and the number listed where there are more."""


class UserError(ValueError):
    """A mistake that the user can correct. The command line prints it and exits with code 2."""


class BrokenEnvironmentError(RuntimeError):
    """An environment raised or gave an invalid answer. The message names the environment, its seed and its step."""


def beyond_limit(name: str, limit: int | None) -> str:
    """Return the message for a time limit longer than the ``limit`` of environment ``name``."""
    return f"{name} ends its episodes after {limit} steps itself: a time limit (--time-limit) cannot exceed that"


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown ``name``: close matches among ``known``; without any, all known names, or the first
    few where there are many.
    """
    names = list(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    more = f", and {len(names) - FEW} more" if len(names) > MANY else ""
    return f"known: {', '.join(names[:FEW] if more else names)}{more}"
