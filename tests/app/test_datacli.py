"""``bascule data``: a store from nothing to freqtrade's files, with its health on the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer.testing
import yaml

from bascule.app.datacli import data_app
from bascule.core import BasculeError
from bascule.data.readers import read_freqtrade
from bascule.data.store import Store
from tests.data.candles import make

NAMES = ("AAA_USDT", "BBB_USDT")


def call(*arguments: object) -> tuple[int, str]:
    """Exit code (3 for an error of ours) and output."""
    done = typer.testing.CliRunner().invoke(data_app, [str(one) for one in arguments])
    if isinstance(done.exception, BasculeError):
        return done.exception.exit_code, str(done.exception)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


@pytest.fixture
def feed(tmp_path: Path) -> tuple[Path, pd.DataFrame]:
    """An update file whose source is a long file with half of the candles."""
    frame = make(NAMES, bars=288 * 2 + 30, start="2024-01-30", timeframe="5m")
    frame.head(0).to_csv(tmp_path / "candles.csv", index=False)
    config = {
        "store": "store",
        "feeds": [
            {
                "source": "file",
                "options": {"path": str(tmp_path / "candles.parquet"), "timeframe": "5m"},
                "start": "2024-01-01",
                "resample": ["1h", "1d"],
            }
        ],
        "universes": {"1h": {"two": {"min_age_days": 0, "volume_days": 1}}},
    }
    (tmp_path / "update.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "update.yaml", frame


def publish(config: Path, frame: pd.DataFrame) -> None:
    frame.to_parquet(config.parent / "candles.parquet")


def test_from_nothing_to_freqtrade(feed: tuple[Path, pd.DataFrame]) -> None:
    config, frame = feed
    folder = config.parent
    publish(config, frame[frame["time"] < "2024-01-31T05:00"])
    code, text = call("update", config, "--json")
    assert code == 0, text
    assert json.loads(text)["feeds"][0]["added"] == 2 * 348
    publish(config, frame)
    assert call("update", config)[0] == 0
    store = Store.open(folder / "store")
    pd.testing.assert_frame_equal(store.frame("5m"), frame)
    assert len(store.section("5m").months["2024-01"]) == 2  # appended, not written again
    assert [str(one) for one in store.timeframes] == ["5m", "1h", "1d"]
    assert store.panel("1h", universe="two").members.any()
    assert call("update", config)[0] == 0  # nothing new, nothing done
    code, text = call("ls", folder / "store", "--json")
    told = json.loads(text)
    assert [one["rows"] for one in told["candles"]] == [1_212, 100, 4]
    assert [one["source"] for one in told["candles"]] == ["", "5m", "5m"]
    assert told["universes"] == {"1h": ["two"]}
    code, text = call("ls", folder / "store")
    assert code == 0
    assert "1,212" in text
    code, text = call("compact", folder / "store")
    assert (code, text.strip()) == (0, "1 files fewer")
    assert call("check", folder / "store", "--html", folder / "h.html")[0] == 0
    assert {path.name for path in folder.glob("h-*.html")} == {"h-5m.html", "h-1h.html", "h-1d.html"}
    code, text = call(
        "export", folder / "store", folder / "ft", "--timeframe", "5m", "--instrument", "AAA/USDT"
    )
    assert code == 0, text
    expected = frame[frame["instrument"] == "AAA_USDT"].reset_index(drop=True)
    pd.testing.assert_frame_equal(read_freqtrade(folder / "ft", "5m"), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(("policy", "kept"), [("keep", 1.0), ("replace", 2.0)])
def test_restated_candles_go_by_the_policy(feed: tuple[Path, pd.DataFrame], policy: str, kept: float) -> None:
    config, frame = feed
    publish(config, frame[frame["time"] < "2024-01-31T05:00"])
    code, text = call("update", config)
    assert code == 0, text
    changed = frame.copy()
    late = frame["time"] == "2024-01-31T04:50"
    changed.loc[late, "volume"] *= np.float32(2)
    publish(config, changed)
    code, text = call("update", config)
    assert code == 3
    assert "another volume" in text
    values = yaml.safe_load(config.read_text())
    values["feeds"][0]["restated"] = policy
    config.write_text(yaml.safe_dump(values))
    code, text = call("update", config, "--json")
    assert code == 0, text
    (told,) = json.loads(text)["feeds"]
    held = Store.open(config.parent / "store").frame("5m")
    assert len(held) == len(frame)
    np.testing.assert_allclose(held.loc[late, "volume"] / frame.loc[late, "volume"], kept)
    assert [issue["count"] for issue in told["health"]["issues"] if issue["name"] == "restated"] == [1, 1]


def test_the_check_writes_a_page_and_fails_as_it_is_told(tmp_path: Path) -> None:
    frame = make(NAMES, bars=200)
    rows = np.flatnonzero(frame["instrument"] == "AAA_USDT")
    frame.loc[rows[-1], ["high", "close"]] *= np.float32(3)
    file = tmp_path / "candles.parquet"
    frame.to_parquet(file)
    code, text = call("check", file, "--timeframe", "1h", "--html", tmp_path / "health.html")
    assert code == 0
    assert "in quarantine: AAA_USDT (jump)" in text
    page = (tmp_path / "health.html").read_text("utf-8")
    for part in ("AAA_USDT", "jump", "Quarantine", "Coverage", "plotly"):
        assert part in page
    code, text = call("check", file, "--timeframe", "1h", "--json")
    assert json.loads(text)["timeframes"]["1h"]["quarantine"] == {"AAA_USDT": ["jump"]}
    assert call("check", file, "--timeframe", "1h", "--set", "severity={jump: warning}")[0] == 0
    strict = ("--set", "severity={jump: warning}", "--fail-on", "warning")
    assert call("check", file, "--timeframe", "1h", *strict)[0] == 1
    frame.loc[rows[5], "low"] = np.float32(0)
    frame.to_parquet(file)
    assert call("check", file, "--timeframe", "1h")[0] == 1
    assert call("check", file, "--timeframe", "1h", "--fail-on", "never")[0] == 0


def test_a_damaged_store_fails_its_check(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    store.write(make(NAMES), "1h")
    part = next((store.path / "candles/1h").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    code, text = call("check", store.path)
    assert code == 3
    assert "another checksum" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("check", "{x}.parquet"), "give --timeframe"),
        (("check", "{x}.parquet", "--timeframe", "1h"), "no such file"),
        (("ls", "{x}"), "no store"),
        (("update", "{x}.yaml"), "cannot be read"),
        (("check", "{x}.parquet", "--timeframe", "1h", "--set", "spike"), "key.sub=value"),
        (("check", "{x}.parquet", "--timeframe", "1h", "--set", "spikes=1"), "unknown key"),
    ],
)
def test_refusals(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    code, text = call(*(one.replace("{x}", str(tmp_path / "x")) for one in arguments))
    assert code == 3
    assert says in text
