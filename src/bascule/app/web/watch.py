"""What the dashboard shows of the monitor: its reading interface, or nothing where no monitor is set up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bascule.monitor.read import Alert, Deed, Reader, Series

__all__ = ["Alert", "Deed", "Nothing", "Reader", "Series", "Watch"]


class Watch(Protocol):
    """What the monitor knows."""

    def alerts(self, count: int) -> Sequence[Alert]:
        """The newest alerts, newest first."""

    def deeds(self, count: int) -> Sequence[Deed]:
        """The newest actions, newest first."""

    def series(self, points: int) -> Sequence[Series]:
        """Every series that is kept, its newest points, by name."""


class Nothing:
    """No monitor is set up."""

    def alerts(self, count: int) -> Sequence[Alert]:
        """None."""
        return ()

    def deeds(self, count: int) -> Sequence[Deed]:
        """None."""
        return ()

    def series(self, points: int) -> Sequence[Series]:
        """None."""
        return ()
