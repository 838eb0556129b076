"""What a user sees: progress bars on a terminal, plain lines in a log; errors without tracebacks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bascule.core import Progress as Reporter

PLAIN_EVERY = 15.0  # seconds between progress lines where there is no terminal


@contextmanager
def bar(console: Console, title: str) -> Iterator[Reporter]:
    """A progress bar under ``title``; yields the `bascule.core.Progress` to hand to the work."""
    if not console.is_terminal:
        yield _PlainProgress(console, title)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=None, note="")

        def advance(done: int, total: int, note: str = "") -> None:
            progress.update(task, completed=done, total=max(total, 1), note=note)

        yield advance


class _PlainProgress:
    """A line now and then, for logs and pipes."""

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.title, self.last = console, title, time.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if now - self.last >= PLAIN_EVERY and done < total:
            self.last = now
            self.console.print(
                f"  {self.title}: {done}/{total} {note}".rstrip(), highlight=False, markup=False
            )
