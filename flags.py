"""Dataclasses as command-line flags, and whatever is wrong with them in one sentence."""

from __future__ import annotations

import contextlib
import io
import re
from typing import TypeVar

import tyro

from .envs.errors import UserError

T = TypeVar("T")


def parse(kind: type[T], words: list[str], program: str, default: T | None = None) -> T:
    """``words`` as the fields of a dataclass; ``default`` holds the values of those not given.

    Raises UserError where tyro would print a panel; --help prints and exits.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            if default is None:
                return tyro.cli(kind, args=words, prog=program, config=(tyro.conf.OmitArgPrefixes,))
            return tyro.cli(kind, args=words, prog=program, config=(tyro.conf.OmitArgPrefixes,), default=default)
    except SystemExit as exit_:
        if not exit_.code:
            raise
        raise UserError(_sentence(said.getvalue(), program)) from None


def _sentence(panel: str, program: str) -> str:
    """tyro's panel without its frame, its title and what --help says."""
    text = " ".join(line.strip("│╭╮╰╯|+ ") for line in panel.splitlines()[1:])
    parts = re.split(r"[─-]{3,}", text)
    said = (re.sub(r"(Argument|For full) helptext.*", "", part) for part in parts)
    return f"{' '.join(' '.join(said).split())} ({program} --help explains every flag)"
