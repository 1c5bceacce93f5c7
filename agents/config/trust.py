"""Permission to run code that a run folder names: the module of its environment (gym:module:Name) is imported only with
the user's consent.
"""

from __future__ import annotations

import sys

from ...envs.errors import UserError


def allow_import(run: str, env: object, trust: bool) -> bool:
    """Return True if the environment ``env``, named by the folder ``run``, may be made: it imports no module of the
    folder's choice, or ``trust`` or the user at the terminal allows it. UserError otherwise.
    """
    module = module_of(str(env))
    if module is None or module in sys.modules or trust:
        return True
    question = f"The environment of {run} is {env}: that imports the Python module '{module}', which can do anything."
    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
        print(f"{question} Import it? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return True
    raise UserError(f"{question} Add --trust (in Python trust=True) if you know where it is from.")


def module_of(env: str) -> str | None:
    """Return the module that making ``env`` would import; None if there is none."""
    _, _, name = env.partition(":")
    module, colon, _ = name.rpartition(":")
    return module if colon else None
