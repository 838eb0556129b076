"""Python in the documentation runs: each page's blocks in order, in one process, in an empty folder."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, blocks, name, pages

# executed by tests of their own: tests/extending takes these pages apart, tests/notebooks the tutorial
ELSEWHERE = ("docs/howto/", "docs/tutorial.md", "docs/zh/", "CONTRIBUTING.md")
# they train models, or start qlib or freqtrade
SLOW = (
    "docs/concepts/bundle.md",
    "docs/freqai.md",
    "docs/qlib.md",
    "docs/risk.md",
    "docs/rehearse.md",
    "README.md",
)


def _with_python() -> list[Path]:
    return [
        page
        for page in pages()
        if not name(page).startswith(ELSEWHERE) and any(b.language == "python" for b in blocks(page))
    ]


def _script(page: Path) -> str:
    """The page's blocks, each line at its own number, so that an error names the page's line."""
    lines: list[str] = []
    for block in blocks(page):
        if block.language == "python":
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name(page), marks=[pytest.mark.slow] if name(page) in SLOW else [])
        for page in _with_python()
    ],
)
def test_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    script = tmp_path / f"page_{page.stem}.py"  # never the name of a package
    script.write_text(_script(page), "utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=work, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{name(page)}\n{done.stderr[-3000:]}"


def test_the_concepts_compute_what_they_say() -> None:
    """Every concept has a block that asserts something."""
    silent = [
        name(page)
        for page in sorted((DOCS / "concepts").glob("*.md"))
        if page.stem != "index"
        and not any("assert " in b.text for b in blocks(page) if b.language == "python")
    ]
    assert silent == []


@pytest.mark.parametrize(
    "page", [pytest.param(p, id=name(p)) for p in pages() if name(p).startswith("docs/zh/")]
)
def test_chinese_pages_run_the_same_code(page: Path) -> None:
    """A Chinese page's Python is that of its partner, which is executed; comments aside."""

    def code(path: Path) -> list[str]:
        return [ast.dump(ast.parse(block.text)) for block in blocks(path) if block.language == "python"]

    assert code(page) == code(DOCS / page.relative_to(DOCS / "zh"))
