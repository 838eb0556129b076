"""CONTRIBUTING.md cannot lie about the house."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import bascule
from tests.docs.pages import ROOT, blocks
from tests.extending.pages import lines_of_code

PAGE = ROOT / "CONTRIBUTING.md"
TEXT = PAGE.read_text("utf-8")


def floors() -> list[set[str]]:
    """The floors of the import-linter's contract, highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [one["layers"] for one in contracts if one["type"] == "layers"]
    return [set(re.findall(r"bascule\.(\w+)", row)) for row in layers]


def section(title: str) -> str:
    return TEXT.split(f"## {title}\n")[1].split("\n## ")[0]


def test_the_map_is_the_contract() -> None:
    rows = [
        set(re.findall(r"`(\w+)`", row.split("|")[1]))
        for row in section("The map").splitlines()
        if "| `" in row
    ]
    assert rows == floors()


def test_the_contract_and_the_package_name_every_floor() -> None:
    named = set().union(*floors())
    packages = {path.parent.name for path in (ROOT / "src" / "bascule").glob("*/__init__.py")}
    assert packages == named
    assert [name for name in sorted(named) if not re.search(rf"\b{name}\b", bascule.__doc__ or "")] == []


def test_the_places_exist() -> None:
    package = ROOT / "src" / "bascule"
    named = set(re.findall(r"`([\w/]+(?:/|\.py|\.yaml))`", section("To add …"))) | set(
        re.findall(r"`(tests/[\w/]+(?:\.py)?)`", TEXT)
    )
    lost = [one for one in sorted(named) if not ((package / one).exists() or (ROOT / one).exists())]
    assert lost == []


def test_the_commands_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    asked = set(re.findall(r"^make ([\w-]+)", TEXT, re.MULTILINE))
    assert asked and asked <= targets


def test_a_part_inside_the_house_takes_as_few_lines(tmp_path: Path) -> None:
    """The page's library of factors, put where it says, in a copy of the two files that it touches."""
    module, line = [b.text for b in blocks(PAGE) if b.text.startswith("# src/")]
    assert lines_of_code(module) + lines_of_code(line) < 30
    assert (ROOT / "src/bascule/factors/catalogue.py").exists() and line.startswith(
        "# src/bascule/factors/catalogue.py"
    )
    (tmp_path / "tides.py").write_text(module)
    code = (
        "from tides import tides\n"
        "from bascule.factors import LIBRARIES, library\n"
        f"LIBRARIES.built_in.update({{{line.splitlines()[1]}}})\n"
        "from bascule import testing\n"
        "assert [one.name for one in library('tides')] == ['TIDE6', 'TIDE24']\n"
        "assert testing.factors(library('tides')) == []\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_it_says_nothing_of_a_team() -> None:
    assert not re.search(r"\b(team|agent|helper|worker session|session)s?\b", TEXT, re.IGNORECASE)
