"""``bascule factor …`` from the command line to the page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule import cluster
from bascule.app.candles import read
from bascule.app.factornames import pick
from bascule.app.sources import synthetic
from bascule.app.tearpage import page
from bascule.app.tearsheet import measure
from bascule.app.trials import Tries
from bascule.core import ConfigError, DataError, ExpressionError
from bascule.data.store import Store
from bascule.evaluate import Ledger, SheetSettings
from bascule.factors import library
from tests.app.calls import call
from tests.app.runs import write_run
from tests.markets import random_panel


@pytest.fixture(scope="module")
def candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred days of hours in which the five-bar move reverts."""
    rows, width = 24 * 100, 12
    random = np.random.default_rng(0)
    close = np.full((rows, width), 100.0)
    for t in range(6, rows):
        past = close[t - 1] / close[t - 6] - 1
        past -= past.mean()
        close[t] = close[t - 1] * np.exp(random.normal(0, 0.01, width) - 0.1 * past)
    opens = np.vstack([close[:1], close[:-1]])
    time = pd.date_range("2022-01-01", periods=rows, freq="h", tz="UTC")
    parts = [
        pd.DataFrame(
            {
                "time": time,
                "symbol": f"C{n:02d}USDT",
                "open": opens[:, n],
                "high": np.maximum(opens[:, n], close[:, n]) * 1.001,
                "low": np.minimum(opens[:, n], close[:, n]) * 0.999,
                "close": close[:, n],
                "volume": random.lognormal(3, 0.5, rows),
            }
        )
        for n in range(width)
    ]
    path = tmp_path_factory.mktemp("data") / "hours.parquet"
    pd.concat(parts, ignore_index=True).to_parquet(path)
    return path


def test_libraries_and_search(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("factor", "ls") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("alpha158", "alpha360", "alpha101", "macd", "crypto"))
    assert call("factor", "search", "funding", "--library", "crypto") == 0
    assert "FUNDING_Z" in capsys.readouterr().out
    assert call("factor", "search", "nothing at all like this") == 1
    assert call("factor", "search", "--library", "nope") == 3


def test_show_tells_all_and_lists_keep_one_line_a_factor(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("factor", "show", "IDIO_VOL", "alpha158:CORD5", "MINE=$close/$open") == 0
    shown = capsys.readouterr().out
    for told in ("IDIO_VOL · crypto", "Ang, Hodrick", "720 candles", "$close $volume", "MINE", "low risk"):
        assert told in shown
    # a long text is folded, not cut
    assert shown.count("Std(($close/Ref($close,1)-1),720)") == 1
    assert "0.5)" in shown
    assert call("factor", "show", "idio_vol") == 3
    assert "did you mean 'IDIO_VOL'" in capsys.readouterr().err
    for command in (("ls", "alpha101"), ("search", "--library", "alpha101")):
        assert call("factor", *command) == 0
        lines = capsys.readouterr().out.splitlines()
        assert sum(line.startswith(" WQ") for line in lines) == 101
        assert len(lines) <= 103


def test_a_report_of_one_factor(candles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, ledger = tmp_path / "sheet.html", tmp_path / "trials.sqlite"
    command = ("factor", "report", "--data", candles, "--horizon", 4, "--out", out, "--ledger", ledger)
    assert call(*command, "ROC5") == 0
    shown = capsys.readouterr().out
    assert "1 trial counted" in shown
    html = out.read_text("utf-8")
    for text in ("Cumulative IC", "Against the targets", "Long-short", "By regime", "Ref($close, 5)/$close"):
        assert text in html
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="?http', html)
    # the factor is not new the second time, another one is
    assert call(*command, "ROC5") == 0
    assert "1 trial counted" in capsys.readouterr().out
    assert call(*command, "$close/Ref($close,3)-1") == 0
    assert "2 trials counted" in capsys.readouterr().out


def test_a_comparison_finds_what_was_planted(
    candles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.html"
    names = ["ROC5", "$volume", "$volume/Mean($volume,24)", "MAX_RETURN", "AMIHUD"]
    options = ("--data", candles, "--horizon", 4, "--out", out, "--ledger", tmp_path / "t.sqlite")
    assert call("factor", "compare", *names, *options, "--top", 10, "--start", "2022-01-05") == 0
    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if line.startswith(" ROC5"))
    assert line.rstrip().endswith("yes")
    assert "pool IC out of sample" in shown
    assert "Marginal contribution" in out.read_text("utf-8")


def test_a_store_is_read_and_is_a_venue(
    tmp_path: Path, candles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bascule.core import Timeframe
    from bascule.data import readers

    store = Store.create(tmp_path / "store")
    step = Timeframe.parse("1h")
    store.write(readers.read_long(candles), step)
    store.build_provider(step)
    held = read(store.path, "1h", "2022-02-01", None)
    assert held.source == "store store"
    assert held.synthetic is None
    assert held.panel.shape == (24 * 69, 12)
    assert str(held.panel.time[0]).startswith("2022-02-01")
    out = tmp_path / "v.html"
    command = ("factor", "report", "ROC5", "--data", candles, "--horizon", 4, "--out", out)
    command = (*command, "--ledger", tmp_path / "t.sqlite", "--venue")
    assert call(*command, f"elsewhere={store.path}") == 0
    assert "By venue" in out.read_text("utf-8")
    assert "elsewhere" in capsys.readouterr().out  # the terminal tells the venues too
    for bad in ("elsewhere", f"hours={store.path}"):
        assert call(*command, bad) == 3
        assert "--venue" in capsys.readouterr().err


def test_commands_and_runs_count_in_one_ledger(tmp_path: Path) -> None:
    """A run's file names the market and the ledger that the run itself uses."""
    from bascule.app.config import load

    config = write_run(tmp_path)
    held = read(config, "1h")
    assert held.ledger == load(config).ledger_file
    assert held.source == "synthetic market of small"
    assert Tries.on(held.ledger, held.synthetic) == Tries.on(held.ledger, synthetic(load(config)))
    out = ("--out", tmp_path / "o.html")
    assert call("factor", "report", "ROC5", "--data", config, "--horizon", 4, *out) == 0
    assert Ledger(held.ledger).count(Tries.on(held.ledger, held.synthetic).market).trials == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["report", "KSFT5"], "did you mean"),
        (["report", "FUNDING_Z", "--data", "DATA"], r"\$funding_rate for FUNDING_Z"),
        (["report", "alpha158"], "158 factors in full"),
        (["compare", "ROC5"], "nothing to be compared"),
        (["report", "ROC5", "--data", "DATA", "--split", "2030-01-01"], "rows in sample"),
        (["report", "ROC5", "--data", "DATA", "--split", "soon"], r"split: 'soon' is no time"),
        (["report", "ROC5", "--data", "DATA", "--start", "2030-01-01"], "no candle"),
        (["report", "ROC5", "--data", "nowhere.parquet"], "nowhere"),
        (["report", "Ref($close,-1)"], "future"),
    ],
)
def test_mistakes_are_one_clear_error(
    candles: Path, tmp_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [str(candles) if a == "DATA" else a for a in arguments]
    out, ledger = tmp_path / "o.html", tmp_path / "t.sqlite"
    assert call("factor", *filled, "--out", out, "--ledger", ledger) == 3
    message = capsys.readouterr().err
    assert re.search(says, message), message
    assert "Traceback" not in message
    assert not out.exists()


def test_names_are_looked_up() -> None:
    assert [f.name for f in pick(["alpha101:WQ001", "REV_1D", "$close/$open"])] == [
        "WQ001",
        "REV_1D",
        "TEXT3",
    ]
    (own,) = pick(["CALM=-1*Std($close,5)"])
    assert (own.name, own.text) == ("CALM", "-1*Std($close,5)")
    assert len(pick(["macd", "crypto"])) == 3 + len(library("crypto"))
    # OPEN0 has one text in both libraries of qlib; VOLUME59 is in one; what differs must be named in full
    assert pick(["OPEN0"])[0].text == "$open/$close"
    with pytest.raises(ConfigError, match="no library has"):
        pick(["alpha158:WQ001"])
    with pytest.raises(ExpressionError):
        pick(["Meen($close,3)"])
    with pytest.raises(ConfigError, match="unknown factor library"):
        pick(["nope:WQ001"])


def test_in_sample_figures_know_nothing_of_later_rows() -> None:
    panel = random_panel(1, 24 * 60, 10)
    settings = SheetSettings(horizon=4, horizons=(1, 4, 12), reps=100)
    factors = pick(["ROC5", "REV_1D"])
    whole = measure(factors, panel, settings, source="x", trials=1)
    split = whole.sheets[0].split
    close = panel["close"].copy()
    opens = panel["open"].copy()
    close[split:] *= np.float32(1.7)
    opens[split:] *= np.random.default_rng(0).uniform(0.5, 2, opens[split:].shape).astype(np.float32)
    changed = measure(factors, panel.with_fields(close=close, open=opens), settings, source="x", trials=1)
    assert whole.together is not None
    assert changed.together is not None
    for one, two in zip(whole.sheets, changed.sheets, strict=True):
        assert one.inside == two.inside
        assert one.outside != two.outside
    np.testing.assert_array_equal(whole.together.correlation, changed.together.correlation)
    np.testing.assert_array_equal(whole.together.pool.weights, changed.together.pool.weights)
    assert whole.together.overfitting == changed.together.overfitting


def test_a_factor_without_values_makes_a_page_all_the_same() -> None:
    panel = random_panel(2, 24 * 30, 6).with_fields(hole=np.full((720, 6), np.nan, np.float32))
    settings = SheetSettings(horizon=2, horizons=(1, 2, 4), reps=100)
    found = measure(pick(["$hole", "ROC5"]), panel, settings, source="x", trials=1)
    assert "TEXT1" in page(found).render()
    with pytest.raises(DataError):
        measure(pick(["$nothing"]), panel, settings, source="x", trials=1)


def test_sheets_measured_side_by_side_are_those_measured_in_turn() -> None:
    panel = random_panel(1, 24 * 60, 10)
    settings = SheetSettings(horizon=4, horizons=(1, 4), reps=100)
    factors = pick(["ROC5", "MA10", "REV_1D"])
    alone = measure(factors, panel, settings, source="x", trials=3)
    with cluster.connect("local", workers=2) as executor:
        spread = measure(factors, panel, settings, source="x", trials=3, executor=executor)
    for one, other in zip(alone.sheets, spread.sheets, strict=True):
        assert (one.name, one.inside, one.outside) == (other.name, other.inside, other.outside)
        np.testing.assert_array_equal(one.rank_ic, other.rank_ic)
