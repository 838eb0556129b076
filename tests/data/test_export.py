"""What is exported is what freqtrade's own handlers write and read, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.core import DataError, UniverseError
from bascule.data.export import shortest_decimals, to_freqtrade
from bascule.data.readers import read_freqtrade
from bascule.data.store import Store
from bascule.data.synthetic import SyntheticSettings, generate

from .candles import make


def handler(folder: Path) -> Any:
    from freqtrade.data.history import get_datahandler

    return get_datahandler(folder, "feather")


def futures(tmp_path: Path, **settings: Any) -> tuple[Store, pd.DataFrame]:
    market = generate(SyntheticSettings(instruments=3, days=12, market="futures", **settings))
    store = Store.create(tmp_path / "store")
    store.write(market.frame, market.timeframe)
    return store, market.frame.drop(columns="quote_volume")


@pytest.fixture
def spot(tmp_path: Path) -> tuple[Store, pd.DataFrame]:
    market = generate(SyntheticSettings(instruments=3, days=12, missing=0.01))
    store = Store.create(tmp_path / "store")
    store.write(market.frame, market.timeframe)
    return store, market.frame.drop(columns="quote_volume")


def test_spot_round_trip(tmp_path: Path, spot: tuple[Store, pd.DataFrame]) -> None:
    store, frame = spot
    files = to_freqtrade(store, "1h", tmp_path / "binance", market="spot")
    assert [path.name for path in files] == [
        "SYN01_USDT-1h.feather",
        "SYN02_USDT-1h.feather",
        "SYNBTC_USDT-1h.feather",
    ]
    pd.testing.assert_frame_equal(read_freqtrade(tmp_path / "binance", "1h"), frame)


def test_freqtrade_reads_it_as_its_own(tmp_path: Path, spot: tuple[Store, pd.DataFrame]) -> None:
    from freqtrade.enums import CandleType, TradingMode

    store, frame = spot
    folder = tmp_path / "binance"
    to_freqtrade(store, "1h", folder, market="spot")
    pairs = handler(folder).ohlcv_get_available_data(folder, TradingMode.SPOT)
    assert ("SYNBTC/USDT", "1h", CandleType.SPOT) in pairs
    read = handler(folder).ohlcv_load("SYNBTC/USDT", "1h", CandleType.SPOT, fill_missing=False)
    one = frame[frame["instrument"] == "SYNBTC_USDT"]
    np.testing.assert_array_equal(read["close"].astype(np.float32), one["close"])
    np.testing.assert_array_equal(read["date"], one["time"])
    # freqtrade writes it back without any change of form
    again = tmp_path / "again"
    again.mkdir()
    handler(again).ohlcv_store("SYNBTC/USDT", "1h", read, CandleType.SPOT)
    ours = pd.read_feather(folder / "SYNBTC_USDT-1h.feather")
    pd.testing.assert_frame_equal(pd.read_feather(again / "SYNBTC_USDT-1h.feather"), ours)
    # and sees the tick size that the market has
    from freqtrade.data.btanalysis.historic_precision import get_tick_size_over_time

    assert get_tick_size_over_time(read).max() == pytest.approx(0.1)


def test_futures_round_trip_with_funding_and_mark(tmp_path: Path) -> None:
    store, frame = futures(tmp_path, missing=0, late=0, delisted=0)
    files = to_freqtrade(store, "1h", tmp_path / "binance", market="futures")
    assert len(files) == 9
    read = read_freqtrade(tmp_path / "binance", "1h", market="futures")
    pd.testing.assert_frame_equal(read, frame)


def test_freqtrade_charges_the_funding(tmp_path: Path) -> None:
    from freqtrade.enums import CandleType
    from freqtrade.exchange import Exchange

    store, frame = futures(tmp_path, missing=0, late=0, delisted=0)
    folder = tmp_path / "binance"
    to_freqtrade(store, "1h", folder, market="futures")
    pair = "SYNBTC/USDT:USDT"
    load = handler(folder).ohlcv_load
    both = Exchange.combine_funding_and_mark(
        load(pair, "1h", CandleType.FUNDING_RATE, fill_missing=False), load(pair, "1h", CandleType.MARK)
    )
    one = frame[frame["instrument"] == "SYNBTC_USDT_USDT"].reset_index(drop=True)
    settled = one["funding_rate"].notna().to_numpy()
    assert len(both) == settled.sum() == 36
    before = one["mark"].shift(1).fillna(one["mark"])
    np.testing.assert_array_equal(both["open_mark"].astype(np.float32), before[settled])
    np.testing.assert_array_equal(both["open_fund"].astype(np.float32), one["funding_rate"][settled])


@pytest.mark.parametrize("timeframe", ["15m", "4h"])
def test_mark_of_other_timeframes_is_hourly_and_known(tmp_path: Path, timeframe: str) -> None:
    store, frame = futures(tmp_path, missing=0, late=0, delisted=0, timeframe=timeframe)
    to_freqtrade(store, timeframe, tmp_path / "x", market="futures", instruments=["SYNBTC_USDT_USDT"])
    mark = pd.read_feather(tmp_path / "x/futures/SYNBTC_USDT_USDT-1h-mark.feather").set_index("date")
    one = frame[frame["instrument"] == "SYNBTC_USDT_USDT"].set_index("time")
    assert mark.index.is_unique
    assert (mark.index == mark.index.floor("h")).all()
    step = pd.Timedelta(timeframe.replace("m", "min"))
    for date, opened in mark["open"].iloc[1:].items():
        assert np.float32(opened) == one["mark"][date - step]
    funding = pd.read_feather(tmp_path / "x/futures/SYNBTC_USDT_USDT-1h-funding_rate.feather")
    assert set(funding["date"]) <= set(mark.index)


def test_futures_without_funding_or_mark_are_refused(tmp_path: Path) -> None:
    _, frame = futures(tmp_path, missing=0)
    one = frame["instrument"] == "SYN01_USDT_USDT"
    holed = frame["funding_rate"].notna() & one
    cases = {
        "no funding_rate": frame.drop(columns="funding_rate"),
        "no mark": frame.drop(columns="mark"),
        "SYN01_USDT_USDT has no funding_rate": frame.assign(funding_rate=frame["funding_rate"].where(~one)),
        "no mark price at": frame.assign(mark=frame["mark"].where(~holed)),
    }
    for n, (match, bad) in enumerate(cases.items()):
        store = Store.create(tmp_path / str(n))
        store.write(bad, "1h")
        with pytest.raises(DataError, match=match) as caught:
            to_freqtrade(store, "1h", tmp_path / "x", market="futures")
        assert "funding" in str(caught.value.remedy)
    assert not (tmp_path / "x").exists()


def test_a_part_of_the_store(tmp_path: Path, spot: tuple[Store, pd.DataFrame]) -> None:
    store, _ = spot
    (path,) = to_freqtrade(
        store,
        "1h",
        tmp_path / "x",
        market="spot",
        instruments=["SYNBTC_USDT"],
        start="2022-01-05",
        end="2022-01-07",
    )
    dates = pd.read_feather(path)["date"]
    assert dates.min() >= pd.Timestamp("2022-01-05", tz="UTC")
    assert dates.max() < pd.Timestamp("2022-01-07", tz="UTC")


def test_wrong_market_and_timeframe(tmp_path: Path, spot: tuple[Store, pd.DataFrame]) -> None:
    store, _ = spot
    with pytest.raises(UniverseError, match="no futures instrument"):
        to_freqtrade(store, "1h", tmp_path, market="futures")
    with pytest.raises(UniverseError, match="not of the futures market"):
        to_freqtrade(store, "1h", tmp_path, market="futures", instruments=["SYNBTC_USDT"])
    with pytest.raises(UniverseError, match="ZZZ_USDT"):
        to_freqtrade(store, "1h", tmp_path, market="spot", instruments=["ZZZ_USDT"])
    daily = make(["AAA_USDT_USDT"], timeframe="1d").assign(funding_rate=np.float32(0), mark=np.float32(1))
    store.write(daily, "1d")
    with pytest.raises(DataError, match="1d candles cannot say"):
        to_freqtrade(store, "1d", tmp_path, market="futures")


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=0), min_size=1))
def test_decimals_are_short_and_exact(values: list[float]) -> None:
    narrow = np.array(values, np.float32)
    wide = shortest_decimals(narrow)
    np.testing.assert_array_equal(wide.astype(np.float32), narrow)
    assert [repr(float(w)) for w in wide] == [repr(float(str(n))) for n in narrow]
