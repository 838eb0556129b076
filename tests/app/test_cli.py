"""``bascule`` itself: version, check, schema, errors of input, and how little its import costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule import __version__
from tests.app.calls import call
from tests.app.runs import write_run


def candles(rows: int = 24 * 40, instruments: tuple[str, ...] = ("AAA_USDT", "BBB_USDT")) -> pd.DataFrame:
    """A plain long panel in the project's own column names."""
    time = pd.date_range("2022-01-01", periods=rows, freq="h", tz="UTC")
    rng = np.random.default_rng(0)
    parts = []
    for name in instruments:
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
        parts.append(
            pd.DataFrame(
                {"time": time, "symbol": name, "open": close, "high": close * 1.01, "low": close * 0.99}
            ).assign(close=close, volume=1.0)
        )
    return pd.concat(parts, ignore_index=True)


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(path / "candles.csv", index=False)
    return path / "candles.csv"


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert __version__ in capsys.readouterr().out
    assert call("run", "--help") == 0
    assert "freqtrade" in capsys.readouterr().out
    assert call("rum") == 2


def test_import_is_light() -> None:
    code = (
        "import sys, bascule, bascule.core, bascule.app.cli\n"
        "heavy = {'pandas','qlib','freqtrade','lightgbm','plotly','statsmodels','mlflow','pyarrow','scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_check_and_schema_and_factors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", write_run(tmp_path)) == 0
    assert "3 factors" in capsys.readouterr().out
    assert call("schema") == 0
    assert "walk_forward" in json.loads(capsys.readouterr().out)["properties"]
    assert call("factor", "ls", "alpha158") == 0
    assert "KMID" in capsys.readouterr().out
    assert call("factor", "explain", "Mean($close,5)/$close", "Std($close,5)") == 0
    assert "Mean" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_health_of_bad_data_has_its_own_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = candles()
    frame.loc[5, "low"] = frame.loc[5, "high"] * 2
    source = {"source": {"kind": "long", "path": str(write_csv(tmp_path, frame))}}
    config = write_run(tmp_path, data=source)
    assert call("data", "check", config, "--json") == 1
    assert json.loads(capsys.readouterr().out)["worst"] == "error"


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("missing column", "volume"),
        ("no zone", "zone"),
        ("off the grid", "grid"),
        ("unknown pair", "NOPE_USDT"),
        ("unreadable symbol", r"\?\?\?"),
        ("empty file", "empty|no rows|no candle"),
        ("nobody in the universe", "universe|member|instrument"),
        ("unknown operator", "Meen"),
        ("typo", "horizn"),
        ("too little history", "first_test"),
        ("impossible candle", "impossible|high"),
    ],
)
def test_bad_input_is_one_clear_error_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, says: str
) -> None:
    import re

    frame = candles()
    changes: dict[str, object] = {}
    data: dict[str, object] = {}
    if case == "missing column":
        frame = frame.drop(columns="volume")
    elif case == "no zone":
        frame["time"] = frame["time"].dt.tz_localize(None)
    elif case == "off the grid":
        frame.loc[7, "time"] += pd.Timedelta("7min")
    elif case == "unknown pair":
        data["instruments"] = ["NOPE/USDT"]
    elif case == "unreadable symbol":
        frame.loc[3, "symbol"] = "???"
    elif case == "empty file":
        frame = frame.iloc[:0]
    elif case == "nobody in the universe":
        changes["universe"] = {"min_age_days": 4000}
    elif case == "unknown operator":
        changes["factors"] = [{"name": "a", "text": "Meen($close, 5)"}]
    elif case == "typo":
        changes["horizn"] = 3
    elif case == "too little history":
        changes["walk_forward"] = {"first_test": "2030-01-01"}
    elif case == "impossible candle":
        frame.loc[9, "high"] = 0.5
    data["source"] = {"kind": "long", "path": str(write_csv(tmp_path, frame))}
    assert call("run", write_run(tmp_path, data=data, **changes)) == 3
    message = capsys.readouterr().err
    assert re.search(says, message), message
    assert "remedy:" in message
    assert "Traceback" not in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["candles.csv", "run.yaml"]


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--debug", "run", tmp_path / "none.yaml") == 3
    assert "Traceback" in capsys.readouterr().err
