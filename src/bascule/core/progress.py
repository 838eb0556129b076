"""The seam through which long work reports: lower floors call it, the command line draws it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as work advances."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total`` steps are finished; ``note`` says what is being done."""


def silent(done: int, total: int, note: str = "") -> None:
    """A `Progress` that shows nothing."""
