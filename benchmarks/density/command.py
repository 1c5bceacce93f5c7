"""``morello bench density``: nats of density models compared with the exact entropy of sources."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor
from tyro.conf import Positional

from ...backbones.autoregressive import Autoregressive, Given
from ...envs.errors import UserError, suggest
from ...flags import parse
from ..progress_line import progress_line
from ..records import circumstances, command_line, output_folder, write
from .cases import CASES, Batch, Case, Data
from .picture import draw

TEST, BATCH, DRAWN = 4096, 64, 256


@dataclass(frozen=True)
class DensityFlags:
    """Fit density models to sources of known entropy and report their nats per item, the exact entropy, the drift of
    their samples from the source and the cost. Writes density-cpu.json and .png; for a selection of cases,
    density-part-cpu.json and .png.
    """

    cases: Positional[tuple[str, ...]] = ()
    """Cases to run, such as text/rnn, or mesh for all cases of that source; by default all."""
    effort: float = 1.0
    """Factor on the number of training steps of each case."""
    seeds: tuple[int, ...] = (0,)
    """Seeds to run each case with; a seed determines the weights, the samples and the source."""
    out: str = "benchmarks/results"
    """Folder in which the result is written."""


def main(words: list[str]) -> int:
    """Fit, compare, print and write the results; raise UserError for invalid arguments."""
    settings = parse(DensityFlags, words, "morello bench density")
    if not 0 < settings.effort < math.inf:
        raise UserError("--effort must be more than 0.")
    seeds = settings.seeds
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**62 for seed in seeds):
        raise UserError("--seeds are different numbers, at least one, 0 or more and below 2^62.")
    chosen = [name for name in CASES if not settings.cases or any(_named(name, c) for c in settings.cases)]
    for case in settings.cases:
        if not any(_named(name, case) for name in CASES):
            raise UserError(f"no case {case!r}: {suggest(case, CASES)}")
    folder, console = output_folder(settings.out), Console()
    console.width = max(console.width, 130)  # a narrow terminal should wrap lines, not cut numbers
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
    pictures: dict[str, dict[str, Tensor]] = {}
    with progress_line(console) as tell:
        for name, seed in itertools.product(chosen, seeds):
            say = partial(tell, name if len(seeds) == 1 else f"{name}, seed {seed}")
            record, images = run(CASES[name], seed, settings.effort, say)
            found[name].append(record)
            pictures.setdefault(name, images)
    show(found, console)
    path = folder / f"density{'-part' if settings.cases else ''}-cpu.json"  # a part must not replace the whole
    command = command_line("density", words)
    given = {k: v for k, v in dataclasses.asdict(settings).items() if k != "out"}
    result = {"benchmark": "density", "command": command, "settings": given, "cases": found}
    write(path, result | circumstances(("scikit-learn",)))
    draw(found, pictures, path.with_suffix(".png"))
    console.print(Text(f"written to {path} and .png"), soft_wrap=True)
    return 0


def _named(name: str, asked: str) -> bool:
    return name == asked or name.startswith(f"{asked}/")


def run(case: Case, seed: int, effort: float, say: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Run one case with one seed; return its record, and images of data and samples if its items are images."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    data, model = case.data(seed), case.model()
    steps = max(1, round(case.steps * effort))
    begun = time.perf_counter()
    fit(model, data, steps, case.learning_rate, generator, lambda share: say(f"{share:.0%}"))
    seconds = time.perf_counter() - begun
    test = data.test or data.sample(TEST, generator)
    record: dict[str, Any] = {
        "about": case.about,
        "source": data.name,
        "seed": seed,
        "steps": steps,
        "batch": BATCH,
        "seconds": seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
        **score(model, data, test),
    }
    if case.bound is not None and data.bounds is not None:
        record["bound"] = data.bounds[case.bound]
    known = data.sample(DRAWN, generator)[1]
    begun = time.perf_counter()
    drawn = model.sample(DRAWN, known, generator=generator)
    record["samples_per_second"] = DRAWN / (time.perf_counter() - begun)
    record |= drift(model, data, (drawn, known), record)
    images = {"data": test[0][:8], "samples": drawn[:8]} if drawn.dim() == 4 else {}
    return record, {k: v.float() / (data.levels - 1) for k, v in images.items()}


def fit(
    model: Autoregressive, data: Data, steps: int, learning_rate: float, generator: torch.Generator, tell: Any
) -> None:
    """Train by Adam on new batches, with a learning rate that falls linearly to 0 and gradients clipped at norm 1."""
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        x, given = data.sample(BATCH, generator)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(-model.log_prob(x, given).mean())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            tell(step / steps)


@torch.no_grad()
def log_prob(model: Autoregressive, batch: Batch) -> Tensor:
    """Return log-probabilities, [count] in nats, computed in chunks."""
    x, given = batch
    portions = [slice(i, i + 128) for i in range(0, len(x), 128)]
    return torch.cat([model.log_prob(x[p], Given(*(g if g is None else g[p] for g in given))) for p in portions])


def score(model: Autoregressive, data: Data, test: Batch) -> dict[str, float]:
    """Return nats per item and, on the same items, the exact ones, whose difference has far less noise than either.

    A model that is below the exact nats by more than noise must depend on something that it should not see.
    """
    nats = -log_prob(model, test).double()
    found = {"nats": nats.mean().item(), "nats_error": nats.std().item() / math.sqrt(len(nats))}
    if data.log_prob is not None:
        exact = -data.log_prob(test)
        gap = nats - exact
        found |= {"exact": exact.mean().item(), "exact_error": exact.std().item() / math.sqrt(len(exact))}
        found["gap"] = gap.mean().item()
        found["gap_error"] = gap.std().item() / math.sqrt(len(gap))
    if data.text:
        found["perplexity"] = math.exp(found["nats"] / test[0][0].numel())
    return found


def drift(model: Autoregressive, data: Data, drawn: Batch, record: dict[str, Any]) -> dict[str, float]:
    """Return how much less likely free-running samples are under the source than its own items, in nats per item.

    This shows errors that teacher forcing hides. For an unknown source, return ``drift_by_itself`` instead: how much
    less likely samples are than data under the model itself, that is, its entropy minus its cross-entropy with the
    data. This is not a measure of drift: it is 0 for the source, and below 0 for an overconfident model.
    """
    if data.log_prob is not None:
        surprise = -data.log_prob(drawn)
        error = math.hypot(surprise.std().item() / math.sqrt(len(surprise)), record["exact_error"])
        return {"drift": surprise.mean().item() - record["exact"], "drift_error": error}
    surprise = -log_prob(model, drawn).double()
    return {"drift_by_itself": surprise.mean().item() - record["nats"]}


def show(found: dict[str, list[dict[str, Any]]], console: Console) -> None:
    """Print a table with one row per case: the median seed, and the largest gap."""
    table = Table(title="density, nats per item", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("case", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for name, records in found.items():
        table.add_row(name, *cells(records))
    console.print(table)


COLUMNS = ("nats", "exact", "gap", "largest", "bound", "perplexity", "drift", "seconds", "samples/s")


def cells(records: list[dict[str, Any]]) -> list[str]:
    """Return the row of one case as text, in the order of `COLUMNS`.

    It is that of the seed whose gap is the median (of two, the larger).
    """
    r = sorted(records, key=lambda r: r.get("gap", r["nats"]))[len(records) // 2]
    gap = f"{r['gap']:.3f} ± {r['gap_error']:.3f}" if "gap" in r else "-"
    largest = f"{max(r['gap'] for r in records):.3f}" if "gap" in r else "-"
    optional = [f"{r[key]:.2f}" if key in r else "-" for key in ("exact", "bound", "perplexity", "drift")]
    exact, bound, perplexity, drift = optional
    costs = [f"{r['seconds']:.0f}", f"{r['samples_per_second']:,.0f}"]
    return [f"{r['nats']:.2f}", exact, gap, largest, bound, perplexity, drift, *costs]
