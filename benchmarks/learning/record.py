"""Record of the benchmark as plain JSON, and its table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .curve import Curve, Over, moving_average, over_seeds, reached, thinned
from .peers import described, differences
from .settings import OURS, PEER, Bench

NEVER = "never"
DEFINITION = (
    "The training return at a step is the mean return of the episodes that ended in the last {window} steps, for every "
    "agent alike, from the first full window on. A step is one valid step of one environment. Seconds are wall-clock, "
    "from the first step of the environments on, and interpolated by step between updates. A return is reached at the "
    "first step at which the training return is at least as high. Medians are over all seeds; a seed that does not "
    "reach a return takes for ever."
)


def curves(bench: Bench, found: Mapping[tuple[str, int], dict[str, Any]]) -> dict[str, list[Curve]]:
    """Return the curves of each agent, by seed."""
    made: dict[str, list[Curve]] = {agent: [] for agent in bench.agents}
    for (agent, _), run in found.items():
        made[agent].append(moving_average(run, bench.flags.window))
    return made


def record(bench: Bench, found: Mapping[tuple[str, int], dict[str, Any]]) -> dict[str, Any]:
    """Return settings, curves and thresholds of finished runs, by agent and seed."""
    drawn = curves(bench, found)
    runs = {agent: [run for (who, _), run in found.items() if who == agent] for agent in bench.agents}
    seeds = [seed for who, seed in found if who == OURS]
    return {
        "definition": DEFINITION.format(window=f"{bench.flags.window:,}"),
        "env": bench.config.env,
        "preset": bench.preset,
        "window": bench.flags.window,
        "settings": {
            OURS: dataclasses.asdict(bench.config),
            **({PEER: described(bench.config, bench.own)} if PEER in bench.agents else {}),
        },
        "differences": differences(bench.config) if PEER in bench.agents else [],
        "returns": [_threshold(goal, drawn) for goal in bench.flags.returns],
        "runs": {
            agent: [
                {
                    "seed": seed,
                    "started": run["started"],
                    "steps": run["steps"],
                    "took_seconds": run["took_seconds"],
                    "took_cpu_seconds": run["took_cpu_seconds"],
                    "episodes": len(run["return"]),
                    "reached": [_plain_pair(reached(curve, goal)) for goal in bench.flags.returns],
                    "curve": {k: [round(float(x), 4) for x in v] for k, v in thinned(curve)._asdict().items()},
                }
                for seed, run, curve in zip(seeds, runs[agent], drawn[agent], strict=True)
            ]
            for agent in bench.agents
        },
    }


def _threshold(goal: float, drawn: Mapping[str, Sequence[Curve]]) -> dict[str, Any]:
    """Return steps and seconds to a return, by agent, and the ratios of the peer's medians to ours."""
    entry: dict[str, Any] = {"return": goal}
    for agent, its in drawn.items():
        pairs = [reached(curve, goal) for curve in its]
        entry[agent] = {
            "reached": sum(pair is not None for pair in pairs),
            "seeds": len(pairs),
            "steps": _plain(over_seeds([pair and pair[0] for pair in pairs])),
            "seconds": _plain(over_seeds([pair and pair[1] for pair in pairs])),
        }
    if PEER in entry:
        ours, theirs = ({k: entry[agent][k]["median"] for k in ("steps", "seconds")} for agent in (OURS, PEER))
        entry["peer_over_ours"] = {k: theirs[k] / ours[k] if theirs[k] and ours[k] else None for k in ours}
    return entry


def _plain(over: Over) -> dict[str, float | None]:
    return {k: x if math.isfinite(x) else None for k, x in over._asdict().items()}


def _plain_pair(pair: tuple[float, float] | None) -> dict[str, float] | None:
    return pair and {"steps": pair[0], "seconds": pair[1]}


def show(made: Mapping[str, Any], console: Console) -> None:
    """Print the thresholds as a table, and below it the speed and the last training return of each agent."""
    agents = list(made["runs"])
    title = f"{made['env']}, {made['preset']}: steps and seconds to a training return, median (range) of seeds"
    table = Table(box=SIMPLE_HEAD)
    table.add_column("return", justify="right")
    for what in ("steps", "seconds"):
        for agent in agents:
            table.add_column(f"{what},\n{agent}", justify="right", no_wrap=True)
        if PEER in agents:
            table.add_column("peer /\nours", justify="right", no_wrap=True)
    for entry in made["returns"]:
        cells = []
        for what in ("steps", "seconds"):
            cells += [_cell(entry[agent], what) for agent in agents]
            if PEER in agents:
                ratio = entry["peer_over_ours"][what]
                cells.append("-" if ratio is None else f"{ratio:.2f}")
        table.add_row(f"{entry['return']:g}", *cells)
    if made["returns"]:
        console.print(Text(title, style="bold"), soft_wrap=True)
        console.print(table)
    for agent in agents:
        name = f"{agent} ({made['settings'][agent]['name']})" if agent == PEER else f"{agent} ({made['preset']})"
        speed, cpu_speed = (
            over_seeds([run["steps"] / run[took] for run in made["runs"][agent]]).median
            for took in ("took_seconds", "took_cpu_seconds")
        )
        ends = [run["curve"]["mean"][-1] for run in made["runs"][agent] if run["curve"]["mean"]]
        last = ", ".join(f"{x:.1f}" for x in ends) or "no episode ended after the first window"
        said = f"{name}: {speed:,.0f} steps/s, {cpu_speed:,.0f} steps per CPU second; last training return {last}"
        console.print(Text(said), soft_wrap=True)


def _cell(entry: Mapping[str, Any], what: str) -> str:
    """Return median and range of one agent, such as "88,064 (86,400 - never)"."""
    median, low, high = (NEVER if x is None else f"{x:,.0f}" for x in entry[what].values())
    return median if low == high else f"{median} ({low} - {high})"
