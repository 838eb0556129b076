"""What the dashboard shows of the monitor: a narrow reading interface, and nothing behind it by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Alert:
    """Something that a rule noticed.

    Attributes:
        id: rising number.
        at: seconds since 1970, UTC.
        level: ``info``, ``warning`` or ``critical``.
        rule: its name.
        text: what happened.
        open: the condition still holds.
    """

    id: int
    at: float
    level: str
    rule: str
    text: str
    open: bool = False


@dataclass(frozen=True)
class Deed:
    """Something that the monitor did, with its reason; ``outcome`` is ``done`` or why not."""

    id: int
    at: float
    action: str
    target: str
    reason: str
    outcome: str


@dataclass(frozen=True)
class Series:
    """A figure over time; ``times`` in seconds since 1970, gaps are None."""

    name: str
    times: tuple[float, ...]
    values: tuple[float | None, ...]
    low: float | None = None
    high: float | None = None


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
