"""The user's view of training: a live panel on a capable terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..config.config import Config

SPARKS = 24
CHERRY, STEEL, DIM = "#e0475b", "#6ea8d8", "dim"
TIME_COLOURS = (STEEL, "#e8b25a", CHERRY, "#8a8f98", "#8fbf7f")


class Progress:
    """Displays the records of a run. It is purely passive: no thread, and no work in the training loop.

    ``folder`` is the run folder, ``step`` the step at which this session begins. With ``config.quiet`` only warnings
    are shown. The terminal is restored however the block ends.
    """

    def __init__(
        self,
        config: Config,
        folder: Path | str = "",
        step: int = 0,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.config, self.folder, self.clock = config, str(folder), clock
        self.console = console or Console()
        self.warnings = console or Console(stderr=True)
        self.began = clock()
        self.record: Mapping[str, Any] = {}
        self.returns: deque[float] = deque(maxlen=SPARKS)  # of records in which an episode ended
        self.marks = deque([(self.began, step)], maxlen=11)  # time, step: of the last ten records
        self.latest = (self.began, step)
        self.messages: deque[Text] = deque(maxlen=3)
        self.evaluation: float | None = None
        live = self.console.is_interactive and not config.quiet
        self._live = Live(console=self.console, auto_refresh=False, get_renderable=self.panel) if live else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, record: Mapping[str, Any]) -> None:
        """Add one record of metrics; ``step`` is the only required key."""
        self.record = record
        self.latest = (self.clock(), record["step"])
        self.marks.append(self.latest)
        self.evaluation = record.get("eval/return", self.evaluation)
        if record.get("episodes") and "episode_return" in record:
            self.returns.append(record["episode_return"])
        if self._live is not None:
            self._live.refresh()
        elif not self.config.quiet:
            self.console.print(self.line(), highlight=False, soft_wrap=True)

    def tick(self, step: int) -> None:
        """Report progress between records. It may be called as often as desired: the live panel is refreshed once a
        second.
        """
        if self._live is not None and (now := self.clock()) >= self.latest[0] + 1:
            self.latest = (now, step)
            self._live.refresh()

    def message(self, text: str, *, warning: bool = False) -> None:
        """Print a message about an event, such as a checkpoint or a score. A ``warning`` stays visible, also when
        quiet.
        """
        said = Text(text, style="yellow" if warning else "")
        if warning:
            (self.warnings if self._live is None else self.console).print(said, soft_wrap=True)
        elif self._live is not None:
            self.messages.append(said)
            self._live.refresh()
        elif not self.config.quiet:
            self.console.print(said, soft_wrap=True)

    @property
    def steps_per_second(self) -> float:
        """Return the steps per second over the last ten records, including all interruptions."""
        (start, first), (now, last) = self.marks[0], self.latest
        return (last - first) / (now - start) if now > start else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Return the seconds left at the recent rate; None as long as there is none."""
        rate = self.steps_per_second
        return max(0, self.config.steps - self.latest[1]) / rate if rate > 0 else None

    @property
    def no_return_yet(self) -> str:
        """Return why there is no return yet; empty if there is one, or nothing to say."""
        waiting = self.record.get("environments_in_first_episode")
        plural = "s" if waiting != 1 else ""
        return f"none until {waiting:,.0f} more environment{plural} ended an episode" if waiting else ""

    def line(self) -> Text:
        """Format the last record as one line."""
        r, left = self.record, self.seconds_left
        share = min(1.0, r["step"] / self.config.steps)
        parts = [
            f"step {r['step']:,}/{self.config.steps:,} ({share:.0%})",
            f"{self.steps_per_second:,.0f} steps/s",
        ]
        parts += [] if left is None else [f"{duration(left)} left"]
        parts += [f"return {number(r['episode_return'])}"] if "episode_return" in r else []
        parts += [f"return {self.no_return_yet}"] if self.no_return_yet else []
        parts += [f"{r['episodes']:,.0f} episodes"] if r.get("episodes") else []
        parts += [f"success {r['success']:.0%}"] if "success" in r else []
        parts += [f"{name} {number(r[name])}" for name in ("entropy", "loss/policy", "loss/value") if name in r]
        return Text("  ".join(parts))

    def panel(self) -> RenderableType:
        """Format the last record as a panel."""
        blocks = [self._budget(), self._episodes(), self._streams(), self._learning(), self._time()]
        shown: list[RenderableType] = []
        for block in blocks:
            if block is not None:
                shown += [block, Text()]
        shown += self.messages or [Text("waiting for the first record" if len(self.marks) < 2 else "", style=DIM)]
        return Panel(
            Group(*shown),
            title=Text.assemble((" morello ", f"bold {CHERRY}"), (f"{self.config.env} ", "bold default")),
            title_align="left",
            subtitle=Text(f" {self.folder} ", style=DIM) if self.folder else None,
            subtitle_align="right",
            border_style=CHERRY,
            padding=(1, 2, 0, 2),
            width=min(100, self.console.width),
        )

    def _budget(self) -> RenderableType:
        step, left = self.latest[1], self.seconds_left
        bar = Table.grid(expand=True, padding=(0, 2, 0, 0))
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        share = min(1.0, step / self.config.steps)
        progress = ProgressBar(self.config.steps, step, complete_style=CHERRY, finished_style="green")
        bar.add_row(f"{step:,} of {self.config.steps:,} steps", progress, f"{share:.0%}")
        rate = self.steps_per_second
        facts = [("steps/s", f"{rate:,.0f}")]
        if "frames" in self.record:
            facts.append(("frames/s", f"{rate * self.record['frames'] / self.record['step']:,.0f}"))
        facts.append(("so far", duration(self.clock() - self.began)))
        facts.append(("left", "-" if left is None else duration(left)))
        return Group(bar, _facts(facts, unit_last=True))

    def _episodes(self) -> RenderableType | None:
        r = self.record
        if "episode_return" not in r:
            return _facts([("episode return", self.no_return_yet)]) if self.no_return_yet else None
        line = _facts([("episode return", number(r["episode_return"]))])
        recent = sparkline(self.returns, ascii_only=self.console.options.ascii_only)
        line.append("  ").append(recent, CHERRY)
        facts = [("length", f"{r['episode_length']:,.0f}")] if "episode_length" in r else []
        facts += [("mean of", f"{r['window_episodes']:,.0f} episodes")] if "window_episodes" in r else []
        if "success" in r:
            facts.append(("success", f"{r['success']:.0%}"))
        if self.evaluation is not None:
            facts.append(("evaluation", number(self.evaluation)))
        return line.append("   ").append(_facts(facts))

    def _streams(self) -> RenderableType | None:
        names = [k.removesuffix("/explained_variance") for k in self.record if k.endswith("/explained_variance")]
        if not names:
            return None
        columns = ["reward", "normalised", "value", "explained_variance", "advantage"]
        columns = [column for column in columns if any(f"{name}/{column}" in self.record for name in names)]
        streams = Table(box=None, padding=(0, 3, 0, 0), header_style=DIM, pad_edge=False)
        streams.add_column("stream")
        for column in columns:
            streams.add_column(column.replace("_", " "), justify="right")
        for name in names:
            cells = [self.record.get(f"{name}/{column}") for column in columns]
            streams.add_row(name, *("-" if c is None else number(c) for c in cells))
        return streams

    def _learning(self) -> RenderableType | None:
        r = self.record
        facts = [(f"{k.removeprefix('loss/')} loss", v) for k, v in r.items() if k.startswith("loss/")]
        # The loss named entropy is the negative entropy: the entropy itself is shown.
        facts = [(name, value) for name, value in facts if name != "entropy loss"]
        facts += [(k.replace("_", " "), r[k]) for k in ("entropy", "learning_rate") if k in r]
        norms = {k.removeprefix("gradient_norm/"): v for k, v in r.items() if k.startswith("gradient_norm/")}
        facts += [(f"{name} gradient", value) for name, value in norms.items()]
        if not facts:
            return None
        grid = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(3):
            grid.add_column(style=DIM)
            grid.add_column(style="bold", justify="right", min_width=9)
        cells = [cell for name, value in facts for cell in (name, number(value))]
        for n in range(0, len(cells), 6):
            grid.add_row(*cells[n : n + 6])
        return grid

    def _time(self) -> RenderableType | None:
        spent = {
            k.removeprefix("time/"): v
            for k, v in self.record.items()
            if k.startswith("time/") and k not in ("time/seconds", "time/steps_per_second")
        }
        total = sum(spent.values())
        if not total:
            return None
        width = 30
        bar, legend, edge, drawn = Text(), Text(), 0.0, 0
        for (name, seconds), colour in zip(spent.items(), TIME_COLOURS * len(spent), strict=False):
            edge += seconds / total * width
            bar.append(" " * (round(edge) - drawn), f"on {colour}")
            drawn = round(edge)
            legend.append(f"  {name} ", colour).append(f"{seconds / total:.0%}")
        return Text.assemble(("time  ", DIM), bar, legend)


def _facts(facts: Sequence[tuple[str, str]], unit_last: bool = False) -> Text:
    """Lay out names and values side by side."""
    text = Text()
    for n, (name, value) in enumerate(facts):
        text.append("   " if n else "")
        if unit_last:
            text.append(value, "bold").append(f" {name}", DIM)
        else:
            text.append(f"{name} ", DIM).append(value, "bold")
    return text


def number(x: float) -> str:
    """Format a number with about three significant digits and a constant width."""
    size = abs(x)
    if size != size or size == float("inf") or (size < 1e-3 and size > 0) or size >= 1e6:
        return f"{x:.1e}"
    return f"{x:,.0f}" if size >= 1000 else f"{x:.{2 if size >= 1 else 3}f}"


def duration(seconds: float) -> str:
    """Format seconds as 1:02:03, without fractions; from a thousand years on, as years."""
    years = seconds / 31_557_600
    return str(timedelta(seconds=round(seconds))) if years < 1000 else f"{number(years)} years"


def sparkline(values: Sequence[float], *, ascii_only: bool = False) -> str:
    """Draw one bar for each value, scaled between the smallest and the largest."""
    bars = "_.-=^" if ascii_only else "▁▂▃▄▅▆▇█"
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(bars) - 1) / (high - low) if high > low else 0.0
    return "".join(bars[round((v - low) * scale)] for v in values)
