"""The whole way in, on real hourly candles with dead and migrated coins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bascule.core import DataError, StoreError, Timeframe
from bascule.data.export import to_freqtrade
from bascule.data.health import HealthSettings, Severity, check
from bascule.data.readers import read_freqtrade, read_long
from bascule.data.store import Store
from bascule.data.universe import UniverseSettings, lookback, membership
from tests.realdata import panel_path

pytestmark = pytest.mark.real_data
HOUR = Timeframe.parse("1h")


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return read_long(panel_path("panel_1h"))


@pytest.fixture(scope="module")
def store(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.create(tmp_path_factory.mktemp("real") / "store")
    store.write(frame, HOUR)
    store.build_provider(HOUR)
    return store


def test_health_finds_the_known_defects_and_no_more(frame: pd.DataFrame) -> None:
    report = check(frame, HOUR)
    assert (report.rows, report.instruments) == (1_880_942, 64)
    assert (report.count("gaps"), report.missing) == (624, 9_840)
    assert report.count("zero_volume") == 210
    assert not report.errors
    assert report.worst is Severity.WARNING
    (ftt,) = (i for i in report.issues if i.name == "gaps" and i.instrument == "FTT_USDT")
    assert ftt.severity is Severity.WARNING
    # every move above ln 2, whatever is usual for the coin: 16, of which 4 only undo the one before
    doubled = check(frame, HOUR, HealthSettings(spike_mads=1e-9, spike_move=float(np.log(2))))
    assert doubled.count("spike") + doubled.count("jump") == 12
    found = {i.instrument: i.example for i in doubled.issues if i.name in ("spike", "jump")}
    assert set(found) == {f"{c}_USDT" for c in ("ANC", "BNX", "LUNA", "MIR", "QUICK", "VIDT")}
    assert "-4.755 after 149 missing candles" in found["BNX_USDT"]


def test_the_store_gives_back_what_was_read(frame: pd.DataFrame, store: Store) -> None:
    pd.testing.assert_frame_equal(store.frame(HOUR), frame)
    assert store.verify() == 54 + 65 * 6 + 2


def test_dead_coins_are_there_and_vanish(store: Store) -> None:
    panel = store.panel(HOUR)
    assert panel.shape == (39_432, 64)
    breadth = panel.traded.sum(axis=1)
    assert breadth[0] == 19
    assert 56 <= breadth[panel.time == np.datetime64("2022-06-01")][0] <= 64
    ftt = panel.traded[:, panel.instruments.index("FTT_USDT")]
    holes = np.flatnonzero(np.diff(np.flatnonzero(ftt)) > 7_000)
    last = panel.time[np.flatnonzero(ftt)[holes[0]]]
    assert np.datetime64("2022-11-14") < last < np.datetime64("2022-11-17")
    luna = panel.traded[:, panel.instruments.index("LUNA_USDT")]
    quiet = panel.time[~luna & (panel.time > np.datetime64("2021-01-01"))]
    assert np.datetime64("2022-05-20") in quiet
    assert not luna[panel.time == np.datetime64("2022-05-20")].any()
    assert luna[panel.time == np.datetime64("2022-05-10")].all()
    assert luna[panel.time == np.datetime64("2022-06-05")].all()


# first and last candle; those that stood still between two lives, for how many days at most
LIVES = {
    "ANC": ("2022-01-25T11", "2022-12-27T01", 0),
    "MIR": ("2021-04-19T11", "2022-12-27T01", 1),
    "BTT": (None, "2022-01-17T02", 1),  # became another coin
    "NANO": (None, "2022-01-24T02", 1),  # became XNO
    "HNT": (None, "2022-10-14T01", 1),
    "BTG": (None, "2022-10-24T07", 1),
    "LUNA": ("2020-12-01T00", "2024-06-30T23", 18.25),  # another coin under the name since
    "VIDT": ("2021-09-09T08", "2024-06-30T23", 9.25),
    "BNX": ("2021-11-04T11", "2023-12-30T20", 6.25),
    "QUICK": ("2021-08-13T12", "2023-12-30T19", 4.25),
    "FTT": ("2020-01-01T00", "2023-12-30T19", 311.2),
}


@pytest.mark.parametrize("coin", LIVES)
def test_a_coin_lives_when_it_lived(store: Store, coin: str) -> None:
    first, last, pause = LIVES[coin]
    panel = store.panel(HOUR, instruments=[f"{coin}_USDT"])
    rows = np.flatnonzero(panel.traded[:, 0])
    if first is not None:
        assert panel.time[rows[0]] == np.datetime64(first)
    assert panel.listed[0] == panel.time[rows[0]]
    assert panel.time[rows[-1]] == np.datetime64(last)
    gaps = np.diff(panel.time[rows]).max() / np.timedelta64(1, "D")
    assert pause - 1 < gaps <= pause + 0.05
    members = membership(store.panel(HOUR), UniverseSettings(exclude=("BTC",)))
    mine = members[:, store.instruments(HOUR).index(f"{coin}_USDT")]
    old = panel.time[rows[0]] + np.timedelta64(30, "D")
    assert not mine[panel.time < old].any()  # too young
    assert mine.any() and not mine[rows[-1] + 1 :].any()  # and gone with its last candle
    assert not mine[~panel.traded[:, 0]].any()


def test_the_universe_holds_luna_while_it_was_large(store: Store) -> None:
    settings = UniverseSettings(top=20)
    panel = store.panel(HOUR)
    members = membership(panel, settings)
    column = members[:, panel.instruments.index("LUNA_USDT")]
    assert column[panel.time == np.datetime64("2022-05-08")].all()
    assert not column[panel.time == np.datetime64("2022-05-20")].any()
    assert members.sum(axis=1).max() == 20
    need = lookback(settings, HOUR)
    window = panel.rows(20_000 - need, 20_500)
    np.testing.assert_array_equal(membership(window, settings)[need:], members[20_000:20_500])


def test_freqtrade_files_of_real_candles(
    store: Store, frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ft")
    names = ["BTC_USDT", "LUNA_USDT"]
    to_freqtrade(store, HOUR, folder, market="spot", instruments=names)
    expected = frame[frame["instrument"].isin(names)].reset_index(drop=True)
    pd.testing.assert_frame_equal(read_freqtrade(folder, HOUR), expected)


def test_perpetuals_and_a_damaged_source(tmp_path_factory: pytest.TempPathFactory) -> None:
    perps = read_long(panel_path("panel_4h"), settle="USDT")
    assert perps["instrument"].nunique() == 157
    report = check(perps, Timeframe.parse("4h"))
    assert report.count("funding_absent") == 157
    store = Store.create(tmp_path_factory.mktemp("perps") / "store")
    store.write(perps, "4h")
    store.build_provider("4h", vwap="quote")
    panel = store.panel("4h", fields=["vwap", "high", "low"])
    inside = (panel["vwap"] >= panel["low"] * 0.999) & (panel["vwap"] <= panel["high"] * 1.001)
    assert inside[np.isfinite(panel["vwap"])].mean() > 0.99
    with pytest.raises(DataError, match="no funding_rate"):
        to_freqtrade(store, "4h", store.path / "x", market="futures")


def test_the_one_impossible_candle_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    loaded = pd.read_parquet(panel_path("cross_exchange_1d"))
    (bad,) = loaded.loc[loaded["low"] <= 0, "exchange"]
    source = tmp_path_factory.mktemp("bad") / "one.parquet"
    loaded[loaded["exchange"] == bad].to_parquet(source)
    frame = read_long(source)
    store = Store.create(source.parent / "store")
    with pytest.raises(StoreError, match=r"1 rows have errors \(non_positive\)"):
        store.write(frame, "1d")
    assert store.write(frame, "1d", repair=["impossible"]).repaired == {"impossible": 1}
