"""``morello bench throughput --aux``: what each auxiliary loss costs in training, beside the agent without one."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ...agents.actor import Actor
from ...agents.config.auxiliaries import auxiliaries_of
from ...agents.config.build import build
from ...agents.config.config import Config
from ...agents.learner import Learner
from ...agents.replay import Replay
from ...auxiliaries import AUXILIARY_LOSSES
from ...envs.errors import UserError, suggest
from ..timing import Part
from .stages import repeated

PLAIN = "plain"
"""The part without a loss."""
HALF = " 1:2"
"""After the name of a loss that replays one step for each two fresh ones."""


def names_of(asked: Sequence[str]) -> list[str]:
    """The losses that ``--aux`` names; "all" is every one. UserError for one that there is not."""
    names = list(AUXILIARY_LOSSES) if "all" in asked else list(asked)
    for name in names:
        if name not in AUXILIARY_LOSSES:
            raise UserError(f"Unknown auxiliary loss '{name}': {suggest(name, ['all', *AUXILIARY_LOSSES])}")
    return names


def loss_parts(config: Config, names: Sequence[str]) -> dict[str, Part]:
    """Training, without a loss and with each of ``names`` at its default settings: one model, one actor and one replay
    for all. Losses on replayed unrolls are there twice, with as many replayed steps as fresh ones and with half.
    """
    _, model, actor, plain = build(config)
    steps = config.unroll * config.num_envs
    parts = {PLAIN: _part("no auxiliary loss", steps, actor, plain)}
    replay: Replay | None = None
    for name in names:
        own = dataclasses.replace(AUXILIARY_LOSSES[name].Config(), weight=1.0)
        plugins = auxiliaries_of(dataclasses.replace(config, aux={name: own}), actor.env.spec, model.sizes)
        data = getattr(plugins[name], "data", "rollout")
        if data != "rollout" and replay is None:
            replay = Replay(actor.rollout, config.replay, config.seed)
            rollout = actor.collect()
            for _ in range(replay.slots):  # as it is in all but the beginning of a run
                replay.add(rollout)
        ratios = {name: 1.0, name + HALF: 0.5} if data == "sequence_replay" else {name: 1.0}
        for label, ratio in ratios.items():
            mine = copy.copy(replay) if data != "rollout" else None
            if mine is not None:
                mine.config = dataclasses.replace(mine.config, ratio=ratio)
            learner = Learner(model, config.learner, config.steps, plugins=plugins, replay=mine)
            parts[label] = _part(AUXILIARY_LOSSES[name].paper, steps, actor, learner)
    return parts


def _part(about: str, steps: int, actor: Actor, learner: Learner) -> Part:
    def train() -> None:
        learner.step(actor.collect())

    return Part(about, steps, repeated(train), torch.get_num_threads())


def overheads(parts: Mapping[str, Any]) -> dict[str, float]:
    """Of each part, how much longer than the plain agent's its step takes, as a share of that."""
    plain = parts[PLAIN]["median"]
    return {name: plain / part["median"] - 1 for name, part in parts.items() if name != PLAIN}


def show(found: Mapping[str, Any], title: str, console: Console) -> None:
    """A row a loss."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, expand=True)
    table.add_column("training with", no_wrap=True)
    for column in ("steps/s", "spread", "overhead"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("what it does", style="dim", no_wrap=True, overflow="ellipsis", ratio=1)
    for name, part in found["parts"].items():
        share = found["overhead"].get(name)
        cells = f"{part['median']:,.0f}", f"{part['spread']:.0%}", "" if share is None else f"{share:.0%}"
        table.add_row(name, *cells, part["about"])
    console.print(table)
