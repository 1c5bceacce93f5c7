"""B environments distributed over worker processes, for simulators limited to one core and for those that crash."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..arguments import as_action, as_mask
from ..errors import BrokenEnvironmentError, UserError
from ..experience import Spec, Timestep
from ..rows import write_rows
from ..vector_env import VectorEnv
from . import forked, wire
from .restart_log import ATTEMPTS, Faults
from .serving import Memory, Share, Shared
from .wire import Reply
from .worker_process import Worker, kill, listen, shut_down, signals_held, start

START_SECONDS = 300.0
"""Seconds in which a worker must import and build its environments."""
ANSWER_SECONDS = 60.0
"""Default for the seconds in which a worker must answer."""
UNGUARDED = 'a script that starts workers must run under `if __name__ == "__main__":`'


class Workers(VectorEnv):
    """``num_envs`` environments in ``env_workers`` processes with equal shares.

    ``build(num_envs=, device=, seed=, env_offset=, restart_envs=)`` makes a share, in the worker; it must be picklable.
    Each environment gets the seed it would have in one process, so answers do not depend on the number of workers. They
    are in shared memory, and the caller receives copies.

    A worker that dies, sends an invalid answer, or does not answer within ``env_timeout`` seconds (it is then killed)
    raises BrokenEnvironmentError, which names the environment that was active, its seed and step. With ``restart_envs``
    a new worker replaces it instead: all environments of that worker count as truncated on that row, with reward 0, and
    continue with seeds derived from their own (``restarts`` [B] counts). After `ATTEMPTS` deaths without a completed
    step, including deaths of replacement workers, the worker is abandoned. Errors and warnings in a worker are raised
    again in the caller.

    ``info`` is omitted. Environments that cannot ``adopt`` memory (see `VectorEnv.adopt`) cannot be restarted.
    """

    def __init__(
        self,
        build: Callable[..., VectorEnv],
        num_envs: int,
        device: torch.device,
        seed: int,
        *,
        env_workers: int,
        env_offset: int = 0,
        restart_envs: bool = False,
        env_timeout: float | None = None,
    ) -> None:
        if env_workers < 1:
            raise UserError(f"env_workers must be at least 1, not {env_workers}")
        if env_timeout is not None and env_timeout <= 0:
            raise UserError(f"env_timeout must be a positive number of seconds, not {env_timeout:g}")
        self.num_envs, self.device, self._build, self._process = num_envs, device, build, os.getpid()
        self._restart, self._timeout = restart_envs, env_timeout or ANSWER_SECONDS
        self._folder = Path.cwd()  # working folder of all workers, replacements included
        self._memory, self._workers = Memory(), list[Worker]()
        # Runs before multiprocessing joins its processes.
        self._finalizer = Finalize(self, shut_down, (self._workers, self._memory.file), exitpriority=10)
        count = min(env_workers, num_envs)
        bounds = [num_envs * w // count for w in range(count + 1)]
        try:
            for w in range(count):
                share = Share(w, count, bounds[w], bounds[w + 1], num_envs, env_offset, seed, restart_envs, again=False)
                with signals_held():
                    self._workers.append(start(self._memory, build, share, self._folder))
            replies = [self._greeting(worker) for worker in self._workers]
            self.spec = _one_spec([reply.spec for reply in replies if reply.spec is not None])
            self._name = self.spec.tasks[0]
            if restart_envs and not replies[0].adopts:
                raise UserError(f"{self._name} cannot be recreated in another process: omit --restart-envs")
            self._shared: Shared = self._memory.tensors(self.spec, num_envs, count)
            for worker in self._workers:
                _, faults = self._shared.of(worker.share)
                faults.begin(range(len(faults.seed)), seed)
                faults.turn[0] = -1
                self._tell_spec(worker)
        except BaseException:
            for worker in self._workers:
                kill(worker)  # safe at any point: no episode has begun
            self.close()
            raise
        self._started = False
        self._asked: list[Worker] = []  # those with a pending reply
        for reply in replies:
            _repeat(reply.warnings)

    @property
    def restarts(self) -> list[int]:
        """Number of times each environment [B] was recreated."""
        return [int(x) for worker in self._workers for x in self._shared.of(worker.share)[1].restarts]

    def reset(self, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Begin episodes: everywhere, or where ``mask`` [B] is True; ``seed`` restarts the random streams there."""
        self._free()
        begin = as_mask(mask, self.num_envs)
        if not self._started and not begin.all():
            raise UserError("reset every environment before resetting only some")
        self._shared.chosen.copy_(begin)
        self._ask("reset", seed, [w for w in self._workers if begin[w.share.begin : w.share.end].any()])
        self._started = True
        self._collect(step=False)
        return write_rows(self._shared.rows, None, self.device)

    def step(self, action: Tensor, out: Timestep | None = None) -> Timestep:
        """Act: ``action`` [B] int64. Ended environments begin a new episode instead."""
        self.send(action)
        return self.recv(out)

    def send(self, action: Tensor) -> None:
        """Start a step: the workers begin, and the caller is free until `recv`."""
        self._free()
        if not self._started:
            raise UserError("reset the environment before its first step")
        self._shared.action.copy_(as_action(action, self.num_envs, self.spec.num_actions))
        self._shared.chosen.copy_(self._shared.rows.last)
        self._ask("step", None, self._workers)

    def recv(self, out: Timestep | None = None) -> Timestep:
        """Complete a step: wait for the answers to the actions sent."""
        if not self._asked:
            raise UserError("send actions before receiving their answers")
        self._collect(step=True)
        return write_rows(self._shared.rows, out, self.device)

    def state_dict(self) -> dict[str, Tensor]:
        """Raise UserError: environments in other processes cannot save their state."""
        raise UserError(f"{self._name} in worker processes cannot save its state")

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Raise UserError: environments in other processes cannot load a state."""
        raise UserError(f"{self._name} in worker processes cannot load a state")

    def close(self) -> None:
        """End the workers. Repeated calls have no effect."""
        self._finalizer()

    def _free(self) -> None:
        """Raise UserError unless the workers wait for a command of this process."""
        forked.refuse(self._process, self._name)
        if not self._finalizer.still_active():
            raise UserError(f"these environments ({self._name}) are closed: make new ones")
        if self._asked:
            raise UserError("receive the answers to the actions sent before sending anything else")

    def _ask(self, command: str, seed: int | None, workers: list[Worker]) -> None:
        self._asked = list(workers)
        for worker in workers:
            worker.ask(command, None if seed is None else int(seed))

    def _collect(self, step: bool) -> None:
        """Wait for all pending replies, replace dead workers, then pass on warnings and errors."""
        replies, dead = listen(self._asked, self._timeout, self._progress)
        self._asked = []
        errors = [reply.error for _, reply in replies if reply.error is not None]
        said = [w for _, reply in replies for w in reply.warnings]
        for worker, _ in replies:
            worker.deaths = 0 if step else worker.deaths
        try:
            for worker, reason in dead:
                said += self._replace(worker, reason, step)
        except BaseException:
            self.close()
            raise
        finally:
            _repeat(said)
        for kind, words in errors:
            raise kind(words)

    def _replace(self, worker: Worker, reason: str, step: bool) -> list[tuple[type[Warning], str]]:
        """Replace a worker that died during a command, and return the warnings to issue.

        An environment that was to begin an episode in this command still does, in the new worker.
        """
        said: list[tuple[type[Warning], str]] = []
        while True:
            share = worker.share
            rows, faults = self._shared.of(share)
            worker.deaths += 1
            what = self._blame(worker, faults, reason)
            worker.pipe.close()
            for i in range(share.end - share.begin):
                faults.made_anew(i)
            said.append((RuntimeWarning, f"{what}; recreated with all of its process, {sum(self.restarts)} so far"))
            begins = self._shared.chosen[share.begin : share.end]
            rows.last[~begins], rows.reward[~begins], rows.discount[~begins] = True, 0.0, 1.0
            if step:
                rows.first[~begins] = False
            faults.turn[0] = -1
            try:
                said += self._take_over(worker)
                if not begins.any():
                    return said
            except (UserError, BrokenEnvironmentError) as error:  # counts as another death and is retried
                reason = f"no worker could take over: {error}"
                continue
            worker.ask("reset")
            replies, dead = listen([worker], self._timeout, self._progress)
            for _, reply in replies:
                said += reply.warnings
                if reply.error is not None:
                    raise reply.error[0](reply.error[1])
            if not dead:
                return said
            reason = dead[0][1]

    def _take_over(self, worker: Worker) -> list[tuple[type[Warning], str]]:
        """Start a process in place of a dead one and return its warnings. Raises any error reported from there."""
        with signals_held():
            fresh = start(self._memory, self._build, worker.share._replace(again=True), self._folder)
            worker.share, worker.process, worker.pipe, worker.commands = fresh.share, fresh.process, fresh.pipe, 0
        try:
            greeting = self._greeting(worker)
            if greeting.spec is None or _one_spec([self.spec, greeting.spec]) != self.spec:
                raise BrokenEnvironmentError("its environments differ from those before")
        except BaseException:
            kill(worker)
            raise
        self._tell_spec(worker)
        return greeting.warnings

    def _tell_spec(self, worker: Worker) -> None:
        """Send the layout of the rows in shared memory, the last message before commands."""
        with contextlib.suppress(OSError):  # a dead worker is detected when its answer is awaited
            wire.send(worker.pipe, self.spec)

    def _progress(self, worker: Worker) -> int:
        """Return the active environment of a worker: its timeout starts again whenever this changes."""
        return int(self._shared.turn[worker.share.worker])

    def _blame(self, worker: Worker, faults: Faults, reason: str) -> str:
        """Describe a worker's failure in a sentence. BrokenEnvironmentError if the worker is not to be replaced."""
        last, turn = worker.deaths >= ATTEMPTS, int(faults.turn[0])
        if 0 <= turn < len(faults.seed):  # the worker may have written any value
            return faults.blame(turn, reason, self._restart, last=last)
        what = f"{self._name}: {_which(worker.share, faults)} failed: {reason}"
        if last or not self._restart:
            raise BrokenEnvironmentError(f"{what} ({worker.deaths} times without a completed step)")
        return what

    def _greeting(self, worker: Worker) -> Reply:
        """Return the first reply of a worker, sent once its environments are built. Raises any error reported in it."""
        replies, dead = listen([worker], max(START_SECONDS, self._timeout))
        share = worker.share
        if dead:
            which = f"environments {share.offset + share.begin} to {share.offset + share.end - 1}"
            what = f"{which} (seed {share.seed}) could not be made in their worker: {dead[0][1]}"
            raise BrokenEnvironmentError(what if share.again else f"{what}; {UNGUARDED}")
        reply = replies[0][1]
        if reply.error is not None:
            raise reply.error[0](reply.error[1])
        return reply


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _which(share: Share, faults: Faults) -> str:
    first, seeds = faults.offset, [int(s) for s in faults.seed]
    if len(seeds) == 1:
        return f"environment {first} (seed {seeds[0]})"
    return f"environments {first} to {first + len(seeds) - 1} (seeds {seeds[0]} to {seeds[-1]})"


def _one_spec(specs: list[Spec]) -> Spec:
    """Return the common spec of all workers. UserError if they differ in more than the longest episode."""
    spec, longest = specs[0], [s.max_steps for s in specs]
    if any(s._replace(max_steps=None) != spec._replace(max_steps=None) for s in specs):
        raise UserError(f"{spec.tasks[0]} has different observations or actions in some of its workers")
    known = [x for x in longest if x is not None]
    return spec._replace(max_steps=max(known) if len(known) == len(longest) else None, resumable=False)


def _repeat(said: list[tuple[type[Warning], Any]]) -> None:
    for category, words in said:
        warnings.warn(words, category, stacklevel=4)
