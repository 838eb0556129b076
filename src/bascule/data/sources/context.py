"""The outside world as an argument: the time, the pause and the dice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np


def wall_clock() -> np.datetime64:
    """The machine's time, UTC."""
    return np.datetime64(time.time_ns(), "ns")


@dataclass(frozen=True)
class Context:
    """Where a source takes time, pauses and chance from, and where it keeps its journal.

    Attributes:
        random: draws the jitter of back-off.
        clock: the present, UTC, ``datetime64[ns]``.
        sleep: pauses for some seconds.
        journal: folder for finished chunks, so that an interrupted fetch resumes; None keeps none.
    """

    random: np.random.Generator
    clock: Callable[[], np.datetime64] = wall_clock
    sleep: Callable[[float], None] = time.sleep
    journal: Path | None = None

    @classmethod
    def system(cls, *, seed: int = 0, journal: Path | None = None) -> Context:
        """The machine's clock and a generator of its own."""
        return cls(np.random.default_rng(seed), journal=journal)

    def without_journal(self) -> Context:
        """The same for sources that read local files, which a journal would only copy."""
        return replace(self, journal=None)
