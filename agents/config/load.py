"""The agent of a run folder, ready to act."""

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
"""Where a checkpoint has the agent's weights."""
MISFITS = (RuntimeError, KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError)
"""What building a network of impossible settings, or loading weights of another one, raises."""


def load(run: str | Path, device: str | torch.device = "cpu") -> Agent:
    """The agent of a run folder, with the weights of its newest good checkpoint.

    Nothing that the folder names is imported or run. UserError for a folder that holds no agent.
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
        raise UserError(f"the checkpoint in {run} is of another network than its {CONFIG}: {why}") from error
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {str(device)!r} is not usable here: {str(error).splitlines()[0]}") from error
    return Agent(model, spec, config, step)


def refuse_other_shapes(build: Callable[[], nn.Module], saved: Mapping[Any, tuple[int, ...]]) -> None:
    """ValueError unless what ``build`` makes has weights of just these names and shapes. It is made without memory, so
    that a folder cannot ask for more of it than its checkpoint holds; what cannot be made so is not compared.
    """
    try:
        with torch.device("meta"):
            wanted = shapes_of(build().state_dict())
    except NotImplementedError:  # somebody's own loss, which reads numbers while it is built
        return
    for name in [*wanted, *saved]:
        if wanted.get(name) != saved.get(name):
            raise ValueError(f"'{name}' is {_said(saved.get(name))} there, and would be {_said(wanted.get(name))}")


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """By name. TypeError for what holds no tensors."""
    if not (isinstance(weights, Mapping) and all(isinstance(v, Tensor) for v in weights.values())):
        raise TypeError("it holds no weights")
    return {name: tuple(v.shape) for name, v in weights.items()}


def refuse_other_sizes(run: Path) -> None:
    """UserError, before anything of that size is built, if the settings of a run are not those that its newest
    checkpoint was made with.
    """
    saved = heads_by_name(checkpoint.shapes(run / CHECKPOINTS, MODEL))
    rows = checkpoint.shapes(run / CHECKPOINTS, ("actor", "row"))
    if not saved:
        return
    config, spec = read_checked(run)
    try:
        if other := [shape[0] for shape in rows.values() if shape and shape[0] != config["num_envs"]]:
            raise ValueError(f"it is of {other[0]} environments, and they would be {config['num_envs']}")
        refuse_other_shapes(lambda: _network(config, spec, saved), saved)
    except MISFITS as error:
        raise UserError(
            f"{run} cannot go on: its checkpoint is of another network than its {CONFIG}: {in_short(error)}"
        ) from error


def in_short(error: Exception) -> str:
    """What an error says, without line breaks, at a readable length."""
    return " ".join(str(error).split())[:300]


def _said(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(list(shape))


def _network(config: Mapping[str, Any], spec: Spec, weights: Mapping[str, Any]) -> ActorCritic:
    """The untrained network of a run; its value heads are those of the weights."""
    return ActorCritic(
        spec,
        torso=config.get("torso", "auto"),
        memory=config["memory"],
        memory_size=config["memory_size"],
        streams=[k.split(".")[1] for k in weights if re.fullmatch(r"values\.[^.]+\.weight", k)],
        bfloat16=config.get("bfloat16", config.get("dtype") == "bfloat16"),
    )
