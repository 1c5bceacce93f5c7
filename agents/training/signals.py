"""Handling of requests to stop: Ctrl-C, a scheduler, a closed terminal.

If there is nothing to save, a signal raises `Stopped` immediately. Training instead records the first signal and checks
for it when its state is consistent; a second signal raises immediately there too. A signal repeated within a second
counts as the first: terminals, job managers and wrappers often send it twice.
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
    """Signal ``number`` requested a stop. Like KeyboardInterrupt, it is not an Exception, so it passes through general
    error handlers.

    ``whole``: raised by `Stop.check`, where the state is consistent and can be saved. ``said``: the user has been
    informed.
    """

    def __init__(self, number: int, whole: bool = False) -> None:
        self.name = signal.Signals(number).name
        super().__init__(f"stopped by {self.name}")
        self.number, self.whole, self.said = number, whole, False

    @property
    def code(self) -> int:
        """Return the exit code by the shells' convention, 128 + the signal's number."""
        return 128 + self.number


class Stop:
    """The request to stop: ``number`` is the number of the first signal received, None before that. Created by
    `stoppable`.
    """

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
        """Defer the first signal in the block, for `check` to raise."""
        if self._before:
            self.listen()  # again, because some simulators install their own handlers
        self.check()  # other code may have suppressed the exception
        self._raises = False
        try:
            yield
        finally:
            self._raises = True

    def listen(self) -> None:
        """Install the signal handlers, except for signals that are ignored (``nohup``) or handled outside of Python."""
        for number in SIGNALS:
            before = signal.getsignal(number)
            if number in self._before or before not in (signal.SIG_IGN, None):
                self._before.setdefault(number, before)
                signal.signal(number, self._hear)

    def leave(self) -> None:
        """Restore the previous signal handlers."""
        for number, before in self._before.items():
            signal.signal(number, before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked child, which nothing checks
            signal.signal(number, self._before[number])
            os.kill(os.getpid(), number)
            return
        now, first = time.monotonic(), self.number is None
        if first:
            self.number, self._since = number, now
        elif now - self._since < SAME_SECONDS:
            return
        else:
            self.leave()  # a third signal goes to the previous handler
        if self._raises or not first:
            raise Stopped(number)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Raise `Stopped` in the block on signals that request a stop, or defer them while `noted`. Signals are delivered
    to the main thread: in other threads nothing changes.
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
    except KeyboardInterrupt as error:  # an environment or a library handles Ctrl-C itself
        raise Stopped(signal.SIGINT) from error
    finally:
        stop.leave()
