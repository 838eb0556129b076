"""Folders written by freqtrade's own handlers are read; what is missing is said, never taken as zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.core import DataError, Instrument
from bascule.data.readers import read_freqtrade

from .candles import make

SPOT = ("AAA_USDT", "BBB_USDT")
FUTURES = ("AAA_USDT_USDT", "BBB_USDT_USDT")
FORMATS = ["feather", "parquet", "json", "jsongz"]


def handler(folder: Path, kind: str) -> Any:
    from freqtrade.data.history import get_datahandler

    return get_datahandler(folder, kind)


def of(frame: pd.DataFrame, instrument: str) -> pd.DataFrame:
    """One instrument in freqtrade's form."""
    one = frame[frame["instrument"] == instrument].rename(columns={"time": "date"})
    numbers = one[["open", "high", "low", "close", "volume"]].astype(float)
    return pd.concat([one["date"].dt.as_unit("ms"), numbers], axis=1).reset_index(drop=True)


def write(folder: Path, frame: pd.DataFrame, kind: str, timeframe: str, candle: str) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    for name in frame["instrument"].unique():
        pair = Instrument.parse(name).pair
        handler(folder, kind).ohlcv_store(pair, timeframe, of(frame, name), candle_type=_type(candle))


def _type(candle: str) -> Any:
    from freqtrade.enums import CandleType

    return CandleType.from_string(candle)


def funding(folder: Path, kind: str, name: str, dates: pd.DatetimeIndex, rates: list[float]) -> None:
    frame = pd.DataFrame({"date": dates.as_unit("ms"), "funding_rate": rates})
    handler(folder, kind).ohlcv_store(Instrument.parse(name).pair, "1h", frame, _type("funding_rate"))


@pytest.mark.parametrize("kind", FORMATS)
def test_spot(tmp_path: Path, kind: str) -> None:
    frame = make(SPOT)
    write(tmp_path, frame, kind, "1h", "spot")
    read = read_freqtrade(tmp_path, "1h")
    # json keeps ten decimals
    pd.testing.assert_frame_equal(read, frame, rtol=1e-7, check_exact=kind in ("feather", "parquet"))


@pytest.mark.parametrize("kind", FORMATS)
def test_futures_with_funding_and_mark(tmp_path: Path, kind: str) -> None:
    frame = make(FUTURES)
    write(tmp_path, frame, kind, "1h", "futures")
    write(tmp_path, frame, kind, "1h", "mark")
    dates = pd.date_range("2024-01-30", periods=12, freq="8h", tz="UTC")
    for name in FUTURES:
        funding(tmp_path, kind, name, dates, [i * 1e-4 for i in range(12)])
    read = read_freqtrade(tmp_path, "1h", market="futures")
    assert list(read.columns[7:]) == ["funding_rate", "mark"]
    one = read[read["instrument"] == "BBB_USDT_USDT"].set_index("time")
    known = one["funding_rate"].dropna()
    assert list(known.index) == list(dates)
    np.testing.assert_allclose(known, [i * 1e-4 for i in range(12)], rtol=1e-6)
    np.testing.assert_allclose(one["mark"], one["close"], rtol=1e-6)
    # the folder may be named itself
    pd.testing.assert_frame_equal(read_freqtrade(tmp_path / "futures", "1h", market="futures"), read)


def test_funding_and_mark_of_other_timeframes(tmp_path: Path) -> None:
    """freqtrade keeps both at 1h whatever the candles are."""
    name = "AAA_USDT_USDT"
    hourly = make([name], bars=96)
    dates = pd.date_range("2024-01-30", periods=12, freq="8h", tz="UTC")
    for timeframe, bars in (("15m", 384), ("4h", 24), ("1d", 4)):
        folder = tmp_path / timeframe
        write(folder, make([name], bars=bars, timeframe=timeframe), "feather", timeframe, "futures")
        write(folder, hourly, "feather", "1h", "mark")
        funding(folder, "feather", name, dates + pd.Timedelta(milliseconds=3), [1e-4] * 12)
        read = read_freqtrade(folder, timeframe, market="futures").set_index("time")
        known = read["funding_rate"].dropna()
        if timeframe == "1d":
            np.testing.assert_allclose(known, 3e-4, rtol=1e-6)  # three settlements a day
        else:
            assert list(known.index) == list(dates)
        marks = read["mark"].dropna()
        close = hourly.set_index("time")["close"]
        step = pd.Timedelta(timeframe.replace("m", "min"))
        for opened, mark in marks.items():
            # the mark candle that closes when this candle closes: nothing from later
            assert mark == close[opened + step - pd.Timedelta(hours=1)]
        assert len(marks) == (96 if timeframe == "15m" else len(read))


@pytest.mark.parametrize("missing", ["funding_rate", "mark"])
def test_missing_funding_or_mark_is_an_error(tmp_path: Path, missing: str) -> None:
    frame = make(FUTURES)
    write(tmp_path, frame, "feather", "1h", "futures")
    write(tmp_path, frame, "feather", "1h", "mark")
    for name in FUTURES:
        funding(tmp_path, "feather", name, pd.date_range("2024-01-30", periods=1, tz="UTC"), [0.0])
    (tmp_path / "futures" / f"BBB_USDT_USDT-1h-{missing}.feather").unlink()
    with pytest.raises(DataError, match=f"BBB_USDT_USDT has no {missing} file") as caught:
        read_freqtrade(tmp_path, "1h", market="futures")
    assert "download-data" in str(caught.value.remedy)


def test_old_funding_files_keep_the_rate_in_open(tmp_path: Path) -> None:
    name = "AAA_USDT_USDT"
    frame = make([name])
    write(tmp_path, frame, "json", "1h", "futures")
    write(tmp_path, frame, "json", "1h", "mark")
    path = tmp_path / "futures" / "AAA_USDT_USDT-1h-funding_rate.json"
    path.write_text("[[1706572800000, 0.0003, 0, 0, 0, 0]]")
    read = read_freqtrade(tmp_path, "1h", market="futures")
    assert read["funding_rate"].dropna().tolist() == [np.float32(0.0003)]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_freqtrade(tmp_path / "none", "1h")
    with pytest.raises(DataError, match="no freqtrade file at all"):
        read_freqtrade(tmp_path, "1h")
    write(tmp_path, make(SPOT), "feather", "1h", "spot")
    with pytest.raises(DataError, match="timeframes at hand: 1h") as caught:
        read_freqtrade(tmp_path, "5m")
    assert "--timeframes 5m" in str(caught.value.remedy)
    write(tmp_path, make(SPOT[:1]), "json", "1h", "spot")
    with pytest.raises(DataError, match="AAA_USDT is there twice"):
        read_freqtrade(tmp_path, "1h")
    (tmp_path / "AAA_USDT-1h.json").unlink()
    (tmp_path / "AAA_USDT-1h.feather").write_bytes(b"ARROW1 half")
    with pytest.raises(DataError, match="cannot be read"):
        read_freqtrade(tmp_path, "1h")
    (tmp_path / "AAA_USDT-1h.feather").unlink()
    (tmp_path / "AAA_USDT-1h.json").write_text("[]")
    with pytest.raises(DataError, match="no rows"):
        read_freqtrade(tmp_path, "1h")
    (tmp_path / "AAA_USDT-1h.json").write_text("[[1, 2]]")
    with pytest.raises(DataError, match="rows have 2 values"):
        read_freqtrade(tmp_path, "1h")


def test_a_file_of_a_dated_future_is_named(tmp_path: Path) -> None:
    path = tmp_path / "futures" / "BTC_USDT_USDT-240628-1h-futures.feather"
    path.parent.mkdir()
    path.touch()
    with pytest.raises(DataError, match="not an asset name") as caught:
        read_freqtrade(tmp_path, "1h", market="futures")
    assert caught.value.where == str(path) and "dated futures" in (caught.value.remedy or "")
