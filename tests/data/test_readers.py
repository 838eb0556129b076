"""Long tables from outside: read as they are meant, or refused with the place and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.core import DataError
from bascule.data.readers import read_long

from .candles import make


def outside(**changes: Any) -> pd.DataFrame:
    """What a user may have: exchange symbols, a ``date`` column, double precision."""
    frame = make(bars=30).rename(columns={"time": "date", "instrument": "symbol"})
    frame["symbol"] = frame["symbol"].str.replace("_", "")
    return frame.astype({"close": float}).assign(**changes)


def save(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".feather":
        frame.to_feather(path)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["x.parquet", "x.feather", "x.csv", "x.csv.gz"])
def test_all_formats_read_the_same(tmp_path: Path, name: str) -> None:
    pd.testing.assert_frame_equal(read_long(save(outside(), tmp_path / name)), make(bars=30))


def test_the_order_of_the_file_is_kept(tmp_path: Path) -> None:
    mixed = outside().sort_values("date", kind="stable")
    read = read_long(save(mixed, tmp_path / "x.parquet"))
    assert read["instrument"].tolist()[:4] == ["AAA_USDT", "BBB_USDT", "AAA_USDT", "BBB_USDT"]
    assert not read["time"].is_monotonic_decreasing


@pytest.mark.parametrize("time", ["time", "date", "timestamp", "datetime", "open_time", "Date"])
@pytest.mark.parametrize("symbol", ["symbol", "instrument", "pair", "ticker"])
def test_usual_names(tmp_path: Path, time: str, symbol: str) -> None:
    frame = outside().rename(columns={"date": time, "symbol": symbol, "open": "Open"})
    assert len(read_long(save(frame, tmp_path / "x.parquet"))) == 60


@pytest.mark.parametrize(
    ("convert", "assume"),
    [
        (lambda d: d.dt.tz_convert("Asia/Kolkata"), False),
        (lambda d: d.dt.tz_localize(None), True),
        (lambda d: d.astype("int64") // 10**9, False),
        (lambda d: d.astype("int64") // 10**6, False),
        (lambda d: d.astype("int64") // 10**3, False),
        (lambda d: d.astype("int64"), False),
        (lambda d: (d.astype("int64") // 10**9).astype(float), False),
        (lambda d: d.dt.strftime("%Y-%m-%dT%H:%M:%SZ"), False),
        (lambda d: d.dt.tz_convert("Asia/Tokyo").dt.strftime("%Y-%m-%dT%H:%M:%S+09:00"), False),
        (lambda d: d.dt.strftime("%Y-%m-%d %H:%M:%S"), True),
    ],
)
def test_times_of_every_kind(
    tmp_path: Path, convert: Callable[[pd.Series[Any]], pd.Series[Any]], assume: bool
) -> None:
    frame = outside()
    frame["date"] = convert(frame["date"])
    read = read_long(save(frame, tmp_path / "x.parquet"), assume_utc=assume)
    pd.testing.assert_series_equal(read["time"], make(bars=30)["time"])


@pytest.mark.parametrize(
    "spelling", ["AAA/USDT", "aaausdt", "AAA_USDT", " AAAUSDT "], ids=["pair", "lower", "id", "space"]
)
def test_symbols_of_every_spelling(tmp_path: Path, spelling: str) -> None:
    frame = outside().head(30).assign(symbol=spelling)
    assert set(read_long(save(frame, tmp_path / "x.csv"))["instrument"]) == {"AAA_USDT"}


def test_quote_and_settle(tmp_path: Path) -> None:
    frame = outside().head(30)
    bare = save(frame.assign(symbol="BTC"), tmp_path / "bare.parquet")
    assert set(read_long(bare, quote="USDT")["instrument"]) == {"BTC_USDT"}
    assert set(read_long(bare, quote="USDT", settle="USDT")["instrument"]) == {"BTC_USDT_USDT"}
    pair = save(frame.assign(symbol="ETHUSDT"), tmp_path / "pair.parquet")
    assert set(read_long(pair, quote="USDT")["instrument"]) == {"ETH_USDT"}
    with pytest.raises(DataError, match="quote="):
        read_long(bare)


def test_mapping_of_columns(tmp_path: Path) -> None:
    frame = outside(n_trades=5).rename(columns={"volume": "vol", "close": "last"})
    path = save(frame, tmp_path / "x.parquet")
    read = read_long(path, columns={"volume": "vol", "close": "last", "trades": "n_trades"})
    assert (read["trades"] == 5).all()
    assert read["trades"].dtype == np.float32
    with pytest.raises(DataError, match="'turnover'"):
        read_long(path, columns={"volume": "turnover"})


def test_unnamed_columns_are_left_out_and_known_extras_taken(tmp_path: Path) -> None:
    frame = outside(exchange="x", quote_volume=7.0, funding_rate=1e-4)
    read = read_long(save(frame, tmp_path / "x.parquet"))
    assert list(read.columns[7:]) == ["quote_volume", "funding_rate"]


def test_rows_with_a_missing_value_are_kept_for_health(tmp_path: Path) -> None:
    frame = outside()
    frame.loc[3, "close"] = np.nan
    assert np.isnan(read_long(save(frame, tmp_path / "x.csv"))["close"].iloc[3])


@pytest.mark.parametrize(
    ("frame", "match", "remedy"),
    [
        (outside().drop(columns="volume"), "no column is 'volume'", "columns="),
        (outside().drop(columns="symbol"), "no column is 'instrument'", "at hand"),
        (outside(timestamp=1), "could both be 'time'", "say which"),
        (outside().iloc[:0], "no rows", "check how"),
        (outside(date=outside()["date"].dt.tz_localize(None)), "no time zone", "assume_utc"),
        (outside(date="2024-01-01 00:00"), "no time zone", "assume_utc"),
        (outside(date="noon, Z"), "is no time", "ISO 8601"),
        (outside(date=12), "no epoch times", "one unit"),
        (outside(date=1.7e9 + 0.5), "fractions", "whole"),
        (outside(date=pd.NaT), "has no time", "remove"),
        (outside(symbol="???"), "not an asset name|cannot read", "BTC/USDT"),
        (outside(symbol=None), "empty symbols", "remove"),
        (outside(symbol=["AAAUSDT", "AAA/USDT"] * 30), "same instrument AAA_USDT", "keep one"),
        (outside(close="1,234.5"), "'1,234.5', which is not a number", "thousands"),
        (outside(volume=1e39), "too large", "unit"),
    ],
)
def test_refusals_name_the_file_and_the_remedy(
    tmp_path: Path, frame: pd.DataFrame, match: str, remedy: str
) -> None:
    path = save(frame, tmp_path / "x.parquet")
    with pytest.raises(DataError, match=match) as caught:
        read_long(path)
    assert str(path) in str(caught.value.where)
    assert remedy in str(caught.value.remedy)


def test_text_in_numbers_of_a_csv(tmp_path: Path) -> None:
    frame = outside().astype({"low": object})
    frame.loc[4, "low"] = "n.a."
    with pytest.raises(DataError, match=r"row 5 holds 'n\.a\.'"):
        read_long(save(frame, tmp_path / "x.csv"))


def test_files_that_are_not_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    (tmp_path / "bad.csv.gz").write_bytes(b"not gzip at all")
    (tmp_path / "x.xlsx").touch()
    for name, match in {
        "no.parquet": "no such file",
        "empty.csv": "no rows",
        "bad.parquet": "cannot be read",
        "bad.csv.gz": "cannot be read",
        "x.xlsx": "unknown kind",
    }.items():
        with pytest.raises(DataError, match=match):
            read_long(tmp_path / name)
