"""Being asked to stop: Ctrl-C, a scheduler, a closed terminal.

Where there is nothing to keep, a signal raises `Stopped` as it arrives. Training notes the first one instead, and looks
at it where its state is whole; a second one raises there too. A signal that comes again within a second is still the
first: terminals, job managers and wrappers often send it twice.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
SAME_SECONDS = 1.0


class Stopped(KeyboardInterrupt):
    """Signal ``number`` asked to stop. Like Ctrl-C it passes through whatever catches errors.

    ``whole``: it was raised by `Stop.check`, where the state can be saved. ``said``: the user has been told.
    """

    def __init__(self, number: int, whole: bool = False) -> None:
        self.name = signal.Signals(number).name
        super().__init__(f"stopped by {self.name}")
        self.number, self.whole, self.said = number, whole, False

    @property
    def code(self) -> int:
        """The exit code, as shells have it."""
        return 128 + self.number


class Stop:
    """``number`` is that of the signal that asked to stop, None until there is one. Made by `stoppable`."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._raises = True
        self._since = 0.0
        self._process = os.getpid()
        self._before: dict[int, Any] = {}

    def check(self) -> None:
        """Raise `Stopped` if a signal has asked to stop."""
        if self.number is not None:
            raise Stopped(self.number, whole=True)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """In the block the first signal is only noted, for `check` to raise."""
        if self._before:
            self.listen()  # again: simulators are known to take signals for themselves
        self.check()  # whatever was running may have swallowed what was raised
        self._raises = False
        try:
            yield
        finally:
            self._raises = True

    def listen(self) -> None:
        """Take over the signals, but for those that are ignored (``nohup``) or handled outside of Python."""
        for number in SIGNALS:
            before = signal.getsignal(number)
            if number in self._before or before not in (signal.SIG_IGN, None):
                self._before.setdefault(number, before)
                signal.signal(number, self._hear)

    def leave(self) -> None:
        """Put the signals back as they were."""
        for number, before in self._before.items():
            signal.signal(number, before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked child, in which nobody would look
            signal.signal(number, self._before[number])
            os.kill(os.getpid(), number)
            return
        now, first = time.monotonic(), self.number is None
        if first:
            self.number, self._since = number, now
        elif now - self._since < SAME_SECONDS:
            return
        else:
            self.leave()  # a third one is for whoever was there before
        if self._raises or not first:
            raise Stopped(number)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Signals that ask to stop raise `Stopped` in the block, or are `noted`. The main thread gets them all: elsewhere
    nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    stop.listen()
    try:
        yield stop
    except Stopped:
        raise
    except KeyboardInterrupt as error:  # an environment, or a library, has taken Ctrl-C for itself
        raise Stopped(signal.SIGINT) from error
    finally:
        stop.leave()
