"""Signals beside a pair's candles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.freqtrade.feed import SIGNAL_COLUMNS, join, panel_of
from bascule.core import BridgeError, Instrument, Timeframe
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
