"""The how-to pages do what they say, with the very code that stands on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.extending.pages import PAGES, lines_of_code, modules, run_page

HEAVY = ("own-data", "own-factor", "own-miner", "own-model", "own-risk-factor", "own-source")
BY_HAND = ("own-strategy",)  # needs a bundle: test_strategy.py


def test_every_part_has_a_page() -> None:
    names = {page.stem for page in PAGES}
    assert names >= {
        f"own-{p}" for p in ("data", "operator", "factor", "source", "miner", "model", "strategy")
    }
    index = next(page for page in PAGES if page.stem == "index").read_text()
    assert [name for name in names - {"index"} if f"({name}.md)" not in index] == []


@pytest.mark.parametrize("page", [pytest.param(p, id=p.stem) for p in PAGES])
def test_each_takes_under_thirty_lines(page: Path) -> None:
    for name, text in modules(page).items():
        assert lines_of_code(text) < 30, name


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, id=p.stem, marks=[pytest.mark.slow] if p.stem in HEAVY else [])
        for p in PAGES
        if p.stem not in BY_HAND
    ],
)
def test_the_page_runs(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)
    for check in CHECKS.get(page.stem, ()):
        check(tmp_path)


def mined(folder: Path) -> None:
    found = json.loads((folder / "mined" / "result.json").read_text())
    assert found["searcher"] == "climber" and found["proposals"] == 96
    # the searcher's own idea was tried: averages of what it had found
    assert found["trials"] > 32
    assert all(
        one["tags"][1] == "climber"
        for one in yaml.safe_load((folder / "mined/factors.yaml").read_text())["factors"]
    )


def fed(folder: Path) -> None:
    from bascule.data.store import Store

    store = Store.open(folder / "store")
    assert len(store.instruments("1h")) == 6
    assert store.panel("1h").shape[0] == 40 * 24


CHECKS = {"own-miner": [mined], "own-source": [fed]}
