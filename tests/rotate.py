"""Run a rotating sample of the slow tests, so that each runs every few days and no run takes long.

1. Collect the slow tests, each with its group: what shares costly work (the steps of the tutorial, the pages
   of one built site) or must not run beside its like carries ``xdist_group`` and stays together.
2. Deal groups and single tests, in a fixed order, into eighths.
3. Run the eighth of the date (or of ``BASCULE_ROTATE``, an integer), which is printed and so can be repeated.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

SHARE = 8  # an eighth of the slow tests a run
_TOLD = "slow test: "


def pytest_report_collectionfinish(items: list[pytest.Item]) -> list[str]:
    """As a plugin of the collecting run: a line for each test with its group, which may be empty."""
    lines = []
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        group = "" if mark is None else mark.args[0] if mark.args else mark.kwargs["name"]
        lines.append(f"{_TOLD}{group}\t{item.nodeid}")
    return lines


def deal(tests: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The eighths of tests, given as (group or empty, name): each test in one, each group in one.

    Groups are dealt first, the largest first, so that costly ones do not meet in one eighth. Others follow
    by name, which spreads the tests of a file over all.
    """
    groups: dict[str, list[str]] = {}
    alone: list[list[str]] = []
    for group, name in sorted(tests):
        if group:
            groups.setdefault(group, []).append(name)
        else:
            alone.append([name])
    units = sorted(groups.values(), key=lambda names: (-len(names), names)) + alone
    return [[name for unit in units[turn::SHARE] for name in unit] for turn in range(SHARE)]


def main() -> int:
    """Run today's eighth; returns pytest's exit code."""
    listing = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.rotate", "--collect-only", "-m", "slow", "tests"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode not in (0, 5):
        sys.stdout.write(listing.stdout + listing.stderr)
        return listing.returncode
    told = [line.removeprefix(_TOLD) for line in listing.stdout.splitlines() if line.startswith(_TOLD)]
    eighths = deal((group, name) for group, _, name in (line.partition("\t") for line in told))
    turn = int(os.environ.get("BASCULE_ROTATE", dt.datetime.now(dt.UTC).date().toordinal())) % SHARE
    if not eighths[turn]:
        sys.stdout.write("no slow tests in this turn\n")
        return 0
    sys.stdout.write(f"turn {turn} of {SHARE}: {len(eighths[turn])} of {len(told)} slow tests\n")
    sys.stdout.flush()
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", *eighths[turn]], check=False
    ).returncode


if __name__ == "__main__":
    raise SystemExit(main())
