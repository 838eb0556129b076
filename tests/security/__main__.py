"""``python -m tests.security [sbom licences advisories leaks]``: the audits, all of them by default."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from tests.security import advisories, leaks, licences, sbom

Bill = Callable[[], list[dict[str, Any]]]


def listed(bill: Bill) -> list[str]:
    """The bill of materials, written."""
    found = bill()
    sys.stdout.write(f"sbom: {len(found)} components in {sbom.SBOM.relative_to(sbom.ROOT)}\n")
    return []


def licence(bill: Bill) -> list[str]:
    """Licences that do not go with ours."""
    taken, wrong = licences.judge(bill(), licences.rules())
    sys.stdout.write(f"licences: {len(taken)} components, {len(set(taken.values()))} licences\n")
    return wrong


def advisory(bill: Bill) -> list[str]:
    """Known vulnerabilities that nobody has accepted."""
    found, line = advisories.find(bill(), advisories.accepted(), dt.datetime.now(dt.UTC).date())
    sys.stdout.write(line + "\n")
    return found


def leak(bill: Bill) -> list[str]:
    """What looks like a key or password, and is new."""
    files = leaks.tracked()
    found = leaks.new(leaks.scan(leaks.ROOT, files), leaks.known())
    sys.stdout.write(f"leaks: {len(files)} files scanned\n")
    return found


AUDITS: dict[str, Callable[[Bill], list[str]]] = {
    "sbom": listed,
    "licences": licence,
    "advisories": advisory,
    "leaks": leak,
}


def main() -> int:
    """Run the audits; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audits", nargs="*", help=f"of {', '.join(AUDITS)}")
    parser.add_argument("--accept", action="store_true", help="take up what `leaks` finds as known")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.audits) - set(AUDITS)):
        parser.error(f"no such audit: {', '.join(unknown)}")
    if arguments.accept:
        leaks.accept(leaks.scan(leaks.ROOT, leaks.tracked()))
        return 0
    bill = cache(sbom.make)
    findings = []
    for name in arguments.audits or AUDITS:
        try:
            findings += [f"{name}: {one}" for one in AUDITS[name](bill)]
        except sbom.Trouble as error:
            findings.append(f"{name}: {error}")
    for finding in findings:
        sys.stdout.write(f"FOUND {finding}\n")
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
