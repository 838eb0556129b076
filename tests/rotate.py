"""Run a rotating sample of the slow tests, so that each runs every few days and no run takes long.

The sample is chosen by the date (or ``BASCULE_ROTATE``, an integer), printed, and so can be repeated.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys

SHARE = 8  # an eighth of the slow tests a run


def main() -> int:
    """Collect the slow tests, run every `SHARE`-th from today's offset; returns pytest's exit code."""
    listing = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "-m", "slow", "tests"],
        capture_output=True,
        text=True,
        check=False,
    )
    names = sorted(line for line in listing.stdout.splitlines() if "::" in line)
    if listing.returncode not in (0, 5):
        sys.stdout.write(listing.stdout + listing.stderr)
        return listing.returncode
    turn = int(os.environ.get("BASCULE_ROTATE", dt.datetime.now(dt.UTC).date().toordinal()))
    chosen = names[turn % SHARE :: SHARE]
    if not chosen:
        sys.stdout.write("no slow tests in this turn\n")
        return 0
    sys.stdout.write(f"turn {turn % SHARE} of {SHARE}: {len(chosen)} of {len(names)} slow tests\n")
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", "pytest", "-n", "2", *chosen], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
