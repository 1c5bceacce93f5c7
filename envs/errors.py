"""What the user got wrong, said in one sentence."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MANY, FEW = 30, 6
"""So many names are not listed; so many of them are."""


class UserError(ValueError):
    """A mistake the user can put right. The command line prints it and exits with code 2."""


class BrokenEnvironmentError(RuntimeError):
    """An environment raised, or answered with what cannot be. The message names it, its seed and its step."""


def beyond_limit(name: str, limit: int | None) -> str:
    """Why environment ``name`` takes no longer time limit than its own."""
    return f"{name} ends its episodes after {limit} steps itself: a time limit (--time-limit) is at most that"


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown ``name``: its near misses among ``known``; if it has none all of them, or some if they are
    many.
    """
    names = list(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    more = f", and {len(names) - FEW} more" if len(names) > MANY else ""
    return f"known: {', '.join(names[:FEW] if more else names)}{more}"
