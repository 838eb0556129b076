"""Counts what was tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

_COUNTS: pytest.StashKey[Counter[str]] = pytest.StashKey()
Tried = Callable[..., None]


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Tried:
    """``tried(case, count=1)``: so many faults of this kind were met, and what was promised held."""
    stash = request.config.stash
    if _COUNTS not in stash:
        stash[_COUNTS] = Counter()

    def add(case: str, count: int = 1) -> None:
        stash[_COUNTS][case] += count

    return add


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The counts; under pytest-xdist each process has its own, and nothing is printed."""
    for case, count in sorted(config.stash.get(_COUNTS, Counter()).items()):
        terminalreporter.write_line(f"chaos: {case}: {count}")
