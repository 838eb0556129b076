"""Where samples come from; each source is one class with a `name`, an `every` and a `read`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from bascule.monitor.samples import Sample


class Source(Protocol):
    """One thing that is watched."""

    @property
    def name(self) -> str:
        """Unique name."""

    @property
    def every(self) -> float:
        """Seconds between two readings."""

    def read(self, since: datetime | None, now: datetime) -> Sequence[Sample]:
        """What became known in ``(since, now]``.

        Args:
            since: time up to which it was read before, None = never.
            now: the time; nothing that became known later may be used.

        Raises:
            BasculeError: it cannot be read.
        """
