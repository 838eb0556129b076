"""The notebooks: stored with what they printed, small, quiet; and executed again with the same words."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest

from bascule.core.ports import free_port
from tests.docs.pages import DOCS

FOLDER = DOCS / "notebooks"
NOTEBOOKS = ("explore_a_factor", "mine_and_validate", "from_signal_to_dry_run")
LARGEST = 1_500_000  # bytes, all of them
_PORT = "18080"  # of the bot's REST server
_NUMBER = re.compile(r"[-+]?\d[\d,.:e%T-]*")


def read(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a notebook that is not of the format's letter
        return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def words(cell: Any) -> list[str]:
    """Lines that a cell printed, figures masked, and how many pictures it drew."""
    text = "".join(one["text"] for one in cell.outputs if one.output_type == "stream")
    pictures = sum("image/png" in one.get("data", {}) for one in cell.outputs)
    masked = [" ".join(_NUMBER.sub("#", line).split()) for line in text.splitlines()]
    return [*masked, f"{pictures} pictures"]


def test_all_are_known_and_small() -> None:
    found = sorted(FOLDER.glob("*.ipynb"))
    assert [path.stem for path in found] == sorted(NOTEBOOKS)
    assert sum(path.stat().st_size for path in found) < LARGEST


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_stored_was_executed_in_order_and_without_complaint(name: str) -> None:
    notebook = read(name)
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [one for cell in cells for one in cell.outputs]
    assert {one.output_type for one in outputs} <= {"stream", "display_data", "execute_result"}
    assert all(one.get("name", "stdout") == "stdout" for one in outputs)
    assert sum("image/png" in one.get("data", {}) for one in outputs) >= 2
    told = "".join(one["text"] for one in outputs if one.output_type == "stream")
    assert not re.search(r"/(tmp|home|root|work)/", told)


# what only words of the story may differ in: which formulas a search finds is a matter of the last bit
OPEN = {"mine_and_validate": re.compile(r"train|overfitting|stand|chosen")}


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_and_says_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    # freqtrade leaves its logging alone where pytest runs
    for variable in ("PYTHONDONTWRITEBYTECODE", "PYTEST_VERSION", "PYTEST_CURRENT_TEST"):
        monkeypatch.delenv(variable, raising=False)
    stored, again = read(name), read(name)
    port = str(free_port())
    for cell in code(again):
        cell.source = cell.source.replace(_PORT, port)
        cell.outputs = []
    NotebookClient(again, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    differ = OPEN.get(name)
    for before, after in zip(code(stored), code(again), strict=True):
        assert all(one.get("name", "stdout") == "stdout" for one in after.outputs), after.outputs
        old, new = words(before), words(after)
        if differ is not None:
            old, new = ([line for line in lines if not differ.search(line)] for lines in (old, new))
        assert old == new
