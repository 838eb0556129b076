"""What the gallery's pages say of real candles can be done again where those candles are at hand."""

from __future__ import annotations

import json
import runpy
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.app.config import load
from bascule.app.trials import REAL
from bascule.expr import parse
from tests.app.calls import call
from tests.realdata import panel_path

pytestmark = pytest.mark.real_data
ROOT = Path(__file__).parents[2]


def test_fourteen_perpetuals_have_candles_and_funding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "perpetuals.parquet"
    files = [str(panel_path("panel_4h")), str(panel_path("funding")), str(out)]
    monkeypatch.setattr(sys, "argv", ["perpetuals.py", *files])
    runpy.run_path(str(ROOT / "examples" / "perpetuals.py"), run_name="__main__")
    assert "14 perpetuals" in capsys.readouterr().out
    found = pd.read_parquet(out)
    eight = found["date"].dt.floor("8h") == found["date"]
    assert found.loc[eight, "funding_rate"].notna().mean() > 0.95
    assert found.loc[~eight, "funding_rate"].isna().all() and not found.duplicated(["date", "symbol"]).any()
    for page in ("market_neutral", "funding_carry", "mined_factors"):
        assert "14 Binance perpetuals" in (ROOT / "docs" / "gallery" / f"{page}.md").read_text("utf-8")


@pytest.mark.slow
def test_a_search_sees_nothing_of_the_days_that_are_traded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    order = ("--timeframe", "4h", "--end", "2021-07-01", "--horizon", "6", "--proposals", "64")
    found = tmp_path / "mined"
    assert call("mine", "run", "random", "--data", panel_path("panel_4h"), *order, "--out", found) == 0
    told = json.loads((found / "result.json").read_text())
    assert told["days"]["test"][1] == "2021-06-30" and told["trials"] > 30
    with sqlite3.connect(tmp_path / "runs" / "trials.sqlite") as held:
        (last,) = held.execute("SELECT MAX(past) FROM trial WHERE data = ?", [REAL]).fetchone()
    assert np.datetime64(last, "ns") <= np.datetime64("2021-07-01")

    # and the gallery's file takes what was found, by a path seen from the file
    file = tmp_path / "examples" / "mined_factors.yaml"
    file.parent.mkdir()
    file.write_text((ROOT / "examples" / "mined_factors.yaml").read_text("utf-8"))
    factors = load(file, ["factors=[../mined/factors.yaml]"]).recipe().factors
    assert {str(parse(one.text)) for one in factors} == {str(parse(one["text"])) for one in told["members"]}
