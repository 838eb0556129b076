"""Known vulnerabilities of what is installed, asked with pip-audit.

1. A service is tried with a release that is known to be vulnerable (`CANARY`): one that does not name its
   hole is not there, whatever it answers. pip-audit itself says "no known vulnerabilities" of packages that
   it could not ask about.
2. No service there: that is said in one line, and nothing is claimed.
3. Else all components are asked about; what is found and is not on the list of `.ci/advisories.yaml`, or is
   there with a date that has passed, is a finding.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.security.sbom import ROOT, Trouble

LIST = ROOT / ".ci" / "advisories.yaml"
CANARY = ("jinja2", "3.1.2")  # CVE-2024-22195, among others
SERVICES: tuple[tuple[str, ...], ...] = (("-s", "pypi"), ("-s", "osv"))
_PATIENCE = 15  # seconds for one question


def find(
    components: Iterable[Mapping[str, Any]],
    accepted: Sequence[Mapping[str, Any]],
    today: dt.date,
    services: Sequence[Sequence[str]] = SERVICES,
) -> tuple[list[str], str]:
    """Findings, and one line on what was done.

    Args:
        components: of the bill of materials; vendored scripts are left out (no Python packages).
        accepted: the list.
        today: for its dates.
        services: pip-audit's options that choose a service, in the order they are tried.
    """
    pins = sorted({pin(one) for one in components if str(one.get("purl", "")).startswith("pkg:pypi/")})
    service = next((one for one in services if _speaks(one)), None)
    expired = [f"{one['id']}: accepted until {one['until']} only" for one in accepted if one["until"] < today]
    if service is None:
        return expired, "advisories: NOT AUDITED: no service of advisories can be reached from here"
    found, skipped = judge(_ask(pins, service), accepted, today)
    note = f", {len(skipped)} not known to it: {', '.join(skipped)}" if skipped else ""
    return found, f"advisories: {len(pins)} components audited with {' '.join(service)}{note}"


def judge(
    dependencies: Iterable[Mapping[str, Any]], accepted: Sequence[Mapping[str, Any]], today: dt.date
) -> tuple[list[str], list[str]]:
    """Findings of pip-audit's answer, and the packages that it could not ask about."""
    until = {(str(one["package"]), str(one["id"])): one["until"] for one in accepted}
    findings, skipped = [], []
    for one in dependencies:
        if "skip_reason" in one:
            skipped.append(str(one["name"]))
        for hole in one.get("vulns", ()):
            names = [hole["id"], *hole.get("aliases", ())]
            date = next((until[one["name"], name] for name in names if (one["name"], name) in until), None)
            if date is None or date < today:
                mended = ", ".join(hole.get("fix_versions", ())) or "no version yet"
                late = f"; accepted until {date} only" if date else ""
                called = "/".join(names)
                findings.append(f"{one['name']} {one['version']}: {called}, mended in {mended}{late}")
    return findings, skipped


def accepted() -> list[dict[str, Any]]:
    """The list, checked: every entry with its four parts."""
    entries = yaml.safe_load(LIST.read_text("utf-8")) or []
    for entry in entries:
        if set(entry) != {"id", "package", "until", "reason"} or not isinstance(entry["until"], dt.date):
            raise Trouble(f"{LIST.name}: {entry}: write id, package, until (a date) and reason")
    found: list[dict[str, Any]] = entries
    return found


def pin(component: Mapping[str, Any]) -> str:
    """``name==version``, without a build's local part: advisories are of public versions."""
    return f"{component['name']}=={str(component['version']).partition('+')[0]}"


def _speaks(service: Sequence[str]) -> bool:
    try:
        answer = _ask(["==".join(CANARY)], service)
    except (Trouble, subprocess.TimeoutExpired):
        return False
    return any(one.get("vulns") for one in answer)


def _ask(pins: Sequence[str], service: Sequence[str]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="bascule-audit-") as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text("\n".join(pins) + "\n", "utf-8")
        command = [
            str(Path(sys.executable).parent / "pip-audit"), *service, "-r", str(wanted), "--no-deps",
            "--disable-pip", "-f", "json", "--progress-spinner", "off", "--timeout", str(_PATIENCE),
            "--cache-dir", str(Path(folder) / "cache"),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        raise Trouble(f"pip-audit: {done.stderr[-500:]}") from None
    return found
