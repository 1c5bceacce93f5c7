"""Standard output and error that cannot end a run: output that the terminal, pipe or disk refuses is dropped."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO, cast


class Forgiving:
    """A text stream whose ``write`` never fails; ``error`` is the first error that was suppressed.

    Python's own standard streams are written by file descriptor: a buffer would retain refused output, and Python would
    fail when it tries to write it again at exit.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream  # None if the file was closed before Python started
        self.error: Exception | None = None
        self.flush()
        self._file: int | None = None
        with self._forgiven():
            for standard in (sys.__stdout__, sys.__stderr__):
                if standard is not None and stream is standard:
                    self._file = standard.fileno()

    def write(self, text: str) -> int:
        """Write all of ``text``; characters missing from the stream's encoding become "?"."""
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
        """Flush the underlying stream."""
        with self._forgiven():
            if self.stream is not None:
                self.stream.flush()

    @property
    def encoding(self) -> str:
        """Return the stream's encoding, if it has one."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    @contextlib.contextmanager
    def _forgiven(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self.error = self.error or error

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        with self._forgiven():
            return self.stream is not None and self.stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Output(NamedTuple):
    """The two forgiving streams, for standard output and error."""

    out: Forgiving
    err: Forgiving


@contextlib.contextmanager
def forgiving() -> Iterator[Output]:
    """Make printing in the block unable to raise, whoever prints: into a closed pipe, a full disk, a closed terminal, a
    closed file, or an encoding that lacks the character.
    """
    before = sys.stdout, sys.stderr
    output = Output(*map(Forgiving, before))
    sys.stdout, sys.stderr = cast("tuple[TextIO, TextIO]", output)
    try:
        yield output
    finally:
        sys.stdout, sys.stderr = before


def open_standard_files() -> None:
    """Open files 0, 1 and 2 on the null device if they are closed. Otherwise the next file to be opened, such as a
    checkpoint, would be taken for standard output by libraries and child processes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
