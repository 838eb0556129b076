"""What a user sees: results on standard output; progress, notes and errors on standard error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from bascule.core.progress import Progress as Reporter

PLAIN_EVERY = 15.0  # seconds between progress lines where there is no terminal

console = Console()
errors = Console(stderr=True)
quiet: ContextVar[bool] = ContextVar("quiet", default=False)  # no progress at all: ``--json``


@contextmanager
def bar(title: str) -> Iterator[Reporter]:
    """A progress bar under ``title``, with the time left; yields the `bascule.core.Progress` to hand to work.

    On a terminal it is drawn on standard error and vanishes; elsewhere a line is written now and then; under
    ``--json`` nothing is said.
    """
    if quiet.get():
        yield _nothing
    elif not errors.is_terminal:
        yield _PlainProgress(title)
    else:
        with _drawn(title) as advance:
            yield advance


@contextmanager
def _drawn(title: str) -> Iterator[Reporter]:
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

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
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task(title, total=None, note="")

        def advance(done: int, total: int, note: str = "") -> None:
            progress.update(task, completed=done, total=max(total, 1), note=note)

        yield advance


def _nothing(done: int, total: int, note: str = "") -> None:
    """A progress that nobody sees."""


class _PlainProgress:
    """A line now and then, for logs and pipes."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.begun = self.last = time.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if now - self.last < PLAIN_EVERY or done >= total:
            return
        self.last = now
        left = f", {_length((now - self.begun) * (total - done) / done)} left" if done else ""
        errors.print(
            f"  {self.title}: {done}/{total}{left} {note}".rstrip(),
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _length(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
