"""``config.json``: the settings of a run and its environment's spec, written and read back."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ...envs.errors import UserError
from ...envs.experience import Spec
from .files import named, replace_file
from .read_json import read_json

CONFIG, CHECKPOINTS = "config.json", "checkpoints"
WHERE = "Runs are folders like runs/<env>/<preset>/<seed>-<time>."
RESTORE = "restore it from a copy"
VALUES = 2**31
"""Maximum number of values in one observation. A larger one is an error or malicious."""
TASKS = 10_000
"""Maximum number of tasks; an evaluation plays every one."""

SPEC = {
    "observation": {str: [Any]},
    "num_actions": int,
    "action_names": [str],
    "tasks": [str],
    "frames_per_step": int,
    "max_steps": (int, None),
    "resumable": bool,
    "success?": [Any],
}
SHAPE = {"spec": SPEC, "env?": str, "preset?": str, "seed?": int}
"""Shape of the file; other settings are checked by their readers (`agents.config.checked`)."""


def read_config(folder: str | Path) -> tuple[dict[str, Any], Spec]:
    """Return the settings of a run, and its environment's spec. UserError if ``folder`` is not a run."""
    path = named(folder) / CONFIG
    try:
        config: dict[str, Any] = read_json(path, SHAPE, f"{RESTORE}, or name a folder that is a run")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{folder} is not a run: it has no {CONFIG}. {WHERE}") from error
    try:
        spec = spec_from_json(config.pop("spec"))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: its 'spec' is not that of an environment; {RESTORE}") from error
    return config, spec


def write_config(folder: Path, config: Mapping[str, Any], spec: Spec) -> None:
    """Write all of the file or nothing."""
    replace_file(folder / CONFIG, as_json({**config, "spec": spec_to_json(spec)}))


def spec_to_json(spec: Spec) -> dict[str, Any]:
    """Convert a spec to JSON, with dtypes as their names."""
    observation = {
        name: [list(shape), str(dtype).removeprefix("torch.")] for name, (shape, dtype) in spec.observation.items()
    }
    return {**spec._asdict(), "observation": observation}


def spec_from_json(data: Mapping[str, Any]) -> Spec:
    """Convert JSON back to a spec. ValueError, KeyError or TypeError if ``data`` is not a spec."""
    observation = {}
    for name, (shape, dtype) in data["observation"].items():
        if not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise ValueError(f"{dtype!r} is not a dtype")
        if not all(isinstance(n, int) and 1 <= n < VALUES for n in shape) or math.prod(shape) > VALUES:
            raise ValueError(f"{shape!r} is not a shape")
        observation[name] = tuple(shape), getattr(torch, dtype)
    names = {key: tuple(data[key]) for key in ("action_names", "tasks")}
    names["success"] = tuple(map(bool, data.get("success", ())))  # missing in runs of earlier versions
    if len(names["success"]) not in (0, len(names["tasks"])):
        raise ValueError(f"{len(names['tasks'])} tasks, and for {len(names['success'])} it is said what success is")
    spec = Spec(**{**data, **names, "observation": observation})
    acts = 1 <= spec.num_actions == len(spec.action_names) and spec.frames_per_step >= 1
    if not (observation and acts and 1 <= len(spec.tasks) <= TASKS):
        raise ValueError("nothing to see, to do or to play")
    return spec


def as_json(data: Any) -> bytes:
    """Format settings as JSON that is also easy for people to read."""
    return (json.dumps(data, indent=2) + "\n").encode()


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Convert OSErrors in the block to UserErrors, since the user can correct their causes."""
    try:
        yield
    except OSError as error:
        where = "" if error.filename is None or str(error.filename) in what else f" ({error.filename})"
        raise UserError(f"{what}: {error.strerror or error}{where}") from error
