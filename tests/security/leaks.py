"""Keys and passwords in tracked files, found with detect-secrets; `.ci/secrets.json` has those that are none.

A new one fails. If it is none (the name of a variable, a password of a test's own server), take it up with
``python -m tests.security leaks --accept`` and say why in the commit.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings

from tests.security.sbom import ROOT

KNOWN = ROOT / ".ci" / "secrets.json"
# minified scripts of others, and digests: long lines, or nothing but high entropy
_LEFT_OUT = ("/static/vendor/", ".ci/secrets.json")
# passwords of tests' own servers are no secrets; keys of known forms and random texts are, there too
_LOOSE = {"Secret Keyword", "Basic Auth Credentials"}
_TESTS = ("tests/", "benchmarks/")
_PICTURE = re.compile(r'\s*"image/(png|jpeg)": "')
_FORMS = {".png", ".woff2", ".ico", ".gz", ".feather", ".parquet"}


def tracked(root: Path = ROOT) -> list[str]:
    """Text files that git tracks, or would (not ignored)."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = sorted(filter(None, listing.stdout.split("\0")))
    return [
        name
        for name in names
        if not any(part in name for part in _LEFT_OUT)
        and Path(name).suffix not in _FORMS
        and (root / name).is_file()
    ]


def scan(root: Path, files: Sequence[str]) -> set[tuple[str, str, str, int]]:
    """What looks like a secret: file, kind, SHA-1 of the text, line."""
    with default_settings():
        found = SecretsCollection(root=str(root))
        found.scan_files(*files, num_processors=2)
        return {
            (name, one.type, one.secret_hash, one.line_number)
            for name, one in found
            if not (one.type in _LOOSE and name.startswith(_TESTS))
            and not _picture(root / name, one.line_number)
        }


def _picture(path: Path, line: int) -> bool:
    """Whether the line of a notebook is a picture, which is as random as a key."""
    return path.suffix == ".ipynb" and bool(_PICTURE.match(path.read_text("utf-8").splitlines()[line - 1]))


def known() -> set[tuple[str, str, str]]:
    """File, kind and SHA-1 of those that are none."""
    entries: list[dict[str, Any]] = json.loads(KNOWN.read_text("utf-8"))
    return {(one["file"], one["kind"], one["sha1"]) for one in entries}


def new(found: set[tuple[str, str, str, int]], known: set[tuple[str, str, str]]) -> list[str]:
    """Those that are not known, as lines for a person; the text itself is not repeated."""
    return [
        f"{file}:{line}: {kind}" for file, kind, sha, line in sorted(found) if (file, kind, sha) not in known
    ]


def accept(found: set[tuple[str, str, str, int]]) -> None:
    """Write down what is found as known."""
    entries = sorted({(file, kind, sha) for file, kind, sha, _ in found})
    rows = [json.dumps({"file": file, "kind": kind, "sha1": sha}) for file, kind, sha in entries]
    KNOWN.write_text("[\n" + ",\n".join(rows) + "\n]\n", "utf-8")
