"""``morello eval``: the scores of a run's agent as a table and a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from tyro.conf import Positional

from ...envs.errors import UserError
from ..config.config import EVAL_LIMIT
from ..config.devices import resolve_device
from ..config.load import load
from ..config.ranges import check_range
from ..config.trust import allow_import
from ..storage.files import replace_file
from ..storage.paths import same_directory
from .environments import own_environment
from .evaluate import SEED
from .references import evaluate_agent
from .scores import as_dict
from .table import scores_table

EVALUATION = "evaluation.json"
"""In the run folder."""


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
