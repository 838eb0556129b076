"""Longer candles are exactly those of their definition, whatever way they are reached."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.core import ConfigError, StoreError, Timeframe
from bascule.data.readers import read_long
from bascule.data.store import Store
from tests.realdata import panel_path

from .candles import make

NAMES = ("AAA_USDT", "BBB_USDT")
TARGETS = ("1h", "4h", "1d")


def spoiled(days: int = 3, seed: int = 0) -> pd.DataFrame:
    """5m candles with holes, flat candles, a late listing, and optional columns."""
    rng = np.random.default_rng(seed)
    frame = make(NAMES, bars=288 * days + 7, start="2024-01-30", timeframe="5m")
    frame = frame[(frame["instrument"] == "AAA_USDT") | (frame["time"] >= "2024-01-31T02:35")]
    frame = frame[rng.random(len(frame)) > 0.1]
    gone = (frame["time"] >= "2024-01-31T10:00") & (frame["time"] < "2024-01-31T15:00")
    frame = frame[~gone].reset_index(drop=True)
    flat = rng.random(len(frame)) < 0.1
    before = frame["close"].shift(1, fill_value=100)
    for name in ("open", "high", "low", "close"):
        frame.loc[flat, name] = before[flat]
    frame.loc[flat, "volume"] = np.float32(0)
    frame["quote_volume"] = frame["volume"] * frame["close"]
    frame["taker_buy_volume"] = frame["volume"] * np.float32(0.6)
    frame["funding_rate"] = np.where(rng.random(len(frame)) < 0.01, 1e-4, np.nan).astype(np.float32)
    frame["mark"] = np.where(rng.random(len(frame)) < 0.5, frame["close"], np.nan).astype(np.float32)
    return frame


def direct(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    """One target candle after the other, in plain Python."""
    step = pd.Timedelta(seconds=Timeframe.parse(target).seconds)
    end = frame["time"].max() + pd.Timedelta(minutes=5)
    out = []
    for name in NAMES:
        own = frame[frame["instrument"] == name].sort_values("time")
        for opened, part in own.groupby(own["time"].dt.floor(step)):
            if opened + step > end:
                continue
            traded = part[part["volume"] > 0]
            used = traded if len(traded) else part

            def added(column: str, used: pd.DataFrame = used) -> float:
                values = [float(v) for v in used[column] if not np.isnan(v)]
                return sum(values[1:], start=values[0]) if values else np.nan

            marks = [v for v in used["mark"] if not np.isnan(v)]
            out.append(
                {
                    "time": opened,
                    "instrument": name,
                    "open": used["open"].iloc[0],
                    "high": used["high"].max(),
                    "low": used["low"].min(),
                    "close": used["close"].iloc[-1],
                    "volume": added("volume"),
                    "quote_volume": added("quote_volume"),
                    "taker_buy_volume": added("taker_buy_volume"),
                    "funding_rate": added("funding_rate"),
                    "mark": marks[-1] if marks else np.nan,
                }
            )
    numbers = [c for c in out[0] if c not in ("time", "instrument")]
    return (
        pd.DataFrame(out).astype(dict.fromkeys(numbers, np.float32)).astype({"time": "datetime64[ns, UTC]"})
    )


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found[list(expected.columns)], expected, check_exact=True)


def test_every_target_is_exactly_its_definition(tmp_path: Path) -> None:
    frame = spoiled()
    store = Store.create(tmp_path / "store")
    store.write(frame, "5m")
    months = store.resample("5m", TARGETS)
    assert months[0] == "1h 2024-01"
    assert [str(t) for t in store.timeframes] == ["5m", *TARGETS]
    for target in TARGETS:
        same(store.frame(target), direct(frame, target))
        assert store.section(target).source == "5m"
        store.build_provider(target)
        assert store.panel(target).traded.any()


def test_a_chain_of_targets_is_the_direct_way(tmp_path: Path) -> None:
    """1h → 4h → 1d is made of the 5m candles: sums are rounded once."""
    frame = spoiled(seed=3)
    chain, at_once = Store.create(tmp_path / "chain"), Store.create(tmp_path / "at_once")
    for store in (chain, at_once):
        store.write(frame, "5m")
    for source, target in (("5m", "1h"), ("1h", "4h"), ("4h", "1d")):
        chain.resample(source, [target])
    at_once.resample("5m", TARGETS)
    for target in TARGETS:
        assert chain.fingerprint(target) == at_once.fingerprint(target)


def test_appending_gives_the_same_and_changes_no_closed_candle(tmp_path: Path) -> None:
    frame = spoiled()
    whole = Store.create(tmp_path / "whole")
    whole.write(frame, "5m")
    whole.resample("5m", TARGETS)
    grown = Store.create(tmp_path / "grown")
    for edge in (
        "2024-01-30T03:10",
        "2024-01-31T12:00",
        "2024-01-31T23:57",
        "2024-02-01T00:03",
        "2024-03-01",
    ):
        part = frame[frame["time"] < edge]
        before = {
            t: grown.frame(t) for t in TARGETS if t in map(str, grown.timeframes) and grown.section(t).rows
        }
        grown.write(part, "5m")
        grown.resample("5m", TARGETS)
        for target, old in before.items():
            same(grown.frame(target).merge(old[["time", "instrument"]], on=["time", "instrument"]), old)
    for target in TARGETS:
        assert grown.fingerprint(target) == whole.fingerprint(target)
        assert grown.section(target).spans == whole.section(target).spans
    assert grown.resample("5m", TARGETS) == ()


def test_filled_candles_and_missing_ones_give_the_same(tmp_path: Path) -> None:
    frame = spoiled()
    stores = []
    for name, part in (("flat", frame), ("missing", frame[frame["volume"] > 0])):
        stores.append(Store.create(tmp_path / name))
        stores[-1].write(part.drop(columns=["mark", "funding_rate"]), "5m")
        stores[-1].resample("5m", ["1h"])
    flat, missing = (store.frame("1h") for store in stores)
    same(flat[flat["volume"] > 0].reset_index(drop=True), missing)


def test_a_correction_reaches_the_targets(tmp_path: Path) -> None:
    frame = spoiled().drop(columns=["funding_rate", "mark"])
    store = Store.create(tmp_path / "store")
    store.write(frame, "5m")
    store.resample("5m", ["1h"])
    one = frame[frame["volume"] > 0].iloc[[100]]
    store.write(one.assign(volume=one["volume"] * np.float32(3)), "5m", conflicts="replace")
    before = store.frame("1h")
    assert store.resample("5m", ["1h"]) == ("1h 2024-01",)
    assert (store.frame("1h")["volume"] != before["volume"]).sum() == 1


def test_refusals(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    with pytest.raises(StoreError, match="no 5m candles"):
        store.resample("5m", ["1h"])
    store.write(spoiled(), "5m")
    for target in ("5m", "1m", "12m", "2d"):
        with pytest.raises(ConfigError, match="cannot be made"):
            store.resample("5m", [target])
    store.resample("5m", ["1h"])
    with pytest.raises(StoreError, match="are made from 5m"):
        store.write(make(NAMES), "1h")
    store.write(make(NAMES, timeframe="4h"), "4h")
    with pytest.raises(StoreError, match="from outside"):
        store.resample("5m", ["4h"])


@pytest.mark.real_data
def test_real_five_minutes_are_the_real_hours(tmp_path: Path) -> None:
    """Against the hours that the exchange itself published."""
    store = Store.create(tmp_path / "store")
    store.write(read_long(panel_path("panel_5m")), "5m")
    store.resample("5m", ["1h"])
    ours = store.frame("1h")
    theirs = read_long(panel_path("panel_1h"))
    both = ours.merge(theirs, on=["time", "instrument"], suffixes=("", "_theirs"))
    assert len(both) > 10_000
    for name in ("open", "high", "low", "close"):
        assert (both[name] == both[f"{name}_theirs"]).mean() > 0.999
    assert (np.abs(both["volume"] / both["volume_theirs"] - 1) < 1e-5).mean() > 0.999
