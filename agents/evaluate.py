"""Whole episodes, played apart from training, by any policy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from tyro.conf import Positional

from ..envs import make, options_of
from ..envs.errors import UserError
from ..envs.experience import AgentState, Spec, Timestep, VectorEnv, closing
from ..envs.preprocessing import NOTHING
from ..envs.wrappers import unwrapped
from .actor import gumbel
from .agent import Agent
from .files import replace_file
from .load import load
from .model import ActorCritic, Output
from .paths import same_directory
from .presets import EVAL_LIMIT
from .scores import Evaluation, Recorded, Score, as_dict, scores_table
from .settings import PLAY, check_range, environment_options, resolve_device
from .trust import allow_import

EVALUATION = "evaluation.json"
"""In the run folder."""
SEED = 1_000_003
"""Of the environments an evaluation plays in unless told otherwise: far from the seeds people train with."""


class Policy(Protocol):
    """Whatever acts. It is shown every Timestep in turn, so it may remember; ``first`` tells it to forget."""

    def __call__(self, timestep: Timestep) -> Tensor:
        """[B] int64, the actions to take next."""
        ...


class AgentPolicy:
    """A model as a policy: it samples with its own generator, or takes the likeliest action if ``greedy``.

    ``output`` is the model's last answer, T = 1.
    """

    output: Output | None = None

    def __init__(self, model: ActorCritic, num_envs: int, *, seed: int = 0, greedy: bool = False) -> None:
        self.model, self.greedy = model, greedy
        self.state: AgentState = model.initial_state(num_envs)
        self.generator = torch.Generator(self.state.action.device).manual_seed(seed)

    @torch.no_grad()
    def __call__(self, timestep: Timestep) -> Tensor:
        """[B] int64. The model forgets memory, previous action and reward where ``first``."""
        before = self.state._replace(reward=timestep.reward)
        self.output = self.model.act(timestep.observation, timestep.first, before)
        logits = self.output.logits[0]
        if not self.greedy:
            logits = logits + gumbel(tuple(logits.shape), self.generator)
        action = logits.argmax(-1)
        self.state = self.state._replace(memory=self.output.memory, action=action)
        return action


def agent_policy(model: ActorCritic, num_envs: int, *, seed: int = 0, greedy: bool = False) -> AgentPolicy:
    """Act as the model does."""
    return AgentPolicy(model, num_envs, seed=seed, greedy=greedy)


def random_policy(spec: Spec, seed: int = 0) -> Policy:
    """Every action equally likely, whatever is seen."""
    generator = torch.Generator().manual_seed(seed)

    def act(timestep: Timestep) -> Tensor:
        batch, device = timestep.reward.shape, timestep.reward.device
        return torch.randint(spec.num_actions, batch, generator=generator).to(device)

    return act


def batch_size(episodes: int, tasks: int = 1, limit: int = 64) -> int:
    """How many environments to play ``episodes`` in: about ``limit`` at most, every task in as many."""
    rounds = max(1, math.ceil(episodes / limit))
    return max(1, math.ceil(math.ceil(episodes / rounds) / tasks)) * tasks


@torch.no_grad()
def evaluate(
    policy: Policy,
    env: VectorEnv,
    episodes: int,
    *,
    seed: int | None = None,
    limit: int = EVAL_LIMIT,
    each_step: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Play at least ``episodes`` whole episodes in ``env``, whose episodes are begun anew (with ``seed``).

    Each of the B environments plays the same number, ``episodes / B`` rounded up, and only those count:
    taking the first episodes to finish anywhere would favour short ones. An episode in which an environment broke and
    was made anew does not count. Raises UserError where episodes take more than ``limit`` steps on average, if the
    environment has no longer limit of its own. ``each_step`` is called before each step; what it raises ends the
    evaluation.
    """
    if episodes < 1:
        raise UserError(f"an evaluation plays at least 1 episode, not {episodes}")
    rounds = math.ceil(episodes / env.num_envs)
    timestep = env.reset(seed)
    device = timestep.reward.device
    columns = torch.arange(env.num_envs, device=device)
    count = torch.zeros_like(columns)
    running = torch.zeros(2, env.num_envs, dtype=torch.float64, device=device)  # return and length
    played = torch.zeros(5, rounds + 1, env.num_envs, dtype=torch.float64, device=device)  # last row: surplus
    broken = _restarts(env)
    max_steps = rounds * max(limit, (env.spec.max_steps or 0) + 1)
    for steps in range(1, max_steps + 1):
        each_step()
        timestep = env.step(policy(timestep))
        moved = ~timestep.first
        step = torch.stack([timestep.reward, torch.ones_like(timestep.reward)])
        running = torch.where(moved, running + step, 0.0)
        ended = timestep.last & moved
        if (now := _restarts(env)) is not None and broken is not None:
            ended, broken = ended & torch.eq(now, broken).to(device), now
        terminated = ended & (timestep.discount == 0)
        flags = terminated, terminated & (timestep.reward > 0), timestep.task
        row = torch.where(ended, count, rounds).clamp_(max=rounds)
        played[:, row, columns] = torch.stack([*running, *(x.double() for x in flags)])
        count += ended
        # The host waits for the device here. Seldom will do: episodes beyond the last are surplus.
        if (device.type == "cpu" or steps % 16 == 0) and bool((count >= rounds).all()):
            break
    else:
        done, wanted = int(count.clamp(max=rounds).sum()), rounds * env.num_envs
        raise UserError(
            f"only {done} of {wanted} episodes ended in {max_steps:,} steps of each environment: raise the limit of "
            f"{limit:,} steps an episode (--eval-limit of train, --limit of eval), or train with a --time-limit"
        )
    returns, lengths, over, success, task = played[:, :rounds].transpose(1, 2).flatten(1).cpu().numpy()
    return Evaluation(
        returns, lengths.astype(np.int64), over > 0, success > 0, task.astype(np.int64), env.spec.tasks,
        env.spec.success,
    )  # fmt: skip


def _restarts(env: VectorEnv) -> Tensor | None:
    """[B], times each environment was made anew; None for those that never are."""
    count: list[int] | None = getattr(env, "restarts", None)
    return None if count is None else torch.tensor(count)


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
    size = options.get("height"), options.get("width")
    known = agent.spec.observation.get("image")
    if size != (None, None) and known is not None and known[0][:2] != size:
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


@dataclass(frozen=True)
class EvalFlags:
    """Score the agent of a run beside a random policy and, where there is one, the environment's oracle."""

    run: Positional[str]
    """Folder of the run."""
    episodes: int = 100
    """Episodes each of them plays, at least."""
    env: str | None = None
    """Another environment with the same observations and actions; the run's own if not given."""
    greedy: bool = False
    """Take the likeliest action instead of sampling."""
    play_references: bool = False
    """Play random and oracle on the same episodes instead of taking the scores recorded for the environment."""
    limit: int = EVAL_LIMIT
    """Steps an episode may take, on average, where the environment has no longer limit of its own."""
    seed: int = SEED
    """Of the environments and the policies; the episodes begin alike for all."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto is cuda where there is one."""
    trust: bool = False
    """Import the module that the run's environment names (gym:module:Name), without asking."""


def eval_run(flags: EvalFlags, console: Console | None = None) -> int:
    """``morello eval``: print the table and write ``evaluation.json`` into the run folder."""
    check_range("seed", flags.seed)
    check_range("eval_limit", flags.limit)
    path = Path(flags.run).absolute() / EVALUATION  # before there is an environment, which may go elsewhere
    agent = load(flags.run, resolve_device(flags.device))
    name = flags.env or own_environment(agent)
    trust = flags.env is not None or allow_import(flags.run, name, flags.trust)
    console = console or Console()
    with console.status("") as status, same_directory():
        scores = evaluate_agent(
            agent, flags.episodes, env=flags.env, greedy=flags.greedy, seed=flags.seed,
            play_references=flags.play_references, limit=flags.limit, tell=status.update, trust=trust,
        )  # fmt: skip
    facts = {"env": name, "step": agent.step, "greedy": flags.greedy, "seed": flags.seed}
    try:
        replace_file(path, (json.dumps(facts | as_dict(scores), allow_nan=False, indent=1) + "\n").encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    console.width = max(console.width, 100)  # a narrow terminal wraps; it is not to cut numbers
    console.print(scores_table(scores, f"{name} after {agent.step:,} steps"))
    console.print(f"every episode: {path}", style="dim", soft_wrap=True, highlight=False)
    return 0


def evaluate_agent(
    agent: Agent,
    episodes: int = 100,
    *,
    env: str | None = None,
    greedy: bool = False,
    seed: int = SEED,
    play_references: bool = False,
    limit: int = EVAL_LIMIT,
    tell: Callable[[str], None] = lambda text: None,
    trust: bool = False,
) -> dict[str, Score]:
    """Scores of the agent and, to measure them by, of a random policy and of the environment's oracle: as
    recorded for the environment, or on the same episodes as the agent if ``play_references``. Where nothing
    is recorded random is played, and there is no oracle. ``tell`` hears who is playing. For ``trust`` see
    `environment_for`.
    """
    name = env or own_environment(agent)
    spec = agent.spec
    if env is not None:
        with closing(environment_for(agent, name)) as one:
            spec = one.spec
    num_envs = batch_size(episodes, len(spec.tasks))
    with closing(environment_for(agent, env, num_envs, seed, trust=trust)) as world:
        return _scores(agent, world, name, episodes, greedy, seed, play_references, limit, tell)


def _scores(
    agent: Agent, world: VectorEnv, name: str, episodes: int, greedy: bool, seed: int, play_references: bool,
    limit: int, tell: Callable[[str], None],
) -> dict[str, Score]:  # fmt: skip
    num_envs = world.num_envs
    options = environment_options(agent.config, name)
    changed = any(options.get(k, NOTHING[k]) != NOTHING[k] for k in PLAY)
    recorded = {} if play_references or changed else recorded_references(name, world.spec.tasks)
    policies: dict[str, Policy] = {"agent": agent_policy(agent.model, num_envs, seed=seed, greedy=greedy)}
    if "random" not in recorded:
        policies["random"] = random_policy(world.spec, seed)
    if play_references:
        policies["oracle"] = oracle_policy(world, name)
    scores: dict[str, Score] = {}
    for player, policy in policies.items():
        tell(f"{episodes} episodes of {name}: {player}")
        scores[player] = evaluate(policy, world, episodes, seed=seed, limit=limit)
    return scores | recorded


def oracle_policy(env: VectorEnv, name: str = "this environment") -> Policy:
    """The scripted player of an environment. UserError if it has none."""
    from ..envs.labyrinth.labyrinth import Labyrinth
    from ..envs.labyrinth.oracle import Oracle

    inside = unwrapped(env)
    if not isinstance(inside, Labyrinth):
        raise UserError(f"{name} has no oracle; labyrinth's levels have")
    return Oracle(inside).act


def recorded_references(name: str, tasks: tuple[str, ...]) -> dict[str, Recorded]:
    """What "random" play and the "oracle" are known to score; empty where that was not measured."""
    if not name.startswith("labyrinth:"):
        return {}
    from ..envs.labyrinth.levels import recorded_scores

    try:
        known = {task: recorded_scores(task) for task in tasks}
    except KeyError:
        return {}
    return {
        player: Recorded.mixture({task: Recorded(**known[task][player]) for task in tasks})
        for player in ("random", "oracle")
    }
