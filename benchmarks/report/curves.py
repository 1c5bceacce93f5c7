"""``morello bench curves RUN...``: a permanent record of finished runs of one environment, with a figure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tyro.conf import Positional

from ...agents.config.checked import read_checked
from ...agents.evaluation.command import EVALUATION
from ...agents.evaluation.references import recorded_references
from ...agents.storage.files import named, replace_file
from ...agents.storage.provenance import PROVENANCE, read_provenance
from ...agents.storage.read_json import NUMBER, read_json
from ...agents.storage.table import read_runs
from ...envs.errors import UserError
from ...flags import parse
from ..picture import blank, save
from ..records import output_folder, written
from . import side_by_side
from .smoothing import RETURN, Floats, drawn, margin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = (
    "step",
    "valid_steps",
    "episodes",
    "window_episodes",
    "episode_return",
    "episode_return_std",
    "success",
    "episode_length",
    "entropy",
    "explore/cells_per_episode",
    "explore/cells",
    "explore/visit_entropy",
)
SCORE = {"mean": float, "low": float, "high": float, "episodes": int}
EVALUATED = {"agent": SCORE, "random": SCORE, "oracle?": SCORE}
"""Fields that the record and its figure read from ``evaluation.json``."""
SHARE = "/gradient_share"
"""Suffix of the columns with each loss's share of the encoder's gradient."""
PER_SEED = {"run", "seed", "resume", "quiet", "device", "spec"}
"""Settings that may differ between the runs of one record."""


@dataclass(frozen=True)
class CurvesFlags:
    """Write learning-<environment>-<preset>.json and .png: curves, settings, commits, hardware, reference scores, and
    the results of ``morello eval``. Given several such records instead of runs, draw learning-<environment>.png.
    The name of a picture ends in that of its --measure, if that is not the return.
    """

    runs: Positional[tuple[str, ...]]
    """Folders of finished runs of one environment, with the same settings and different seeds; or .json records."""
    measure: str = RETURN
    """What the figure shows over steps: a column of the record, such as success or explore/cells_per_episode."""
    out: str = "benchmarks/results"
    """Folder in which the record is written."""


def main(words: list[str]) -> int:
    """Collect, draw and write the record; raise UserError if the runs are not seeds of one experiment."""
    flags = parse(CurvesFlags, words, "morello bench curves")
    paths, folder = [named(run) for run in flags.runs], output_folder(str(named(flags.out)))
    shown = "" if flags.measure == RETURN else f"-{flags.measure.replace('/', '-')}"
    if paths and all(path.suffix == ".json" for path in paths):
        records = side_by_side.of_one_environment(side_by_side.read(paths, flags.measure))
        picture = folder / f"{_name(next(iter(records.values()))['env'])}{shown}.png"
        with written(picture):
            side_by_side.draw(records, picture, flags.measure)
        print(f"{picture}: {'; '.join(records)}")
        return 0
    record = collect(paths)
    side_by_side.check(record, flags.measure)
    name = f"{_name(record['env'])}-{record['preset']}"
    with written(folder / name):
        replace_file(folder / f"{name}.json", (json.dumps(record, indent=1) + "\n").encode())
        draw(record, folder / f"{name}{shown}.png", flags.measure)
    print(f"{folder / name}.json and {name}{shown}.png: {len(record['seeds'])} runs")
    label = side_by_side.label(flags.measure)
    for seed in record["seeds"]:
        print(f"  seed {seed['seed']}: last {label} {drawn(seed['curve'], flags.measure)[1][-1]:.2f}{_evaluated(seed)}")
    return 0


def collect(folders: list[Path]) -> dict[str, Any]:
    """Return the record of the runs in ``folders`` as plain JSON."""
    if not folders:
        raise UserError("Name the folders of the runs: morello bench curves runs/a runs/b.")
    shared: dict[str, Any] = {}
    seeds = []
    for folder in folders:
        config, spec = read_checked(folder)
        for name in ("env", "preset", "seed"):
            if name not in config:
                raise UserError(f"The settings of {folder} lack '{name}': this is not a run of morello train.")
        settings = {k: v for k, v in config.items() if k not in PER_SEED}
        for name, value in settings.items():
            if shared and value != shared.get(name):
                other = f"{folders[0]} has {shared.get(name)}"
                raise UserError(f"{folder} has {name} = {value}, {other}: these are not seeds of one experiment.")
        shared = settings
        table = _numbers(folder, spec.tasks)
        if "episode_return" not in table or np.isnan(table["episode_return"]).all():
            raise UserError(f"No episode ended in {folder}, or not one in each environment: there is no curve to keep.")
        # There is no return until every environment has ended an episode.
        ended = ~np.isnan(table["episode_return"])
        first = _first_start(folder)
        code = first["git"].get("morello")  # None where morello was installed without its git history
        seeds.append(
            {
                "seed": config["seed"],
                "commit": code and code["commit"],
                "hardware": first["hardware"],
                "versions": first["versions"],
                "seconds": float(table["time/seconds"][-1]),
                "curve": {k: _plain(v[ended]) for k, v in table.items() if _kept(k, spec.tasks)},
                "evaluation": evaluation(folder, config["env"], int(table["step"][-1])),
            }
        )
    known = recorded_references(shared["env"], spec.tasks)
    references = {name: {"mean": r.mean, "interval": list(r.interval)} for name, r in known.items()}
    return {
        "env": shared.pop("env"),
        "preset": shared.pop("preset"),
        "settings": shared,
        "references": references,
        "seeds": sorted(seeds, key=lambda s: s["seed"]),
    }


def _kept(column: str, tasks: tuple[str, ...]) -> bool:
    """Return whether a column of metrics is kept: one of `COLUMNS`, for all tasks or one, or a gradient share."""
    name, _, task = column.partition("/")
    return column in COLUMNS or (name in COLUMNS and task in tasks) or column.endswith(SHARE)


def _numbers(folder: Path, tasks: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Return the columns of a run that a record may keep; raise UserError if they hold anything but numbers."""
    table = read_runs(folder)
    kept = {k: v for k, v in table.items() if _kept(k, tasks) or k == "time/seconds"}
    for name, column in kept.items():
        if column.dtype.kind not in "if" or not (np.isnan(column) | (np.abs(column) < NUMBER)).all():
            raise UserError(f"The metrics of {folder} are damaged: {name} is no number everywhere.")
    for name in ("step", "time/seconds"):
        if "episode_return" in kept and (name not in kept or np.isnan(kept[name]).any()):
            raise UserError(f"The metrics of {folder} are damaged: {name} is missing.")
    return kept


def _first_start(folder: Path) -> dict[str, Any]:
    """Return the provenance of a run's first start."""
    path = folder / PROVENANCE
    starts = read_provenance(path)["starts"]
    if not starts or not starts[0].keys() >= {"git", "hardware", "versions"}:
        raise UserError(f"{path} does not say how the run was begun: restore it from a copy.")
    first: dict[str, Any] = starts[0]
    return first


def evaluation(folder: Path, env: str, step: int) -> dict[str, Any]:
    """Return the results of ``morello eval`` for the agent after ``step``, without single episodes; empty if none.

    Raises UserError for a file that ``morello eval`` did not write.
    """
    path = folder / EVALUATION
    try:
        found = read_json(path, {"env?": str, "step?": int}, "morello eval writes it again")
        if (found.get("env"), found.get("step")) != (env, step):
            return {}
        found = read_json(path, EVALUATED, "morello eval writes it again")
    except FileNotFoundError:
        return {}
    single = ("returns", "lengths", "task")
    return {k: {a: b for a, b in v.items() if a not in single} if isinstance(v, dict) else v for k, v in found.items()}


def _name(env: str) -> str:
    return f"learning-{env.replace(':', '-').replace('/', '-')}"


def draw(record: dict[str, Any], path: Path, measure: str = RETURN) -> None:
    """Draw a measure over steps, a line for each seed.

    Returns have their evaluation at the end, and each line the 95 % interval of its window's mean, where that was kept;
    random and oracle play are horizontal lines.
    """
    figure, axes = blank()
    colours = ("#c2334d", "#e58a9b", "#7a1f30", "#b07aa1", "#59a14f")
    for seed, colour in zip(record["seeds"], colours * len(record["seeds"]), strict=False):
        steps, values = drawn(seed["curve"], measure)
        axes.plot(steps / 1e6, values, color=colour, label=f"seed {seed['seed']}")
        if measure == RETURN:
            _uncertain(axes, seed, steps, values, colour)
    if measure == RETURN:
        _references(axes, record)
    title = f"{record['env']}   {record['preset']}"
    axes.set(xlabel="million agent steps", ylabel=side_by_side.label(measure), title=title)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def _uncertain(axes: Axes, seed: dict[str, Any], steps: Floats, returns: Floats, colour: str) -> None:
    """Draw the interval of a seed's returns, and its evaluation."""
    if (half := margin(seed["curve"])) is not None:
        axes.fill_between(steps / 1e6, returns - half, returns + half, color=colour, alpha=0.15, linewidth=0)
    if agent := seed["evaluation"].get("agent"):
        # Where all returns are equal, mean, low and high may differ by rounding.
        ends = [[max(0.0, agent["mean"] - agent["low"])], [max(0.0, agent["high"] - agent["mean"])]]
        end = seed["curve"]["step"][-1] / 1e6
        axes.errorbar([end], [agent["mean"]], ends, color=colour, fmt="o", markersize=4, capsize=3)


def _references(axes: Axes, record: dict[str, Any]) -> None:
    """Draw what random and oracle play score."""
    levels = {name: reference["mean"] for name, reference in record["references"].items()}
    played = [s["evaluation"]["random"]["mean"] for s in record["seeds"] if "random" in s["evaluation"]]
    if played and "random" not in levels:
        levels["random"] = float(np.mean(played))
    for name, style in (("random", ":"), ("oracle", "--")):
        if name in levels:
            mean = levels[name]
            if mean < 2 * axes.get_ylim()[1]:
                axes.axhline(mean, color="#555", linestyle=style, label=f"{name} {mean:.2f}")
            else:  # its line would flatten the curves
                axes.plot([], [], " ", label=f"({name} {mean:.2f})")


def _evaluated(seed: dict[str, Any]) -> str:
    if "agent" not in seed["evaluation"]:
        return ""
    agent, random = (seed["evaluation"][name] for name in ("agent", "random"))
    interval = f"[{agent['low']:.2f}, {agent['high']:.2f}]"
    return f", {agent['mean']:.2f} {interval} in {agent['episodes']} evaluation episodes, random {random['mean']:.2f}"


def _plain(column: NDArray[Any]) -> list[float | None]:
    return [None if np.isnan(x) else round(float(x), 5) for x in column]
