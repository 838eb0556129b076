"""One ledger for runs and factor commands."""

from __future__ import annotations

import io
import sqlite3
from pathlib import Path

import pytest
from rich.console import Console

from bascule.app.config import load
from bascule.app.run import Run
from bascule.app.sources import synthetic
from bascule.app.spine import stages
from bascule.app.stage import Runner
from bascule.app.trials import DEFAULT, REAL, Tries
from bascule.data.synthetic import SyntheticSettings
from bascule.expr import parse
from tests.app.runs import write_run


def research(path: Path, **changes: object) -> Run:
    """A small run up to its signals."""
    path.mkdir(exist_ok=True)
    config = load(write_run(path, **changes))
    run = Run(config, config.recipe(), Console(file=io.StringIO()))
    run.runner = Runner(config.home, stages(config)[:4])
    run.runner.run(run)
    return run


def rows(ledger: Path) -> list[tuple[str, str, int]]:
    with sqlite3.connect(ledger) as connection:
        return connection.execute("SELECT what, data, horizon FROM trial ORDER BY id").fetchall()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_run_counts_its_factors_and_its_model_once(tmp_path: Path) -> None:
    ledger = tmp_path / "all.sqlite"
    first = research(tmp_path / "one", ledger=str(ledger))
    held = rows(ledger)
    # three factors at two horizons, and the model at its own
    assert len(held) == 7
    assert first.trials == 7
    assert (str(parse("$close / Mean($close, 24) - 1")), first.tries.market, 6) in held
    assert len({market for _, market, _ in held}) == 1
    # what is done already is not looked at again; the same elsewhere is no new trial; another factor is
    assert research(tmp_path / "one", ledger=str(ledger)).trials == 7
    assert len(rows(ledger)) == 7
    assert research(tmp_path / "two", ledger=str(ledger)).trials == 7
    assert len(rows(ledger)) == 14
    page = next((tmp_path / "two" / "run" / "work").glob("signals-*/research.html")).read_text("utf-8")
    assert "7 that the ledger has on these days" in page
    more = [{"name": "trend", "text": "$close/Mean($close,12)-1"}]
    changed = research(tmp_path / "two", ledger=str(ledger), factors=more)
    # its factor at two horizons, and another model
    assert changed.trials == 10


def test_the_ledger_lies_beside_the_runs_and_real_candles_have_one_name(tmp_path: Path) -> None:
    config = load(write_run(tmp_path))
    assert config.ledger_file == config.home.parent / DEFAULT.name
    assert config.model_copy(update={"folder": None}).ledger_file == DEFAULT
    real = {"source": {"kind": "long", "path": "hours.parquet"}}
    assert synthetic(load(write_run(tmp_path, data=real))) is None
    assert Tries.on(DEFAULT, None).market == REAL
    names = {Tries.on(DEFAULT, SyntheticSettings(seed=seed)).market for seed in (1, 1, 2)}
    assert len(names) == 2
    assert REAL not in names
    assert load(write_run(tmp_path, ledger="t.sqlite")).ledger_file == tmp_path / "t.sqlite"
