"""``morello bench throughput --aux`` and ``--intrinsic``: what each loss or reward costs in training."""

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
from ...agents.config.registered import KINDS
from ...agents.learner import Learner
from ...agents.replay import Replay
from ...auxiliaries import AUXILIARY_LOSSES, INTRINSIC_REWARDS
from ...envs.errors import UserError, suggest
from ..timing import Part
from .stages import repeated

PLAIN = "plain"
"""Name of the part without a loss or reward."""
HALF = " 1:2"
"""Suffix of the name of a loss that replays one step for every two new ones."""
STILL = 1e-30
"""Learning rate that leaves the policy as it is: what a step of the environment costs depends on what agents do."""


def names_of(kind: str, asked: Sequence[str]) -> list[str]:
    """Return the names in ``--aux`` or ``--intrinsic``, where "all" is every one registered; raise UserError for an
    unknown one.
    """
    registry, called = KINDS[kind].registry, KINDS[kind].called
    names = list(registry) if "all" in asked else list(asked)
    for name in names:
        if name not in registry:
            raise UserError(f"Unknown {called} '{name}': {suggest(name, ['all', *registry])}")
    return names


def loss_parts(config: Config, names: Sequence[str]) -> dict[str, Part]:
    """Return the parts: training without a loss, and with each of ``names`` at its default settings.

    All share one model, one actor and one replay. Losses on replayed unrolls have two parts, with as many replayed
    steps as new ones and with half as many.
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
            for _ in range(replay.slots):  # full, as it is except at the beginning of a run
                replay.add(rollout)
        ratios = {name: 1.0, name + HALF: 0.5} if data == "sequence_replay" else {name: 1.0}
        for label, ratio in ratios.items():
            mine = copy.copy(replay) if data != "rollout" else None
            if mine is not None:
                mine.config = dataclasses.replace(mine.config, ratio=ratio)
            learner = Learner(model, config.learner, config.steps, plugins=plugins, replay=mine)
            parts[label] = _part(AUXILIARY_LOSSES[name].paper, steps, actor, learner)
    return parts


def reward_parts(config: Config, names: Sequence[str]) -> dict[str, Part]:
    """Return the parts: training without an intrinsic reward, and with each of ``names`` at its default settings, but
    without warming up. Controls that need what the environment does not tell are left out. Each has environments and a
    model of its own, with a value head for the reward; all policies stay as they are.
    """
    steps = config.unroll * config.num_envs
    config = dataclasses.replace(config, learner=dataclasses.replace(config.learner, learning_rate=STILL))
    _, _, actor, plain = build(config)
    parts = {PLAIN: _part("no intrinsic reward", steps, actor, plain)}
    for name in names:
        kind = INTRINSIC_REWARDS[name]
        if not {*kind.needs} <= actor.rollout.info.keys():
            continue  # a control that this environment cannot have
        own = dataclasses.replace(kind.Config(), weight=1.0, warmup_steps=0)
        _, _, actor, learner = build(dataclasses.replace(config, intrinsic={name: own}))
        parts[name] = _part(kind.paper, steps, actor, learner)
    return parts


def _part(about: str, steps: int, actor: Actor, learner: Learner) -> Part:
    def train() -> None:
        learner.step(actor.collect())

    return Part(about, steps, repeated(train), torch.get_num_threads())


def overheads(parts: Mapping[str, Any]) -> dict[str, float]:
    """Return the relative increase of each part's step time over that of the plain agent."""
    plain = parts[PLAIN]["median"]
    return {name: plain / part["median"] - 1 for name, part in parts.items() if name != PLAIN}


def show(found: Mapping[str, Any], title: str, console: Console) -> None:
    """Print a table with one row per loss or reward."""
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
