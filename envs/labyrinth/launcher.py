"""Runs kernels on every core, or on a CUDA stream."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import torch
import warp as wp

MAX_RECORDED = 4096
"""Recorded sets of launches kept. A rollout needs one a row; who hands in ever new memory starts over now and then."""

Record = Callable[[slice], list[Any]]
"""Records the launches of one part of the batch, in order."""


class Launcher:
    """Runs recorded launches: on a CPU, parts of the batch side by side on threads; on CUDA, all of it on torch's
    current stream, without waiting and without allocating, so that a CUDA graph can capture it.

    A CPU launch is serial but releases the interpreter lock; parts share no memory that anyone writes.
    """

    def __init__(self, num_envs: int, device: torch.device, threads: int | None) -> None:
        workers = min(threads or torch.get_num_threads(), num_envs) if device.type == "cpu" else 1
        edges = [num_envs * n // workers for n in range(workers + 1)]
        self.parts = [slice(a, b) for a, b in pairwise(edges)]
        self._device = device
        self._pool = ThreadPoolExecutor(workers - 1, "labyrinth") if workers > 1 else None
        self._streams: dict[int, Any] = {}
        self._recorded: dict[tuple[int, ...], list[list[Any]]] = {}

    def run(self, key: tuple[int, ...], record: Record) -> None:
        """Launch what ``record`` records; ``key`` holds all that its launches depend on, so it is asked once."""
        launches = self._recorded.get(key)
        if launches is None:
            if len(self._recorded) >= MAX_RECORDED:
                self._recorded.clear()
            launches = self._recorded[key] = [record(part) for part in self.parts]
        stream = None if self._device.type == "cpu" else self._stream()
        pending = [self._pool.submit(_launch, part, stream) for part in launches[1:]] if self._pool else []
        _launch(launches[0], stream)
        for future in pending:
            future.result()

    def _stream(self) -> Any:
        """Torch's current stream, as Warp sees it."""
        now = torch.cuda.current_stream(self._device)
        if now.cuda_stream not in self._streams:
            self._streams[now.cuda_stream] = wp.stream_from_torch(now)
        return self._streams[now.cuda_stream]

    def close(self) -> None:
        """End the worker threads."""
        if self._pool is not None:
            self._pool.shutdown()


def _launch(commands: list[Any], stream: Any) -> None:
    for command in commands:
        command.launch(stream=stream)
