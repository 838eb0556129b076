"""Candles that only a wrong clock took for closed are taken back out of freqtrade's memory."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from freqtrade.enums import CandleType

from bascule.bridge.freqtrade.guarded import take_back

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
BTC, FOUR, FUNDING = (
    ("BTC/USDT:USDT", "1h", CandleType.FUTURES),
    ("BTC/USDT:USDT", "4h", CandleType.FUTURES),
    ("BTC/USDT:USDT", "1h", CandleType.FUNDING_RATE),
)


def memory() -> SimpleNamespace:
    """What freqtrade keeps of its candles, the newest opened at 8 o'clock."""
    frames = {
        BTC: pd.date_range("2023-03-02 01:00", "2023-03-02 08:00", freq="1h", tz="UTC"),
        FOUR: pd.date_range("2023-03-01 20:00", "2023-03-02 08:00", freq="4h", tz="UTC"),
        FUNDING: pd.date_range("2023-03-02 00:00", "2023-03-02 08:00", freq="8h", tz="UTC"),
    }
    klines = {key: pd.DataFrame({"date": dates, "close": 1.0}) for key, dates in frames.items()}
    refreshed = {key: int(dates[-1].timestamp() * 1_000) for key, dates in frames.items()}
    return SimpleNamespace(_klines=klines, _pairs_last_refresh_time=refreshed)


@pytest.mark.parametrize(
    ("now", "left"),
    [("13:00", (8, 4)), ("09:00", (8, 3)), ("08:59:59", (7, 3)), ("07:30", (6, 2)), ("00:00", (0, 1))],
)
def test_what_has_not_closed_by_the_venues_time_is_forgotten(now: str, left: tuple[int, int]) -> None:
    kept = memory()
    take_back(kept, np.datetime64(f"2023-03-02T{now}", "ns"))
    for key, rows in zip((BTC, FOUR), left, strict=True):
        frame = kept._klines[key]
        assert len(frame) == rows
        # and freqtrade asks for what comes after
        newest = int(frame["date"].iloc[-1].timestamp() * 1_000) if rows else 0
        assert kept._pairs_last_refresh_time[key] == newest
    # a funding rate is known from its date on
    assert len(kept._klines[FUNDING]) == 2
