"""``bascule extension …`` on an installed package and on a broken file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.extending.test_laws import BREAKERS, OPERATOR

MODULE = """\
from bascule.core import Extension
from acme.formulae import TURN
extension = Extension("acme", "2.1", factors={"acme": {"TURN": TURN}})
"""


def bascule(*words: str, folder: Path, named: str = "") -> tuple[int, dict[str, object]]:
    """Exit code and JSON of a command."""
    told = {"PYTHONPATH": str(folder), "BASCULE_EXTENSIONS": named}
    line = [sys.executable, "-m", "bascule.app", *words, "--json"]
    done = subprocess.run(
        line, cwd=folder, env=os.environ | told, capture_output=True, text=True, timeout=120
    )
    return done.returncode, json.loads(done.stdout)


def install(folder: Path) -> None:
    """A package with an entry point, as an installer leaves it."""
    (folder / "acme").mkdir()
    (folder / "acme" / "__init__.py").touch()
    (folder / "acme" / "formulae.py").write_text("TURN = '$volume/Mean($volume,12)-1'\n")
    (folder / "acme" / "parts.py").write_text(MODULE)
    about = folder / "acme-2.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 2.1\n")
    (about / "entry_points.txt").write_text("[bascule.extensions]\nacme = acme.parts\n")


def test_an_installed_one_is_named_by_its_entry_point(tmp_path: Path) -> None:
    install(tmp_path)
    _, listed = bascule("extension", "ls", folder=tmp_path)
    assert listed == {"extensions": [{"name": "acme", "loaded": False, "source": "acme.parts"}]}
    _, listed = bascule("extension", "ls", folder=tmp_path, named="acme")
    (one,) = listed["extensions"]  # type: ignore[misc]
    assert (one["name"], one["version"], one["brings"]) == ("acme", "2.1", {"factors": ["acme"]})
    code, checked = bascule("extension", "check", "acme", folder=tmp_path)
    assert code == 0 and checked["fine"]
    # the digest is of the whole package, not of the module alone
    (tmp_path / "acme" / "formulae.py").write_text("TURN = '$volume/Mean($volume,24)-1'\n")
    _, again = bascule("extension", "ls", folder=tmp_path, named="acme.parts")
    assert again["extensions"][0]["sha256"] != one["sha256"]  # type: ignore[index]


def test_a_check_that_finds_something_says_what_and_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OPERATOR % BREAKERS["other instruments do not matter"])
    code, told = bascule("extension", "check", "own.py", folder=tmp_path)
    assert code == 1 and not told["fine"]
    laws = {one["law"] for one in told["extensions"][0]["findings"]}  # type: ignore[index]
    assert "other instruments do not matter" in laws


def test_a_missing_one_is_one_clear_error(tmp_path: Path) -> None:
    code, told = bascule("extension", "ls", folder=tmp_path, named="gone.py")
    error = told["error"]
    assert code == 3 and error["where"] == "BASCULE_EXTENSIONS" and "gone.py" in error["message"]  # type: ignore[index]
