"""Dataclasses as command-line flags, with errors in one sentence; and imports of user files and plugins."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import re
import sys
import traceback
import zlib
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import tyro

from .envs.errors import UserError

T = TypeVar("T")


def parse(kind: type[T], words: list[str], program: str, default: T | None = None) -> T:
    """Parse ``words`` into a dataclass; ``default`` holds the values of fields not given.

    Raises UserError where tyro would print a panel; --help prints and exits.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            if default is None:
                return tyro.cli(kind, args=words, prog=program)
            return tyro.cli(kind, args=words, prog=program, default=default)
    except SystemExit as exit_:
        if not exit_.code:
            raise
        raise UserError(_sentence(said.getvalue(), program)) from None


def parse_alone(kind: type[T], name: str, words: list[str], default: Any) -> Any:
    """Return the value that ``words`` give one field of a dataclass, ignoring all others, or else ``default``."""
    alone = dataclasses.make_dataclass(kind.__name__, [(name, get_type_hints(kind)[name], default)])
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            found: Any
            found, _ = tyro.cli(alone, args=words, add_help=False, return_unknown_args=True)
    except SystemExit:  # `parse` reports the error
        return default
    return getattr(found, name)


def _sentence(panel: str, program: str) -> str:
    """Return the text of tyro's panel without its frame, its title and the text of --help."""
    text = " ".join(line.strip("│╭╮╰╯|+ ") for line in panel.splitlines()[1:])
    parts = re.split(r"[─-]{3,}", text)
    said = (re.sub(r"(Argument|For full) helptext.*", "", part) for part in parts)
    return f"{' '.join(' '.join(said).split())} ({program} --help explains every flag)"


def import_files(words: Sequence[str]) -> list[str]:
    """Run the FILE of each ``--import FILE`` in ``words`` and return the other words.

    Each is a Python file that may add losses or levels to their registries, whose flags are then known. Raises
    UserError for a file that is missing or fails.
    """
    rest, files = [], []
    given = iter(words)
    for word in given:
        flag, equals, value = word.partition("=")
        if flag != "--import":
            rest.append(word)
            continue
        file = value if equals else next(given, "")
        if not file:
            raise UserError("--import needs a file, such as --import my_loss.py")
        files.append(file)
    for file in files:
        _run_file(Path(file))
    return rest


def _run_file(path: Path) -> None:
    """Run a file as a registered module, so that its classes can be found by name."""
    path = path.expanduser().resolve()
    name = f"morello_import_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{zlib.crc32(str(path).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UserError(f"--import {path}: there is no such Python file.")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        where = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = f", line {where[-1]}" if where else ""
        raise UserError(f"--import {path}{line}: {type(error).__name__}: {error}") from error


def import_installed() -> None:
    """Import the modules that installed distributions name by entry points of the group "morello.plugins".

    Raises UserError, naming the module, for one that fails.
    """
    for entry in entry_points(group="morello.plugins"):
        try:
            entry.load()
        except Exception as error:
            raise UserError(f"The plugin {entry.value} cannot be imported: {type(error).__name__}: {error}") from error
