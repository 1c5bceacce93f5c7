"""Standard output and error that cannot end a run: what the terminal, pipe or disk behind them refuses is left out."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO, cast


class Forgiving:
    """A text stream whose ``write`` never fails; ``error`` is the first that was kept from the caller.

    Python's own standard streams are written by file descriptor: a buffer would keep what was refused, and Python fails
    when it tries again at its exit.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream  # None where the file was closed before Python began
        self.error: Exception | None = None
        self.flush()
        self._file: int | None = None
        with self._forgiven():
            for standard in (sys.__stdout__, sys.__stderr__):
                if standard is not None and stream is standard:
                    self._file = standard.fileno()

    def write(self, text: str) -> int:
        """Take all of ``text``; characters that the stream's encoding lacks become "?"."""
        with self._forgiven():
            encoding = self.encoding
            if self._file is not None:
                _write(self._file, text.encode(encoding, "replace"))
            elif self.stream is not None:
                try:
                    self.stream.write(text)
                except UnicodeEncodeError:
                    self.stream.write(text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Pass on what the stream has kept."""
        with self._forgiven():
            if self.stream is not None:
                self.stream.flush()

    @property
    def encoding(self) -> str:
        """The stream's, if it has one."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    @contextlib.contextmanager
    def _forgiven(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: somebody has closed the stream
            self.error = self.error or error

    def isatty(self) -> bool:
        """Whether a person may be looking."""
        with self._forgiven():
            return self.stream is not None and self.stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Output(NamedTuple):
    """Both streams."""

    out: Forgiving
    err: Forgiving


@contextlib.contextmanager
def forgiving() -> Iterator[Output]:
    """In the block nothing that is printed raises, whoever prints it: a pipe whose reader left, a full disk, a closed
    terminal, a file that is not open, an encoding that lacks the character.
    """
    before = sys.stdout, sys.stderr
    output = Output(*map(Forgiving, before))
    sys.stdout, sys.stderr = cast("tuple[TextIO, TextIO]", output)
    try:
        yield output
    finally:
        sys.stdout, sys.stderr = before


def open_standard_files() -> None:
    """Files 0, 1 and 2 are open, if only to nowhere: else the next file to be opened, such as a checkpoint, would be
    taken for standard output by libraries and by programs that are started.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
