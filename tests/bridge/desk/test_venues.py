"""Two venues, the replay exchange's: one of them has candles late, the other stands in for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import time_machine

from bascule.bridge.exchange import FaultPlan, ReplayExchange, SteppedClock
from bascule.bridge.freqtrade.failover import DataDesk, GuardSettings
from bascule.bridge.freqtrade.venues import RestVenue
from bascule.core import BridgeError, Instrument
from tests.bridge.panels import SPOT, START, market

BEGIN = START + np.timedelta64(10, "D") + np.timedelta64(5, "m")
PAIRS = tuple(Instrument.parse(name).pair for name in SPOT if name != "SHIB_USDT")
PLAN = FaultPlan.read(
    {
        "faults": [
            {"kind": "stale_candles", "candles": 2, "start": "2023-01-11T02:00", "end": "2023-01-11T06:00"},
            {"kind": "outage", "start": "2023-01-11T08:00", "end": "2023-01-11T09:00"},
        ]
    }
)


@pytest.fixture
def exchanges() -> Iterator[tuple[ReplayExchange, ReplayExchange]]:
    panel = market()
    with (
        ReplayExchange(panel, clock=SteppedClock(BEGIN), faults=PLAN) as first,
        ReplayExchange(panel, clock=SteppedClock(BEGIN)) as second,
    ):
        yield first, second


def read(venue: RestVenue, now: datetime, bars: int = 100) -> dict[str, pd.DataFrame]:
    stamp = int(now.timestamp() * 1_000)
    bar = market(24).timeframe
    return {pair: venue.candles(Instrument.parse(pair), bar, bars, now_ms=stamp) for pair in PAIRS}


def test_both_formats_tell_the_same_candles(exchanges: tuple[ReplayExchange, ReplayExchange]) -> None:
    first, second = exchanges
    now = datetime.fromtimestamp(first.market.now_ms() / 1_000, UTC)
    a = read(RestVenue("binance", "spot", url=first.url), now)
    b = read(RestVenue("bybit", "spot", url=second.url), now)
    for pair in PAIRS:
        pd.testing.assert_frame_equal(a[pair], b[pair])
        assert len(a[pair]) == 100 and a[pair]["date"].iloc[-1] == pd.Timestamp(now).floor(
            "h"
        ) - pd.Timedelta("1h")


def test_the_bot_goes_on_with_the_second_venue_and_comes_back(
    exchanges: tuple[ReplayExchange, ReplayExchange],
) -> None:
    first, second = exchanges
    binance = RestVenue("binance", "spot", url=first.url, timeout=2)
    bybit = RestVenue("bybit", "spot", url=second.url, timeout=2)
    panel = market()
    found = DataDesk(panel.timeframe, GuardSettings(calm_looks=2), first=binance, second=bybit)
    told: list[tuple[int, str]] = []
    given: dict[str, pd.DataFrame] = {}
    safe: list[bool] = []
    for hour in range(14):
        now = datetime.fromtimestamp(first.market.now_ms() / 1_000, UTC)
        with time_machine.travel(now, tick=False):
            # in an outage freqtrade goes on with the candles that it has
            with contextlib.suppress(BridgeError):
                given = read(binance, now)
            told += [(hour, line) for line in found.look(given, now)]
            safe.append(found.safe)
            seen = {pair: found.frame(pair, given[pair], now) for pair in PAIRS}
        # whatever the first venue does, every pair's newest candle is the true one
        row = int(np.searchsorted(panel.time, found.expected(now)))
        for pair in PAIRS:
            last = seen[pair].iloc[-1]
            assert last["date"] == pd.Timestamp(panel.time[row], tz="UTC"), (hour, pair)
            column = panel.instruments.index(Instrument.parse(pair).id)
            assert last["close"] == pytest.approx(float(panel["close"][row, column]), rel=1e-6)
        for exchange in exchanges:
            exchange.step(3_600)
    assert safe == [False] * 2 + [True] * 5 + [False] + [True] * 2 + [False] * 4
    assert [line.split(":")[0] for _, line in told] == ["safe mode, no entries", "safe mode is over"] * 2
