"""Runs a how-to page as its reader would: files are written, Python and commands are run, in order.

A block whose first line is ``# name.py`` or ``# name.yaml`` is a file of that name; other Python is run by a
process for each block; ``$ …`` lines are given to a shell in which ``bascule`` is this one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import DOCS, ROOT, Block, blocks

PAGES = sorted((DOCS / "howto").glob("*.md"))
_FILE = re.compile(r"# ([\w-]+\.(?:py|ya?ml))$")


def file_of(block: Block) -> str | None:
    """The file that a block is, if it is one."""
    found = _FILE.match(block.text.partition("\n")[0])
    return found[1] if found and block.language in ("python", "yaml") else None


def modules(page: Path) -> dict[str, str]:
    """The reader's own Python files of a page."""
    return {name: b.text for b in blocks(page) if (name := file_of(b)) and name.endswith(".py")}


def lines_of_code(text: str) -> int:
    """Lines that are neither empty nor comments."""
    return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith("#"))


def write_files(page: Path, folder: Path) -> None:
    """All files of a page."""
    for block in blocks(page):
        if (name := file_of(block)) is not None:
            (folder / name).write_text(block.text + "\n", "utf-8")


def run_page(page: Path, folder: Path) -> str:
    """Everything that the page says, in order; what the commands printed."""
    write_files(page, folder)
    told = ""
    for block in blocks(page):
        if block.language == "python" and file_of(block) is None:
            told += _run([sys.executable, "-c", block.text], folder, page, block)
        elif block.language == "console":
            for line in block.text.splitlines():
                assert line.startswith("$ "), f"{page.name}:{block.line}: {line}"
                told += _run(["bash", "-ec", f"{_BASCULE}\n{line[2:]}"], folder, page, block)
    return told


_BASCULE = f'bascule() {{ "{sys.executable}" -m bascule.app "$@"; }}'


def _run(command: list[str], folder: Path, page: Path, block: Block) -> str:
    inherited = {key: value for key, value in os.environ.items() if key != "BASCULE_EXTENSIONS"}
    environment = inherited | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{page.name}:{block.line}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout
