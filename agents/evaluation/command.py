"""``morello eval``: a run's agent is scored; the result is a table and a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta
from rich.console import Console
from tyro.conf import Positional

from ...envs.errors import UserError
from ..config.config import EVAL_LIMIT
from ..config.devices import resolve_device
from ..config.load import load
from ..config.trust import allow_import
from ..config.validation import validated
from ..storage.files import replace_file
from ..storage.paths import same_directory
from .environments import own_environment
from .evaluate import SEED
from .references import evaluate_agent
from .scores import as_dict
from .table import scores_table

EVALUATION = "evaluation.json"
"""File name of the scores in the run folder."""


@dataclass(frozen=True)
class EvalFlags:
    """Score the agent of a run, compared with a random policy and, where there is one, the environment's oracle."""

    run: Positional[str]
    """Folder of the run."""
    episodes: Annotated[int, Meta(ge=1)] = 100
    """Minimum number of episodes each policy plays."""
    env: str | None = None
    """Evaluate in another environment with the same observations and actions. If not given: the run's own."""
    greedy: bool = False
    """Take the most likely action instead of sampling."""
    play_references: bool = False
    """Play the random policy and the oracle on the same episodes instead of using the scores that come with morello."""
    limit: Annotated[int, Meta(ge=1)] = EVAL_LIMIT
    """Give up if episodes take more steps than this on average,
    or than the environment's own time limit if that is longer."""
    seed: Annotated[int, Meta(ge=0, lt=2**62)] = SEED
    """Seed of environments and policies; episodes start identically for all policies."""
    device: str = "auto"
    """Device to evaluate on: cpu, cuda, cuda:1 and so on; auto is cuda where available."""
    trust: bool = False
    """Import the module named by the run's environment (gym:module:Name) without asking."""


def eval_run(flags: EvalFlags, console: Console | None = None) -> int:
    """Evaluate a run, print the table and write ``evaluation.json`` into the run folder."""
    flags = validated(flags)
    path = Path(flags.run).absolute() / EVALUATION  # before building an environment, which may change directory
    agent = load(flags.run, resolve_device(flags.device))
    name = flags.env or own_environment(agent)
    trust = flags.env is not None or allow_import(flags.run, name, flags.trust)
    console = console or Console()
    with console.status("") as status, same_directory():
        scores = evaluate_agent(
            agent,
            flags.episodes,
            env=flags.env,
            greedy=flags.greedy,
            seed=flags.seed,
            play_references=flags.play_references,
            limit=flags.limit,
            tell=status.update,
            trust=trust,
        )
    facts = {"env": name, "step": agent.step, "greedy": flags.greedy, "seed": flags.seed}
    try:
        replace_file(path, (json.dumps(facts | as_dict(scores), allow_nan=False, indent=1) + "\n").encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    console.width = max(console.width, 100)  # on a narrow terminal lines wrap, but numbers are not cut off
    console.print(scores_table(scores, f"{name} after {agent.step:,} steps"))
    console.print(f"every episode: {path}", style="dim", soft_wrap=True, highlight=False)
    return 0
