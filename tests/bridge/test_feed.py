"""Signals beside a pair's candles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.freqtrade.feed import CANDLE, SIGNAL_COLUMNS, join, panel_of
from bascule.core import BridgeError, DataError, Instrument, Timeframe
from tests.bridge.research import Research


def candles(research: Research, name: str) -> pd.DataFrame:
    """A pair's candles as freqtrade serves them: no holes, flat fillers, dates in milliseconds."""
    column = research.raw.instruments.index(name)
    frame = pd.DataFrame({f: research.raw[f][:, column] for f in ("open", "high", "low", "close", "volume")})
    frame.insert(0, "date", pd.DatetimeIndex(research.raw.time).tz_localize("UTC").as_unit("ms"))
    frame = frame.loc[frame["close"].first_valid_index() :].reset_index(drop=True)
    frame["close"] = frame["close"].ffill()
    for field in ("open", "high", "low"):
        frame[field] = frame[field].fillna(frame["close"])
    return frame.assign(volume=frame["volume"].fillna(0.0))


def test_signals_are_joined_by_date(spot: Research) -> None:
    frame = candles(spot, "BTC_USDT")
    stored = spot.bundle.signals
    columns = join(stored, "BTC/USDT", frame["date"])
    assert tuple(columns) == SIGNAL_COLUMNS
    offset = int(np.searchsorted(spot.raw.time, stored.time[0]))
    assert np.isnan(columns["alpha"][:offset]).all() and (columns["covered"][:offset] == 0).all()
    column = stored.instruments.index("BTC_USDT")
    np.testing.assert_array_equal(columns["alpha_rank"][offset:], stored.alpha_rank[:, column])
    np.testing.assert_array_equal(columns["portfolio_risk"][offset:], stored.portfolio_risk)
    assert (columns["covered"][offset:] == 1).all()
    # candles that end before the signals, start after them, or lie off their axis
    middle = join(stored, "BTC/USDT", frame["date"].iloc[offset + 10 : offset + 13])
    np.testing.assert_array_equal(middle["alpha_rank"], stored.alpha_rank[10:13, column])
    later = join(stored, "BTC/USDT", frame["date"].iloc[-3:] + pd.Timedelta(days=90))
    assert np.isnan(later["alpha_rank"]).all()
    shifted = join(stored, "BTC/USDT", frame["date"].iloc[-3:] - pd.Timedelta(minutes=30))
    assert np.isnan(shifted["alpha_rank"]).all()


def test_a_pair_outside_the_universe_is_refused(spot: Research) -> None:
    with pytest.raises(BridgeError, match="no signals for EOS/USDT"):
        join(spot.bundle.signals, "EOS/USDT", candles(spot, "BTC_USDT")["date"])


def test_freqtrades_candles_lead_to_the_stored_signals(spot: Research) -> None:
    """Flat fillers in place of holes, and late pairs without early rows, change nothing."""
    frames = {Instrument.parse(name).pair: candles(spot, name) for name in spot.raw.instruments}
    panel = panel_of(frames, Timeframe.parse("1h"))
    assert panel.instruments == spot.raw.instruments
    live, stored = spot.bundle.live(panel), spot.bundle.signals
    common = np.searchsorted(live.time, stored.time[stored.time >= live.time[0]])
    for name in ("alpha", "alpha_rank", "risk_score", "stop_distance", "target_weight"):
        here, there = getattr(live, name)[common], getattr(stored, name)[-len(common) :]
        known = np.isfinite(there)
        np.testing.assert_array_equal(here[known], there[known], err_msg=name)


def test_a_pair_that_left_long_ago_does_not_stretch_the_window(spot: Research) -> None:
    frame = candles(spot, "BTC_USDT")
    gone = frame.iloc[:100]
    panel = panel_of({"BTC/USDT": frame, "ETH/USDT": gone}, Timeframe.parse("1h"), bars=300)
    assert panel.shape == (300, 1) and panel.time[-1] == spot.raw.time[-1]


def test_empty_pairs_are_left_out_but_not_all(spot: Research) -> None:
    frame = candles(spot, "BTC_USDT")
    panel = panel_of({"BTC/USDT": frame, "ETH/USDT": frame.iloc[:0]}, Timeframe.parse("1h"))
    assert panel.instruments == ("BTC_USDT",)
    with pytest.raises(BridgeError, match="not one candle"):
        panel_of({"BTC/USDT": frame.iloc[:0]}, Timeframe.parse("1h"))


def test_the_fast_and_the_slow_way_give_the_same_panel() -> None:
    frames = {}
    random = np.random.default_rng(0)
    for k, pair in enumerate(("BTC/USDT", "ADA/USDT", "OLD/USDT", "NEW/USDT")):
        start = pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(hours=(0, 3, -400, 150)[k])
        dates = pd.date_range(start, periods=200, freq="h")
        keep = random.random(200) > 0.1
        frames[pair] = pd.DataFrame({"date": dates, **{name: random.random(200) for name in CANDLE}})[
            keep
        ].reset_index(drop=True)
    listed = {"BTC_USDT": np.datetime64("2020-01-01", "ns"), "NEW_USDT": np.datetime64("2030-01-01", "ns")}
    hour = Timeframe.parse("1h")
    for bars in (None, 120):
        fast = panel_of(frames, hour, bars=bars, listed=listed)
        # a frame that is not sorted takes the slow way
        mixed = {**frames, "BTC/USDT": frames["BTC/USDT"].iloc[::-1].reset_index(drop=True)}
        slow = panel_of(mixed, hour, bars=bars, listed=listed)
        assert fast.fingerprint() == slow.fingerprint()
        np.testing.assert_array_equal(fast.listed, slow.listed)
        assert fast.instruments == slow.instruments
    doubled = {**frames, "BTC/USDT": pd.concat([frames["BTC/USDT"]] * 2)}
    with pytest.raises(DataError, match="duplicate"):
        panel_of(doubled, hour)
    odd = frames["BTC/USDT"].assign(date=frames["BTC/USDT"]["date"] + pd.Timedelta(minutes=7))
    with pytest.raises(DataError, match="grid"):
        panel_of({**frames, "BTC/USDT": odd}, hour)
