"""What the strategy sees: only candles that were closed, the same numbers in a backtest and live."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.bridge.freqtrade import feed
from bascule.bridge.freqtrade.trading.fusion import FusionSettings, agrees, coarse_rank, factor
from bascule.bridge.freqtrade.trading.rows import Rows
from bascule.bridge.freqtrade.trading.source import risk_columns
from bascule.core import Instrument, Timeframe
from bascule.signals import SignalFrame
from tests.bridge.research import Research
from tests.bridge.test_feed import candles

HOUR, FOUR = Timeframe.parse("1h"), Timeframe.parse("4h")
START = np.datetime64("2023-01-01T00:00", "ns")


def coarse(count: int = 30, *, without: int | None = None) -> SignalFrame:
    """Signals of four hours whose rank is the number of the row, in hundredths."""
    frame = SignalFrame.nothing(FOUR, ("BTC_USDT",))
    time = FOUR.axis(START, START + (count - 1) * FOUR.delta)
    rank = (np.arange(count, dtype=np.float32) / 100)[:, None]
    if without is not None:
        rank[without] = np.nan
    arrays = dict.fromkeys(feed.BY_INSTRUMENT, rank)
    return SignalFrame(
        frame.timeframe,
        time,
        frame.instruments,
        **arrays,
        portfolio_risk=rank[:, 0],
        regime=np.zeros(count, np.int8),
        model_id=np.full(count, "m"),
    )


def test_a_coarse_candle_is_seen_from_its_close_on() -> None:
    opens = HOUR.axis(START, START + np.timedelta64(15, "h"))
    rank = coarse_rank(coarse(), "BTC/USDT", opens, HOUR)
    # the candle of 00:00 to 04:00 is known at the close of the hour that opens at 03:00
    expected = [np.nan] * 3 + [0.0] * 4 + [0.01] * 4 + [0.02] * 4 + [0.03]
    np.testing.assert_allclose(rank, expected)


def test_a_missing_coarse_candle_is_no_opinion_not_an_older_one() -> None:
    opens = HOUR.axis(START, START + np.timedelta64(15, "h"))
    rank = coarse_rank(coarse(without=1), "BTC/USDT", opens, HOUR)
    assert np.isnan(rank[7:11]).all() and rank[6] == 0 and rank[11] == np.float32(0.02)
    late = coarse_rank(coarse(2), "BTC/USDT", opens, HOUR)
    assert np.isnan(late[11:]).all()
    assert np.isnan(coarse_rank(coarse(), "ETH/USDT", opens, HOUR)).all()


@given(cut=st.integers(1, 30))
def test_later_coarse_candles_change_nothing_before_their_close(cut: int) -> None:
    opens = HOUR.axis(START, START + np.timedelta64(119, "h"))
    whole, early = coarse(), coarse().rows(0, cut)
    known = opens + HOUR.delta < START + (cut + 1) * FOUR.delta
    np.testing.assert_array_equal(
        coarse_rank(whole, "BTC/USDT", opens[known], HOUR), coarse_rank(early, "BTC/USDT", opens[known], HOUR)
    )


def test_the_coarse_rank_confirms_or_scales() -> None:
    rank = np.array([0.2, 0.5, 0.9, np.nan], np.float32)
    weight = np.array([0.1, 0.1, -0.1, 0.1], np.float32)
    confirm = FusionSettings(bundle="x", rank=0.5)
    assert agrees(rank, 1, confirm).tolist() == [False, True, True, False]
    assert agrees(rank, -1, confirm).tolist() == [True, True, False, False]
    assert agrees(rank, 1, confirm.model_copy(update={"missing": "pass"})).tolist()[3]
    assert factor(rank, weight, confirm).tolist() == [1, 1, 1, 1]
    scale = FusionSettings(bundle="x", mode="scale", floor=0.2)
    np.testing.assert_allclose(factor(rank, weight, scale), [0.36, 0.6, 0.28, 1.0], rtol=1e-6)
    assert agrees(rank, 1, scale).tolist() == [True, True, True, False]


def frame_of(opens: Any) -> pd.DataFrame:
    dates = pd.DatetimeIndex(opens).tz_localize("UTC")
    return pd.DataFrame({"date": dates, "x": np.arange(len(dates), dtype=np.float32)})


def seconds(text: str) -> float:
    return pd.Timestamp(text, tz="UTC").timestamp()


def test_rows_give_the_newest_candle_that_was_closed() -> None:
    opens = HOUR.axis(START, START + np.timedelta64(9, "h"))
    rows = Rows(frame_of(opens), 3_600, live=False)
    assert rows.value("x", seconds("2023-01-01 05:00")) == 4
    assert rows.value("x", seconds("2023-01-01 05:59:59")) == 4
    assert rows.value("x", seconds("2023-01-02 05:00")) == 9
    assert np.isnan(rows.value("x", seconds("2023-01-01 00:30")))
    assert np.isnan(rows.value("y", seconds("2023-01-01 05:00")))
    assert rows.tail("x", seconds("2023-01-01 05:00"), 3).tolist() == [2, 3, 4]
    assert rows.tail("x", seconds("2023-01-01 02:00"), 9).tolist() == [0, 1]
    holed = Rows(frame_of(np.delete(opens, [3, 4])), 3_600, live=False)
    assert holed.value("x", seconds("2023-01-01 05:00")) == 2  # the candle of 02:00
    live = Rows(frame_of(opens), 3_600, live=True)
    assert live.value("x", seconds("2023-01-01 05:00")) == 9
    assert live.value("x", seconds("2023-01-01 05:00"), past=True) == 4
    assert np.isnan(Rows(frame_of(opens[:0]), 3_600, live=True).value("x", 0.0))


def test_risk_of_any_window_that_covers_the_lookback_is_that_of_all_history(futures: Research) -> None:
    bundle = futures.bundle
    frames = {Instrument.parse(name).pair: candles(futures, name) for name in futures.raw.instruments}
    listed = dict(zip(bundle.instruments, bundle.manifest.listed_times, strict=True))
    whole = risk_columns(feed.panel_of(frames, HOUR, listed=listed), bundle)
    assert np.isfinite(whole.volatility[bundle.lookback :]).mean() > 0.5
    assert np.isnan(whole.volatility[: bundle.lookback]).all()
    for row in (bundle.lookback + 3, 1_000, 2_000):
        window = {
            pair: one[(one["date"] <= pd.Timestamp(whole.time[row], tz="UTC"))].tail(bundle.lookback + 1)
            for pair, one in frames.items()
        }
        part = risk_columns(feed.panel_of(window, HOUR, bars=bundle.lookback + 1, listed=listed), bundle)
        assert part.market[-1] == pytest.approx(whole.market[row], rel=1e-6)
        # who is not listed yet is not in the window
        columns = [whole.instruments.index(name) for name in part.instruments]
        for name in ("volatility", "beta"):
            expected = getattr(whole, name)[row]
            np.testing.assert_allclose(getattr(part, name)[-1], expected[columns], rtol=1e-6, err_msg=name)
            assert np.isnan(np.delete(expected, columns)).all()


def test_risk_columns_join_by_date(futures: Research) -> None:
    frames = {Instrument.parse(name).pair: candles(futures, name) for name in futures.raw.instruments}
    risk = risk_columns(feed.panel_of(frames, HOUR), futures.bundle)
    pair = "ETH/USDT:USDT"
    dates = frames[pair]["date"].iloc[900:905]
    found = risk.join(pair, dates)
    row = int(np.searchsorted(risk.time, feed.utc(dates)[0]))
    column = risk.instruments.index("ETH_USDT_USDT")
    assert found["beta"][0] == pytest.approx(risk.beta[row, column])
    assert found["market_volatility"][0] == pytest.approx(risk.market[row]) and risk.market[row] > 0
    later = risk.join(pair, dates + pd.Timedelta(days=4_000))
    assert all(np.isnan(values).all() for values in later.values())
