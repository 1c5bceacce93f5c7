"""Environments in which an agent is evaluated or filmed."""

from __future__ import annotations

from ...envs import make, options_of
from ...envs.errors import UserError
from ...envs.experience import Spec
from ...envs.vector_env import VectorEnv
from ..agent import Agent
from ..config.environment_options import environment_options
from ..config.trust import allow_import
from .evaluate import SEED


def environment_for(
    agent: Agent,
    name: str | None = None,
    num_envs: int = 1,
    seed: int = SEED,
    *,
    render: bool = False,
    trust: bool = False,
) -> VectorEnv:
    """Build the environment an agent was trained in, or the one of the given name, on the agent's device; with
    ``render``, including images for human viewers if the family supports them.

    UserError if its observations or actions do not match the agent's, or if making the training environment would
    import a module that the run names and ``trust`` does not allow it.
    """
    if name is None:
        name = own_environment(agent)
        allow_import("the agent", name, trust)
    options = environment_options(agent.config, name)
    size = options.get("frame_size")
    known = agent.spec.observation.get("image")
    if size is not None and known is not None and known[0][:2] != size:
        raise UserError(f"the agent's settings give images of {list(size)}; it was trained on {_played(agent.spec)}")
    if render and "render" in options_of(name):
        options["render"] = True
    env = make(name, num_envs, agent.initial_state(1).action.device, seed, **options)
    theirs, ours = _played(env.spec), _played(agent.spec)
    if theirs != ours:
        raise UserError(f"the agent cannot play {name}: it was trained on {ours}, not {theirs}")
    return env


def own_environment(agent: Agent) -> str:
    """Return the name of the environment an agent was trained in. UserError if its settings do not contain it."""
    name = agent.config.get("env")
    if not isinstance(name, str) or not name:
        raise UserError("the agent's settings name no environment: give one with --env")
    return name


def _played(spec: Spec) -> str:
    """Describe the observations and the number of actions in words."""
    seen = [f"{name} {list(shape)}" for name, (shape, _) in sorted(spec.observation.items())]
    return f"{' and '.join(seen)} and {spec.num_actions} actions"
