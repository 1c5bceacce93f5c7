"""Runs kernels on every core, or on a CUDA stream."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, TypeAlias

import torch
import warp as wp

MAX_RECORDED = 4096
"""Recorded sets of launches kept. A rollout needs one a row; who hands in ever new memory starts over now and then."""
PARTS = 4
"""Parts of the batch a CPU thread: with one each, all wait for the slowest; with many, launching costs."""
MIN_PART = 8
"""Environments that are worth a launch of their own, where every thread has some."""

Record = Callable[[slice], list[Any]]
"""Records the launches of one part of the batch, in order."""
Parts: TypeAlias = Iterator[list[Any]]
Done: TypeAlias = SimpleQueue[BaseException | None]


class Launcher:
    """Runs recorded launches: on a CPU, parts of the batch side by side on threads, each of which takes the next part
    when it is done with one; on CUDA, all of it on torch's current stream, without waiting and without allocating, so
    that a CUDA graph can capture it.

    A CPU launch is serial but releases the interpreter lock; parts share no memory that anyone writes.
    """

    def __init__(self, num_envs: int, device: torch.device, threads: int | None) -> None:
        workers = min(threads or torch.get_num_threads(), num_envs) if device.type == "cpu" else 1
        count = 1 if workers == 1 else min(PARTS * workers, max(workers, num_envs // MIN_PART))
        edges = [num_envs * n // count for n in range(count + 1)]
        self.parts = [slice(a, b) for a, b in pairwise(edges)]
        self._device = device
        self._helpers = workers - 1
        self._process = os.getpid()
        # A thread pool's futures cost a tenth of a step of 64 environments; queues cost little.
        self._work: SimpleQueue[tuple[Parts, Done] | None] = SimpleQueue()
        self._dismiss = weakref.finalize(self, _dismiss, self._work, self._helpers)
        for n in range(self._helpers):
            threading.Thread(target=_help, args=(self._work,), name=f"labyrinth-{n}", daemon=True).start()
        self._streams: dict[int, Any] = {}
        self._recorded: dict[tuple[int, ...], list[list[Any]]] = {}

    def run(self, key: tuple[int, ...], record: Record) -> None:
        """Launch what ``record`` records; ``key`` holds all that its launches depend on, so it is asked once."""
        launches = self._recorded.get(key)
        if launches is None:
            if len(self._recorded) >= MAX_RECORDED:
                self._recorded.clear()
            launches = self._recorded[key] = [record(part) for part in self.parts]
        if os.getpid() != self._process:
            self._helpers = 0  # a forked child has none
        parts = iter(launches)  # shared: next() of a list's iterator is atomic
        helpers = self._helpers  # another thread may close this meanwhile
        done: Done = SimpleQueue()  # of this run: an interrupted one must not end the next
        for _ in range(helpers):
            self._work.put((parts, done))
        try:
            _launch(parts, None if self._device.type == "cpu" else self._stream())
        finally:
            failures = [done.get() for _ in range(helpers)]
        for failure in filter(None, failures):
            raise failure

    def _stream(self) -> Any:
        """Torch's current stream, as Warp sees it."""
        now = torch.cuda.current_stream(self._device)
        if now.cuda_stream not in self._streams:
            self._streams[now.cuda_stream] = wp.stream_from_torch(now)
        return self._streams[now.cuda_stream]

    def close(self) -> None:
        """End the helper threads; without them the caller does all."""
        self._dismiss()
        self._helpers = 0


def _launch(parts: Parts, stream: Any) -> None:
    for commands in parts:
        for command in commands:
            command.launch(stream=stream)


def _help(work: SimpleQueue[tuple[Parts, Done] | None]) -> None:
    """Run tasks from the queue until None comes. Hold no reference to the launcher, so that it can be collected."""
    while (task := work.get()) is not None:
        parts, done = task
        try:
            _launch(parts, None)
            done.put(None)
        except BaseException as failure:  # the caller raises it
            done.put(failure)


def _dismiss(work: SimpleQueue[tuple[Parts, Done] | None], helpers: int) -> None:
    for _ in range(helpers):
        work.put(None)
