"""Parts of training, each run alone at the same batch size: environment, acting, learning, torso; and training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ...agents.actor import Actor, gumbel
from ...agents.config.build import build, environment
from ...agents.config.config import Config
from ...agents.learner import Learner
from ...agents.model import ActorCritic
from ...envs.experience import AgentState, Rollout
from ...envs.vector_env import VectorEnv
from ..timing import Part


def own_parts(config: Config) -> dict[str, Part]:
    """Return our parts for a resolved config; a call is one rollout of ``unroll`` x ``num_envs`` steps.

    With several CPU threads, the environment is also measured on one. On CUDA a capturable environment, and acting with
    it, run as CUDA graphs, as they do in training.
    """
    _, model, actor, learner = build(config)
    threads = torch.get_num_threads()
    steps = config.unroll * config.num_envs
    # This actor does not collect again, so the rollout that it owns stays unchanged.
    fixed = _actor(config, model).collect()
    graph = model.device.type == "cuda" and actor.env.capturable
    trained = Learner(copy.deepcopy(model), config.learner, config.steps)

    def train() -> None:
        learner.step(actor.collect())

    parts = {}
    if threads > 1 and model.device.type == "cpu":
        call = environment_steps(config, model, 1, graph)
        parts["environment_one_thread"] = Part("random actions, no network, one thread", steps, repeated(call))
    calls = {
        "environment": ("random actions, no network", environment_steps(config, model, threads, graph)),
        "acting": ("network forward and sampling, no environment", acting_steps(model, fixed, graph)),
        "learning": ("learner.step on one rollout", lambda: trained.step(fixed)),
        "torso": ("forward and backward of the torso alone on that rollout", torso_pass(model.encoder, fixed)),
        "training": ("actor.collect and learner.step", train),
    }
    return parts | {name: Part(about, steps, repeated(call), threads) for name, (about, call) in calls.items()}


def repeated(call: Callable[[], object]) -> Callable[[int], None]:
    """Return the ``run`` of a Part, which makes n calls."""

    def run(calls: int) -> None:
        for _ in range(calls):
            call()

    return run


def environment_steps(config: Config, model: ActorCritic, threads: int, graph: bool) -> Callable[[], None]:
    """Return a function that steps through a rollout with pre-sampled random actions, on ``threads`` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)  # environments take as many threads as torch has when they are made
    actor = _actor(config, model)
    torch.set_num_threads(before)
    env: VectorEnv = actor.env
    action = torch.zeros_like(actor.rollout.action)
    generator = torch.Generator(action.device).manual_seed(config.seed)

    rows = [actor.rollout.row(t + 1) for t in range(len(action))]

    def steps() -> None:
        for t, row in enumerate(rows):
            env.step(action[t], out=row)

    once = captured(steps) if graph else steps

    def call() -> None:
        action.random_(env.spec.num_actions, generator=generator)
        once()

    return call


def acting_steps(model: ActorCritic, rollout: Rollout, graph: bool) -> Callable[[], None]:
    """Return a function that does an actor's work between environment steps, for every row of ``rollout``."""
    noise, logits, action = (torch.zeros_like(x) for x in (rollout.logits, rollout.logits, rollout.action))
    generator = torch.Generator(noise.device).manual_seed(0)

    @torch.no_grad()
    def steps() -> None:
        state = rollout.state
        with model.constant():
            for t in range(len(action)):
                out = model.act({k: v[t] for k, v in rollout.observation.items()}, rollout.first[t], state)
                logits[t] = out.logits[0]
                torch.argmax(out.logits[0] + noise[t], dim=-1, out=action[t])
                state = AgentState(out.memory, action[t], rollout.reward[t])

    once = captured(steps) if graph else steps

    def call() -> None:
        noise.copy_(gumbel(tuple(noise.shape), generator))
        once()

    return call


def torso_pass(encoder: nn.Module, rollout: Rollout) -> Callable[[], None]:
    """Return a forward and backward pass of the encoder over all T + 1 rows: the least cost of learning from pixels."""
    encoder = copy.deepcopy(encoder)
    with torch.no_grad():
        direction = torch.randn_like(encoder(rollout.observation)[1])

    def call() -> None:
        encoder.zero_grad(set_to_none=True)
        encoder(rollout.observation)[1].backward(direction)

    return call


def captured(steps: Callable[[], None]) -> Callable[[], None]:
    """Return ``steps`` captured as one CUDA graph, which keeps working on the same tensors."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        steps()
    torch.cuda.current_stream().wait_stream(stream)
    graph: Any = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        steps()

    def replay(_keeps_its_tensors: Callable[[], None] = steps) -> None:
        graph.replay()

    return replay


def _actor(config: Config, model: ActorCritic) -> Actor:
    """Return an actor with its own environment, not captured."""
    return Actor(environment(config, config.num_envs, config.seed), model, config.unroll, seed=config.seed)
