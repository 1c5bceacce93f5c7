"""A worker as its parent sees it: how it is started, listened to and ended."""

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
"""How long workers may take to end once told to, and to finish a message or take one."""


@dataclass
class Worker:
    """One process and the environments it has."""

    share: Share
    process: SpawnProcess
    pipe: Connection
    deaths: int = 0  # since it last completed a step
    commands: int = 0  # it was given

    def ask(self, what: str, seed: int | None = None) -> None:
        """Give it a command. If it is dead, whoever waits for its answer will notice."""
        self.commands += 1
        with contextlib.suppress(OSError):
            wire.send(self.pipe, Command(self.commands, what, seed))


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Signals wait until a worker is started and known: it inherits that, and knows later what to do with them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        resource_tracker.ensure_running()  # multiprocessing's own process, whose start lets two signals through again
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start(memory: Memory, build: Callable[..., VectorEnv], share: Share, folder: Path) -> Worker:
    """A new worker, which builds its ``share`` of the environments and works in ``folder``; to be called while
    `signals_held`.
    """
    # Spawned, not forked: OpenGL, torch and other libraries' threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    bound = threading.current_thread() is threading.main_thread()
    process = context.Process(target=serve, args=(theirs, memory, build, share, bound), name=f"worker-{share.worker}")
    try:
        limit_patience(ours, int(CLOSE_SECONDS))
        if multiprocessing.current_process().daemon:
            raise UserError("a daemonic process may not start workers: leave env_workers (--env-workers) out")
        with working_in(folder):
            process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        ours.close()
        raise UserError(f"what builds environments in workers must be a function with a name: {error}") from error
    except OSError as error:
        ours.close()
        raise BrokenEnvironmentError(f"no process could be started for {process.name}: {error}") from error
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()  # or the end of the worker would not be the end of its pipe
    return Worker(share, process, ours)


def limit_patience(pipe: Connection, seconds: int) -> None:
    """Nobody waits longer for the rest of a message, or for room to write one: BlockingIOError then."""
    with socket.socket(fileno=os.dup(pipe.fileno())) as end:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            end.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))


def listen(
    workers: list[Worker], timeout: float, progress: Callable[[Worker], int] = lambda worker: 0
) -> tuple[list[tuple[Worker, Reply]], list[tuple[Worker, str]]]:
    """The replies of ``workers``, and those who died, sent what is none, or made no ``progress`` for ``timeout``
    seconds (the last two are killed), with the reason.
    """
    replies, dead, pending = [], [], list(workers)
    left, turns = {w.share.worker: timeout for w in pending}, {w.share.worker: progress(w) for w in pending}
    while pending:
        # By the second: after a stop (Ctrl-Z, a laptop closed) nobody is late who was stopped too.
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
    """The answer to the last command. EOFError, OSError or GarbageError if there is none."""
    if not worker.pipe.poll():
        raise EOFError
    reply = wire.receive(worker.pipe, Reply)
    if reply.number != worker.commands:
        raise GarbageError("an answer to what it was not asked")
    if reply.number == 0 and reply.error is None and reply.spec is None:
        raise GarbageError("a greeting without its environments")
    return reply


def _end(worker: Worker, reason: str | None = None) -> str:
    """Make sure of a worker's end, and say how it came about."""
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
    """End a worker, and what its environments have started and left."""
    pid = worker.process.pid
    with contextlib.suppress(OSError):
        if pid is not None:
            os.killpg(pid, signal.SIGKILL)  # its own group, if it came to that
    worker.process.kill()
    worker.process.join()


def shut_down(workers: list[Worker], file: int) -> None:
    """End all of them, those first that are told to do nothing else."""
    for worker in workers:
        worker.ask("close")
    deadline = time.monotonic() + CLOSE_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        kill(worker)
        worker.pipe.close()
    os.close(file)
