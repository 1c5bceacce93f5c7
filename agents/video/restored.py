"""Losses and rewards of a run as they were in training, to be shown in a film."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...auxiliaries import Auxiliary
from ...envs.errors import UserError
from ..agent import Agent
from ..config.auxiliaries import auxiliary_of
from ..config.load import MISFITS, in_short, refuse_other_shapes, shapes_of
from ..config.registered import KINDS
from ..config.saved import from_saved
from ..learner_config import LearnerConfig
from ..storage import checkpoint
from ..storage.config_file import CHECKPOINTS


def settings_of(agent: Agent, kind: str) -> dict[str, Any]:
    """Return the saved settings of a run's losses ("aux") or rewards ("intrinsic") that are registered here, by name.
    Their weights may be 0.
    """
    saved = agent.config.get(kind, {})
    return {k: v for k, v in saved.items() if k in KINDS[kind].registry} if isinstance(saved, dict) else {}


def restored(kind: str, name: str, agent: Agent, run: Path) -> Auxiliary:
    """Build a loss or reward as in training, with its weights from the newest checkpoint, or raise UserError."""
    word, registry = KINDS[kind].word, KINDS[kind].registry
    weights = weights_of(name, run)
    own = from_saved(run, registry[name].Config, settings_of(agent, kind)[name], f"{kind}.{name}.")
    learner = from_saved(run, LearnerConfig, agent.config.get("learner"))

    def build() -> Auxiliary:
        fitted = own.fitted(agent.config.get("unroll", 1))
        module = auxiliary_of(kind, name, fitted, learner, agent.config.get("seed", 0), agent.spec, agent.model.sizes)
        module.attach(agent.model.encoder)
        return module

    try:
        refuse_other_shapes(build, shapes_of(weights))
        module = build()
        module.load_state_dict(weights)
    except MISFITS as error:
        what = in_short(error).rstrip(".")
        raise UserError(f"the {word} '{name}' in {run} does not match the current one: {what}.") from error
    return module.to(agent.model.device).eval().requires_grad_(False)


def weights_of(name: str, run: Path) -> Any:
    """Return what the newest checkpoint holds of a plugin. UserError if there is no checkpoint."""
    found = checkpoint.load(run / CHECKPOINTS, part=("learner", "plugins", name))
    if found is None:
        raise UserError(f"{run} has no checkpoints")
    return found[1]
