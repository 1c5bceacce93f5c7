"""The parent's view of a worker: starting it, receiving its answers and ending it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from ..errors import BrokenEnvironmentError, UserError
from ..vector_env import VectorEnv
from . import wire
from .process_folder import working_in
from .serving import SIGNALS, Memory, Share, serve
from .wire import Command, GarbageError, Reply

CLOSE_SECONDS = 5.0
"""Seconds allowed for workers to end after a close command, and for reading or writing the rest of a message."""


@dataclass
class Worker:
    """One worker process and its share of the environments."""

    share: Share
    process: SpawnProcess
    pipe: Connection
    deaths: int = 0  # since it last completed a step
    commands: int = 0  # number of commands sent

    def ask(self, what: str, seed: int | None = None) -> None:
        """Send a command. A dead worker is detected when its answer is awaited."""
        self.commands += 1
        with contextlib.suppress(OSError):
            wire.send(self.pipe, Command(self.commands, what, seed))


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Block signals until a worker is started and registered; it inherits the blocked set and unblocks it later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        resource_tracker.ensure_running()  # starting multiprocessing's own process unblocks two signals
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start(memory: Memory, build: Callable[..., VectorEnv], share: Share, folder: Path) -> Worker:
    """Start a worker, which builds its ``share`` of the environments and works in ``folder``; call it within
    `signals_held`.
    """
    # Spawned, not forked: threads of OpenGL, torch and other libraries do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    bound = threading.current_thread() is threading.main_thread()
    process = context.Process(target=serve, args=(theirs, memory, build, share, bound), name=f"worker-{share.worker}")
    try:
        limit_patience(ours, int(CLOSE_SECONDS))
        if multiprocessing.current_process().daemon:
            raise UserError("a daemonic process may not start workers: omit env_workers (--env-workers)")
        with working_in(folder):
            process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        ours.close()
        raise UserError(f"the function that builds environments in workers must have a name: {error}") from error
    except OSError as error:
        ours.close()
        raise BrokenEnvironmentError(f"no process could be started for {process.name}: {error}") from error
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()  # otherwise the pipe would stay open when the worker ends
    return Worker(share, process, ours)


def limit_patience(pipe: Connection, seconds: int) -> None:
    """Limit waiting for the rest of a message, or for room to write one, to ``seconds``; then BlockingIOError."""
    with socket.socket(fileno=os.dup(pipe.fileno())) as end:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            end.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))


def listen(
    workers: list[Worker], timeout: float, progress: Callable[[Worker], int] = lambda worker: 0
) -> tuple[list[tuple[Worker, Reply]], list[tuple[Worker, str]]]:
    """Return the replies of ``workers``, and the workers that died, sent an invalid reply, or made no ``progress`` for
    ``timeout`` seconds (the last two are killed), each with the reason.
    """
    replies, dead, pending = [], [], list(workers)
    left, turns = {w.share.worker: timeout for w in pending}, {w.share.worker: progress(w) for w in pending}
    while pending:
        # In steps of one second: after a stop (Ctrl-Z, a suspended laptop), stopped workers are not counted as late.
        patience = min(1.0, *(left[w.share.worker] for w in pending))
        ready = wait([x for w in pending for x in (w.pipe, w.process.sentinel)], patience)
        for worker in [] if ready else list(pending):
            number, turn = worker.share.worker, progress(worker)
            left[number] = left[number] - patience if turn == turns[number] else timeout
            turns[number] = turn
            if left[number] <= 0:
                pending.remove(worker)
                reason = f"it did not answer within {timeout:g} seconds (--env-timeout allows for more)"
                dead.append((worker, _end(worker, reason)))
        for worker in [w for w in pending if w.pipe in ready or w.process.sentinel in ready]:
            pending.remove(worker)
            try:
                replies.append((worker, _reply(worker)))
            except (EOFError, OSError):
                dead.append((worker, _end(worker)))
            except GarbageError as error:
                dead.append((worker, _end(worker, f"its process sent {error}")))
    order = workers.index
    return sorted(replies, key=lambda x: order(x[0])), sorted(dead, key=lambda x: order(x[0]))


def _reply(worker: Worker) -> Reply:
    """Return the answer to the last command. EOFError, OSError or GarbageError if there is none."""
    if not worker.pipe.poll():
        raise EOFError
    reply = wire.receive(worker.pipe, Reply)
    if reply.number != worker.commands:
        raise GarbageError("an answer to another command")
    if reply.number == 0 and reply.error is None and reply.spec is None:
        raise GarbageError("a first reply without a spec")
    return reply


def _end(worker: Worker, reason: str | None = None) -> str:
    """Ensure that a worker has ended, and return how."""
    if reason is None:
        worker.process.join(CLOSE_SECONDS)
    kill(worker)
    if reason is not None:
        return reason
    code = worker.process.exitcode or 0
    with contextlib.suppress(ValueError):
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process exited with code {code}"


def kill(worker: Worker) -> None:
    """Kill a worker and all processes that its environments have started."""
    pid = worker.process.pid
    with contextlib.suppress(OSError):
        if pid is not None:
            os.killpg(pid, signal.SIGKILL)  # its own group, if it already has one
    worker.process.kill()
    worker.process.join()


def shut_down(workers: list[Worker], file: int) -> None:
    """End all workers, giving them time to close first."""
    for worker in workers:
        worker.ask("close")
    deadline = time.monotonic() + CLOSE_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        kill(worker)
        worker.pipe.close()
    os.close(file)
