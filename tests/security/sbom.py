"""The bill of materials: a CycloneDX JSON file of all that is installed, and of the vendored scripts."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SBOM = ROOT / "build" / "sbom.cdx.json"
VENDORED = ROOT / "src" / "bascule" / "app" / "web" / "static" / "vendor"
_NAMED = re.compile(r"(?P<name>[a-z]+)-(?P<version>\d+(?:\.\d+)+)\.")
_VENDORED_LICENCES = {"echarts": "Apache-2.0", "tabulator": "MIT"}


class Trouble(Exception):
    """Something that must be looked at by a person."""


def make(path: Path = SBOM) -> list[dict[str, Any]]:
    """Write the bill of materials of this interpreter's environment; returns its components.

    Raises:
        Trouble: the tool failed, or a vendored script has no known name, version and licence.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [
        str(Path(sys.executable).parent / "cyclonedx-py"), "environment", "--pyproject", "pyproject.toml",
        "--output-reproducible", "--no-validate", "--of", "JSON", "-o", "-", sys.executable,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Trouble(f"cyclonedx-py failed: {done.stderr[-2_000:]}")
    bill = json.loads(done.stdout)
    bill["components"] = [*bill["components"], *vendored(VENDORED)]
    path.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n", "utf-8")
    found: list[dict[str, Any]] = bill["components"]
    return found


def vendored(folder: Path) -> list[dict[str, Any]]:
    """The scripts and style sheets that are kept here as others made them, with their digests."""
    found = []
    for file in sorted(folder.iterdir()):
        if file.suffix not in (".js", ".css"):
            continue
        match = _NAMED.match(file.name)
        if match is None or match["name"] not in _VENDORED_LICENCES:
            raise Trouble(
                f"{file.name}: name it NAME-VERSION.min.js, and its licence in {Path(__file__).name}"
            )
        name, version = match["name"], match["version"]
        if not list(folder.glob(f"{name}-LICENSE*")):
            raise Trouble(f"{file.name} has no {name}-LICENSE.txt beside it")
        found.append(
            {
                "type": "library",
                "bom-ref": f"vendored:{file.name}",
                "name": name,
                "version": version,
                "purl": f"pkg:npm/{name}@{version}",
                "licenses": [{"license": {"id": _VENDORED_LICENCES[name]}}],
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}],
            }
        )
    return found
