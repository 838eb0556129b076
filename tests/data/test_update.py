"""Updates of slow data and of instruments that end at different times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.core import ConfigError, StoreError
from bascule.data.issues import HealthSettings
from bascule.data.sources.context import Context
from bascule.data.store import Store
from bascule.data.update import UpdateSettings, update

from .candles import make

NOW = np.datetime64("2024-03-01", "ns")


def context() -> Context:
    return Context(np.random.default_rng(0), clock=lambda: NOW)


def settings(tmp_path: Path, **feed: object) -> UpdateSettings:
    base = {"source": "file", "options": {"path": str(tmp_path / "c.parquet")}, "start": "2024-01-01"}
    return UpdateSettings.read({"store": str(tmp_path / "store"), "feeds": [{**base, **feed}]})


def test_each_instrument_goes_on_where_it_is(tmp_path: Path) -> None:
    frame = make(("AAA_USDT", "BBB_USDT", "CCC_USDT"), bars=200)
    one = frame["instrument"] == "AAA_USDT"
    early = frame["time"] < "2024-02-02"
    frame[one | early & (frame["instrument"] == "BBB_USDT")].to_parquet(tmp_path / "c.parquet")
    update(settings(tmp_path, instruments=["AAA/USDT", "BBB/USDT"]), context())
    frame.to_parquet(tmp_path / "c.parquet")
    (done,) = update(settings(tmp_path, instruments=["AAA/USDT", "BBB/USDT", "CCC/USDT"]), context())
    # three requests: a few candles of AAA, the rest of BBB, all of CCC
    assert sorted(report.rows for report in done.fetched) == [4, 200 - 72 + 4, 200]
    assert done.added == 128 + 200
    pd.testing.assert_frame_equal(Store.open(tmp_path / "store").frame("1h"), frame)
    assert done.health is not None
    assert not done.health.errors


@pytest.mark.parametrize("severity", [{}, {"restated": "ignore"}])
def test_restated_candles_are_what_the_feed_says_however_they_are_reported(
    tmp_path: Path, severity: dict[str, str]
) -> None:
    frame = make(("AAA_USDT",), bars=50)
    frame.to_parquet(tmp_path / "c.parquet")
    update(settings(tmp_path), context())
    frame.loc[48, "volume"] *= 2
    frame.to_parquet(tmp_path / "c.parquet")

    def again(restated: str) -> float:
        rules = settings(tmp_path, restated=restated)
        update(rules.model_copy(update={"health": HealthSettings.read({"severity": severity})}), context())
        return float(Store.open(tmp_path / "store").frame("1h")["volume"].iloc[48] / frame["volume"].iloc[48])

    with pytest.raises(StoreError, match="another volume"):
        again("error")
    assert again("keep") == 0.5
    assert again("replace") == 1


def test_candles_that_are_not_over_yet_are_left_out(tmp_path: Path) -> None:
    make(("AAA_USDT",), bars=24 * 40).to_parquet(tmp_path / "c.parquet")
    update(settings(tmp_path), context())
    assert Store.open(tmp_path / "store").span("1h")[1] == NOW - np.timedelta64(1, "h")


def test_slow_data_and_its_corrections(tmp_path: Path) -> None:
    place = tmp_path / "scores.csv"
    head = "venue,as_of,score,insurance_fund_usd"
    place.write_text(f"{head}\nbinance,2024-01-01,0.75,900000000\nbinance,2024-02-25,0.8,950000000\n")
    feed = {"source": "counterparty", "options": {"path": str(place)}, "table": "venues"}
    (done,) = update(settings(tmp_path, **feed), context())
    assert (done.added, done.replaced) == (2, 0)
    store = Store.open(tmp_path / "store")
    assert store.tables["venues"].scope == "venue"
    assert store.tables["venues"].units["insurance_fund"] == "USD"
    place.write_text(f"{head}\nbinance,2024-01-01,0.75,900000000\nbinance,2024-02-25,0.1,950000000\n")
    (done,) = update(settings(tmp_path, **feed), context())
    assert (done.added, done.replaced) == (1, 1)
    held = store.table("venues")
    np.testing.assert_allclose(held["exchange_score"], [0.75, 0.8, 0.1])
    assert held["available_time"].iloc[-1] == pd.Timestamp(NOW, tz="UTC")  # known from now on, not before


def test_each_key_of_slow_data_goes_on_where_it_is(tmp_path: Path) -> None:
    """One that is named later has all of its past."""
    place = tmp_path / "scores.csv"
    lines = [
        f"{venue},2024-0{month}-01,0.5,{10 * month}"
        for venue in ("binance", "okx", "kraken")
        for month in (1, 2)
    ]
    place.write_text("\n".join(["venue,as_of,score,insurance_fund_usd", *lines, "binance,2024-02-25,0.6,30"]))
    feed = {"source": "counterparty", "options": {"path": str(place)}, "table": "venues"}
    (done,) = update(settings(tmp_path, **feed, instruments=["binance"]), context())
    assert done.added == 3
    (done,) = update(settings(tmp_path, **feed, instruments=["binance", "okx"]), context())
    assert done.added == 2 and sorted(report.rows for report in done.fetched) == [1, 2]
    # nobody named: those who are behind are not forgotten
    (done,) = update(settings(tmp_path, **feed, overlap_days=40), context())
    assert done.added == 2
    held = Store.open(tmp_path / "store").table("venues")
    assert held["instrument"].value_counts().to_dict() == {"binance": 3, "kraken": 2, "okx": 2}


def test_a_source_that_joins_a_table_later_brings_its_past(tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text("time,rate\n2024-01-05,1300\n2024-02-05,1310\n")
    feed = {"source": "fx.file", "options": {"path": str(rates)}, "table": "daily"}
    frame = pd.DataFrame(
        {
            "time": pd.to_datetime(["2024-02-20"], utc=True).as_unit("ns"),
            "available_time": pd.to_datetime(["2024-02-21"], utc=True).as_unit("ns"),
            "instrument": "USD_KRW",
            "other": np.float32([1]),
        }
    )
    Store.create(tmp_path / "store").write_table("daily", frame, scope="instrument")
    (done,) = update(settings(tmp_path, **feed), context())
    assert done.added == 2


def test_refusals(tmp_path: Path) -> None:
    make(("AAA_USDT",)).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(ConfigError, match="resample and repair"):
        settings(tmp_path, table="x", resample=["1d"])
    with pytest.raises(ConfigError, match="unknown source"):
        update(settings(tmp_path, source="nothing"), context())
    with pytest.raises(StoreError, match="these are no candles"):
        update(settings(tmp_path, source="feargreed", options={}), context())


def test_a_universe_without_members_is_empty_until_it_has_some(tmp_path: Path) -> None:
    frame = make(("AAA_USDT", "BBB_USDT"), bars=24 * 25)
    early = frame["time"] < "2024-02-05"
    feed = {"source": "file", "options": {"path": str(tmp_path / "c.parquet")}, "start": "2024-01-01"}
    rules = {"old": {"min_age_days": 15, "volume_days": 3}}
    values = {"store": str(tmp_path / "store"), "feeds": [feed], "universes": {"1h": rules, "4h": rules}}
    told: list[str] = []
    frame[early].to_parquet(tmp_path / "c.parquet")
    for _ in range(2):  # and the next update does not stumble over it either
        update(UpdateSettings.read(values), context(), note=told.append)
    assert told == 2 * [
        "universe old of 1h has no member yet: more history, or milder rules",
        "universes of 4h wait: the store has no 4h candles",
    ]
    store = Store.open(tmp_path / "store")
    assert not store.panel("1h", universe="old").members.any()
    told.clear()
    frame.to_parquet(tmp_path / "c.parquet")
    update(UpdateSettings.read(values), context(), note=told.append)
    assert len(told) == 1
    panel = store.panel("1h", universe="old")
    np.testing.assert_array_equal(panel.members.any(axis=1), panel.time >= np.datetime64("2024-02-14"))
