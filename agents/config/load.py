"""Loading of the trained agent of a run folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...envs.errors import UserError
from ...envs.experience import Spec
from ..agent import Agent
from ..model import ActorCritic, heads_by_name
from ..storage import checkpoint
from ..storage.config_file import CHECKPOINTS, CONFIG
from .checked import read_checked

MODEL = ("learner", "model")
"""Path of the agent's weights in a checkpoint."""
MISFITS = (RuntimeError, KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError)
"""Errors raised when a network is built from impossible settings, or weights of another network are loaded."""


def load(run: str | Path, device: str | torch.device = "cpu") -> Agent:
    """Load the agent of a run folder, with the weights of its newest intact checkpoint.

    No code that the folder names is imported or run. UserError for a folder that holds no agent.
    """
    config, spec = read_checked(run)
    found = checkpoint.load(Path(run) / CHECKPOINTS, part=MODEL)
    if found is None:
        raise UserError(f"{run} has no checkpoint yet")
    step, weights = found
    try:
        shapes = shapes_of(weights)
        weights = heads_by_name(weights)
        refuse_other_shapes(lambda: _network(config, spec, weights), heads_by_name(shapes))
        model = _network(config, spec, weights)
        model.load_state_dict(weights)
    except MISFITS as error:
        why = in_short(error)
        raise UserError(f"the checkpoint in {run} belongs to another network than its {CONFIG}: {why}") from error
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {str(device)!r} is not usable here: {str(error).splitlines()[0]}") from error
    return Agent(model, spec, config, step)


def refuse_other_shapes(build: Callable[[], nn.Module], saved: Mapping[Any, tuple[int, ...]]) -> None:
    """Raise ValueError unless the module that ``build`` makes has weights of exactly these names and shapes. The module
    is built on the meta device, so that a folder cannot demand more memory than its checkpoint occupies; modules that
    cannot be built there are not compared.
    """
    try:
        with torch.device("meta"):
            wanted = shapes_of(build().state_dict())
    except NotImplementedError:  # a user's loss that reads tensor values while it is built
        return
    for name in [*wanted, *saved]:
        if wanted.get(name) != saved.get(name):
            raise ValueError(f"'{name}' is {_said(saved.get(name))} there, not {_said(wanted.get(name))}")


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of tensors by name. TypeError if there are no tensors."""
    if not (isinstance(weights, Mapping) and all(isinstance(v, Tensor) for v in weights.values())):
        raise TypeError("it holds no weights")
    return {name: tuple(v.shape) for name, v in weights.items()}


def refuse_other_sizes(run: Path) -> None:
    """Raise UserError, before anything large is built, if the settings of a run do not match its newest checkpoint."""
    saved = heads_by_name(checkpoint.shapes(run / CHECKPOINTS, MODEL))
    rows = checkpoint.shapes(run / CHECKPOINTS, ("actor", "row"))
    if not saved:
        return
    config, spec = read_checked(run)
    try:
        if other := [shape[0] for shape in rows.values() if shape and shape[0] != config["num_envs"]]:
            raise ValueError(f"it has {other[0]} environments, not {config['num_envs']}")
        refuse_other_shapes(lambda: _network(config, spec, saved), saved)
    except MISFITS as error:
        raise UserError(
            f"{run} cannot go on: its checkpoint belongs to another network than its {CONFIG}: {in_short(error)}"
        ) from error


def in_short(error: Exception) -> str:
    """Return an error's message without line breaks, shortened to a readable length."""
    return " ".join(str(error).split())[:300]


def _said(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(list(shape))


def _network(config: Mapping[str, Any], spec: Spec, weights: Mapping[str, Any]) -> ActorCritic:
    """Build the untrained network of a run, with the value heads found in its weights."""
    return ActorCritic(
        spec,
        torso=config.get("torso", "auto"),
        memory=config["memory"],
        memory_size=config["memory_size"],
        streams=[k.split(".")[1] for k in weights if re.fullmatch(r"values\.[^.]+\.weight", k)],
        bfloat16=config.get("bfloat16", config.get("dtype") == "bfloat16"),
    )
