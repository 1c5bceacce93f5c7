"""Acting: the only place that steps environments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..auxiliaries.generators import set_state
from ..envs.experience import AgentState, Rollout, Timestep
from ..envs.processes.alternating import part_of
from ..envs.rows import empty_rollout
from ..envs.trees import tree_map
from ..envs.vector_env import VectorEnv
from .model import ActorCritic


def gumbel(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Sample Gumbel noise, -log(-log u): ``argmax(logits + gumbel)`` samples softmax(logits) (Gumbel 1954)."""
    uniform = torch.rand(shape, generator=generator, device=generator.device)
    # rand is in [0, 1): the smallest positive float keeps both logarithms finite.
    return -torch.log(-torch.log(uniform.clamp_(min=torch.finfo(torch.float32).tiny)))


@contextmanager
def cores_left_to_simulators() -> Iterator[None]:
    """Let torch use half of its threads in this context, in which simulators work at the same time: its threads wait
    for each other after every operation, and thus for whatever else runs on the core of one of them. A thread of Python
    that first uses torch meanwhile keeps that number.
    """
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(max(1, threads // 2))
        yield
    finally:
        torch.set_num_threads(threads)


class Row(NamedTuple):
    """The memory of one step of a part of the environments, in the rollout: views."""

    observation: dict[str, Tensor]
    first: Tensor
    skill: Tensor | None
    noise: Tensor
    logits: Tensor
    action: Tensor
    reward: Tensor
    answer: Timestep  # the next row, which the environment writes


class Actor:
    """Collects rollouts of ``unroll`` steps from one vector environment with the model's current weights.

    The rollout is one preallocated buffer that is reused for every call: its contents are valid until the learner has
    stepped. Noise for the whole rollout is drawn in advance from the actor's own generator, so that the steps
    themselves are deterministic and, on CUDA with a capturable environment, form a single CUDA graph. For an
    environment in two parts (`Alternating`), one part is simulated while the model acts in the other.

    ``keep``: the model's encoder keeps what it computes, on a CPU, for the learner that next unrolls this rollout with
    the same weights; where weights differ it costs memory and gains nothing.
    """

    def __init__(
        self,
        env: VectorEnv,
        model: ActorCritic,
        unroll: int,
        seed: int = 0,
        source: int = 0,
        graph: bool = False,
        keep: bool = False,
    ) -> None:
        self.env, self.model, self.keep = env, model, keep
        device = model.device
        self.generator = torch.Generator(device).manual_seed(seed)
        timestep = env.reset()
        # The state after the last row; the rollout's own state, before row 0, is copied from it.
        self.state = model.initial_state(env.num_envs)
        begin = tree_map(torch.clone, self.state)
        self.rollout = empty_rollout(env.spec, timestep, unroll, begin, model.skill)._replace(source=source)
        self.noise = torch.zeros_like(self.rollout.logits)
        self._parts = [(columns, pool, self._rows(columns)) for columns, pool in env.parts]
        for mine, theirs in zip(self._end(), self._begin(timestep), strict=True):
            mine.copy_(theirs)
        self.seconds = {"environment": 0.0, "acting": 0.0}
        self.check: Callable[[], None] = lambda: None  # called before each step; an exception ends the rollout
        self._graph: Any = torch.cuda.CUDAGraph() if graph else None
        self._captured = False

    def _rows(self, columns: slice) -> list[Row]:
        """Return the memory of every step, for the environments ``columns``."""
        r = self.rollout
        return [
            Row(
                observation={k: v[t, columns] for k, v in r.observation.items()},
                first=r.first[t, columns],
                skill=r.skill[t, columns] if self.model.skill else None,
                noise=self.noise[t, columns],
                logits=r.logits[t, columns],
                action=r.action[t, columns],
                reward=r.reward[t, columns],
                answer=part_of(r.row(t + 1), columns),
            )
            for t in range(len(r.action))
        ]

    def _end(self) -> list[Tensor]:
        """Return the tensors of row T, where the next rollout begins."""
        r = self.rollout
        return [x[-1] for x in (*r.observation.values(), r.first, r.last, r.task, *r.info.values())]

    @staticmethod
    def _begin(step: Any) -> list[Tensor]:
        return [*step.observation.values(), step.first, step.last, step.task, *step.info.values()]

    def collect(self) -> Rollout:
        """Collect the next T steps; ``rollout.sequence`` counts the calls."""
        r = self.rollout
        self.noise.copy_(gumbel(tuple(self.noise.shape), self.generator))
        if self._graph is None:
            kept = self.model.encoder.keeping(r.observation) if self.keep else nullcontext()
            alternate = len(self._parts) > 1 and self.model.device.type == "cpu"
            with self.model.constant(), kept, cores_left_to_simulators() if alternate else nullcontext():
                self._steps()
        else:
            if not self._captured:
                self._capture()
            self._graph.replay()
        self.rollout = r._replace(sequence=r.sequence + 1)
        return r

    @torch.no_grad()
    def _steps(self) -> None:
        r, clock = self.rollout, time.perf_counter
        for x in (*r.observation.values(), r.first, r.last, r.task, *r.info.values()):
            x[0].copy_(x[-1])
        tree_map(Tensor.copy_, r.state, self.state)
        states = [tree_map(lambda x, columns=columns: x[columns], self.state) for columns, *_ in self._parts]
        for t in range(len(r.action)):
            self.check()
            for i, (_, pool, rows) in enumerate(self._parts):
                if t > 0:
                    self._receive(pool, rows[t - 1].answer)
                before, row = clock(), rows[t]
                out = self.model.act(row.observation, row.first, states[i], row.skill)
                row.logits.copy_(out.logits[0])
                torch.argmax(out.logits[0] + row.noise, dim=-1, out=row.action)
                pool.send(row.action)
                # The reward arrives later, but before this state is read.
                states[i] = AgentState(out.memory, row.action, row.reward)
                self.seconds["acting"] += clock() - before
        for (columns, pool, rows), state in zip(self._parts, states, strict=True):
            self._receive(pool, rows[-1].answer)
            tree_map(lambda x, y, columns=columns: x[columns].copy_(y), self.state, state)

    def _receive(self, pool: Any, row: Timestep) -> None:
        before = time.perf_counter()
        pool.recv(row)
        self.seconds["environment"] += time.perf_counter() - before

    def _capture(self) -> None:
        """Record the T steps as one CUDA graph. Warm-up and capture both step the environment, whose state is restored
        afterwards.
        """
        env, state = (tree_map(torch.clone, x) for x in (self.env.state_dict(), self.state))
        end = [x.clone() for x in self._end()]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._steps()
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(self._graph):
            self._steps()
        self.env.load_state_dict(env)
        tree_map(Tensor.copy_, self.state, state)
        for x, y in zip(self._end(), end, strict=True):
            x.copy_(y)
        self._captured = True

    def state_dict(self) -> dict[str, Any]:
        """Return row T, the agent's state after it, the generator and the rollout count. Together with the
        environment's own state this is everything the actor needs to continue.
        """
        return {
            "row": dict(enumerate(self._end())),
            "state": self.state,
            "generator": self.generator.get_state(),
            "sequence": torch.tensor(self.rollout.sequence),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict``; the environment is loaded separately."""
        for i, x in enumerate(self._end()):
            x.copy_(state["row"][i])
        tree_map(Tensor.copy_, self.state, state["state"])
        self._go_on(state)

    def begin_anew(self, state: dict[str, Any], seed: int) -> None:
        """Begin new episodes with ``seed``, but keep the noise of ``state_dict``. For use when the environment's state
        is lost: its first seed would repeat its first episodes. One sequence number is skipped, which tells the
        memories of intrinsic rewards that their contents are no longer valid.
        """
        for mine, theirs in zip(self._end(), self._begin(self.env.reset(seed)), strict=True):
            mine.copy_(theirs)
        self._go_on(state | {"sequence": state["sequence"] + 1})

    def _go_on(self, state: dict[str, Any]) -> None:
        if not set_state(self.generator, state["generator"]):
            self.generator.manual_seed(self.generator.initial_seed() + int(state["sequence"]))
        self.rollout = self.rollout._replace(sequence=int(state["sequence"]))
