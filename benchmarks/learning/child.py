"""The process of one run: ``python -m morello.benchmarks.learning.child JOB``.

It prints lines of JSON, [kind, text]: "progress", "refused" for a mistake of the user, "failed" for a failed run.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...agents.finite import NonFiniteError
from ...envs.errors import BrokenEnvironmentError, UserError
from ...flags import import_files, import_installed
from ..records import write
from .episodes import EpisodeLog
from .process import work_folder
from .settings import OURS, read


def main(job: dict[str, Any], say: Callable[[str, str], None]) -> int:
    """Make the run that ``job`` describes, store it, and return the exit code."""
    try:
        import_files([word for file in job["imports"] for word in ("--import", file)])
        import_installed()
        bench = read(job["words"])
        path = Path(job["path"])
        if work_folder(path.parent.parent, bench.config, bench.preset, job["imports"], bench.own) != path.parent:
            say("failed", "the code has changed since the command began; run it again.")
            return 1
        config = dataclasses.replace(bench.config, seed=job["seed"])

        def tell(steps: int, mean: float | None) -> None:
            said = "" if mean is None else f", return {mean:.1f}"
            say("progress", f"{steps:,} of {config.steps:,} steps{said}")

        log, started = EpisodeLog(config.num_envs, tell), datetime.now(UTC).isoformat(timespec="seconds")
        if job["agent"] == OURS:
            from .ours import train

            train(config, log)
        else:
            from .sb3 import train as train_peer

            train_peer(config, log, bench.own)
    except UserError as error:
        say("refused", str(error))
        return 2
    except (NonFiniteError, BrokenEnvironmentError) as error:
        say("failed", str(error))
        return 1
    write(path, log.result() | {"started": started})
    return 0


def to_parent() -> Callable[[str, str], None]:
    """Return a function that sends a line to the parent; whatever else is printed goes to standard error."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(kind: str, text: str) -> None:
        print(json.dumps([kind, text]), file=pipe, flush=True)  # without a parent this ends the process

    return say


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), to_parent()))
