"""Line on the terminal that shows what is being measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from .timing import Tell


@contextmanager
def progress_line(console: Console) -> Iterator[Tell]:
    """Show the progress of measurements: one changing line on a terminal, elsewhere one line per stage.

    It draws only when called, so that no thread runs alongside what is measured.
    """
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda stage, part: live.update(Text(f"{stage}: {part}" if part else stage), refresh=True)
    else:
        said: list[str] = []

        def tell(stage: str, part: str) -> None:
            if stage not in said:
                said.append(stage)
                console.print(Text(stage), soft_wrap=True)

        yield tell
