"""The environment an agent is scored or filmed in."""

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
    agent: Agent, name: str | None = None, num_envs: int = 1, seed: int = SEED, *, render: bool = False,
    trust: bool = False,
) -> VectorEnv:  # fmt: skip
    """The environment an agent was trained in, or the one of that name, on the agent's device; with ``render`` with
    pictures for people, where its family has them.

    UserError if its observations or actions are not those the agent knows, or if making the one it was trained in
    would import a module that the run names and ``trust`` does not allow it.
    """
    if name is None:
        name = own_environment(agent)
        allow_import("the agent", name, trust)
    options = environment_options(agent.config, name)
    size = options.get("frame_size")
    known = agent.spec.observation.get("image")
    if size is not None and known is not None and known[0][:2] != size:
        raise UserError(f"the agent's settings are of images of {list(size)}, and it knows {_played(agent.spec)}")
    if render and "render" in options_of(name):
        options["render"] = True
    env = make(name, num_envs, agent.initial_state(1).action.device, seed, **options)
    theirs, ours = _played(env.spec), _played(agent.spec)
    if theirs != ours:
        raise UserError(f"the agent cannot play {name}: it knows {ours}, and there are {theirs}")
    return env


def own_environment(agent: Agent) -> str:
    """The name of the environment an agent was trained in. UserError where its settings do not say."""
    name = agent.config.get("env")
    if not isinstance(name, str) or not name:
        raise UserError("the agent's settings name no environment: say which with --env")
    return name


def _played(spec: Spec) -> str:
    """Observations and number of actions in words."""
    seen = [f"{name} {list(shape)}" for name, (shape, _) in sorted(spec.observation.items())]
    return f"{' and '.join(seen)} and {spec.num_actions} actions"
