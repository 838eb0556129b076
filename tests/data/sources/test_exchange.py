"""What exchanges do wrong, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.core import ConfigError, DataError
from bascule.data.sources import Context, Fetched, open_source
from tests.data.sources.exchanges import DIALECTS, HOUR, Market, Rows, price, stamp
from tests.data.sources.server import FakeTime, Wire

NOW = "2024-01-10T00:30"


class Venue:
    def __init__(self, stack: ExitStack, name: str, **market: Any) -> None:
        self.name, self.time = name, FakeTime(NOW)
        self.market = Market(self.time, **market)
        self.wire = stack.enter_context(Wire(DIALECTS[name](self.market), date=self.time.clock))

    def fetch(self, start: str, end: str, instrument: str = "BTC_USDT", **values: Any) -> Fetched:
        values = {"venue": self.name, "base_url": self.wire.url, "pace": False, **values}
        context = Context(np.random.default_rng(0), self.time.clock, self.time.sleep)
        return open_source("exchange", values, context).fetch(start, end, [instrument])


@pytest.fixture
def venue() -> Iterator[Callable[..., Venue]]:
    with ExitStack() as stack:
        yield lambda name="binance", **market: Venue(stack, name, **market)


@pytest.mark.parametrize("name", ["binance", "bybit", "okx"])
def test_duplicated_and_shuffled_candles(name: str, venue: Callable[..., Venue]) -> None:
    one = venue(name)
    clean = one.fetch("2023-12-10", "2024-01-10").frame
    dice = np.random.default_rng(9)

    def mangle(rows: Rows) -> Rows:
        twice = rows + [list(row) for row in rows[::3]]
        return [twice[i] for i in dice.permutation(len(twice))]

    one.market.mangle = mangle
    fetched = one.fetch("2023-12-10", "2024-01-10")
    pd.testing.assert_frame_equal(fetched.frame, clean)
    assert fetched.report.duplicates >= len(clean) // 3


def test_a_restated_candle_counts_as_told_last(venue: Callable[..., Venue]) -> None:
    one = venue()
    moment = stamp("2024-01-05T06:00")

    def mangle(rows: Rows) -> Rows:
        old = [[row[0], "1.0", "2.0", "0.5", "1.5", *row[5:]] for row in rows if row[0] == moment]
        return old + rows

    one.market.mangle = mangle
    fetched = one.fetch("2024-01-05", "2024-01-06")
    assert fetched.report.restated == 1 and len(fetched.frame) == 24
    row = fetched.frame[fetched.frame["time"] == pd.Timestamp("2024-01-05T06:00Z")]
    assert row["close"].item() == pytest.approx(price(moment))


@pytest.mark.parametrize("name", ["binance", "bybit", "okx"])
def test_a_server_ahead_of_time_sells_no_future(name: str, venue: Callable[..., Venue]) -> None:
    """Its clock is five hours ahead and it serves candles that cannot exist yet."""
    one = venue(name, skew_ms=5 * HOUR)
    report = one.fetch("2024-01-09", "2024-01-11").report
    frame = one.fetch("2024-01-09", "2024-01-11").frame
    assert frame["time"].max() == pd.Timestamp("2024-01-09T23:00Z")
    assert report.future == 5 and report.unfinished == 1
    assert report.skew_seconds == pytest.approx(5 * 3_600, abs=2)


def test_an_own_clock_ahead_of_the_server_is_not_believed(venue: Callable[..., Venue]) -> None:
    """The server lags two hours behind: the candle that it is still filling must not pass as closed."""
    one = venue(skew_ms=-2 * HOUR)
    fetched = one.fetch("2024-01-09", "2024-01-10")
    assert fetched.frame["time"].max() == pd.Timestamp("2024-01-09T21:00Z")
    assert fetched.report.unfinished == 1
    assert fetched.report.skew_seconds == pytest.approx(-2 * 3_600, abs=2)


def test_the_open_candle_is_dropped(venue: Callable[..., Venue]) -> None:
    fetched = venue().fetch("2024-01-09", "2024-01-11")
    assert fetched.report.unfinished == 1 and fetched.report.future == 0
    assert len(fetched.frame) == 24


def test_empty_pages_do_not_end_the_fetch(venue: Callable[..., Venue]) -> None:
    """Years before the listing are empty pages; what comes after them must be found."""
    fetched = venue("okx", listed="2024-01-05").fetch("2023-06-01", "2024-01-10")
    assert fetched.frame["time"].min() == pd.Timestamp("2024-01-05T00:00Z")
    assert len(fetched.frame) == 5 * 24


@pytest.mark.parametrize("cap", [100, 200])
@pytest.mark.parametrize("name", ["binance", "bybit", "okx"])
def test_a_server_that_cuts_pages_shorter_than_promised(
    name: str, cap: int, venue: Callable[..., Venue]
) -> None:
    one = venue(name)
    whole = one.fetch("2023-12-10", "2024-01-10").frame
    one.market.mangle = lambda rows: rows[:cap]
    pd.testing.assert_frame_equal(one.fetch("2023-12-10", "2024-01-10").frame, whole)


def test_a_server_that_passes_over_the_end_of_a_page(venue: Callable[..., Venue]) -> None:
    """All its pages are full: they must not be split until nothing is left of them."""
    one = venue()
    whole = one.fetch("2023-06-01", "2024-01-10").frame
    path = "/api/v3/klines"
    honest = one.wire.routes[path]
    one.wire.routes[path] = lambda query: honest({k: v for k, v in query.items() if k != "endTime"})
    fetched = one.fetch("2023-06-01", "2024-01-10")
    pd.testing.assert_frame_equal(fetched.frame, whole)
    assert fetched.report.requests < 20


def test_statistics_older_than_the_venue_keeps(venue: Callable[..., Venue]) -> None:
    fetched = venue().fetch(
        "2023-12-01", "2024-01-10", "BTC_USDT_USDT", market="futures", kind="open_interest"
    )
    assert fetched.frame["time"].min() == pd.Timestamp("2023-12-11T01:00Z")
    assert "keeps 30 days" in fetched.report.notes[0]


def test_okx_contracts_become_coins(venue: Callable[..., Venue]) -> None:
    one = venue("okx")
    spot = one.fetch("2024-01-01", "2024-01-02").frame
    swap = one.fetch("2024-01-01", "2024-01-02", "BTC_USDT_USDT", market="futures").frame
    np.testing.assert_allclose(spot["volume"], swap["volume"])


def test_funding_sits_on_its_minute_and_is_known_at_its_stamp(venue: Callable[..., Venue]) -> None:
    frame = venue().fetch("2024-01-01", "2024-01-02", "BTC_USDT_USDT", market="futures", kind="funding").frame
    assert list(frame["time"].dt.hour) == [0, 8, 16]
    assert ((frame["available_time"] - frame["time"]) == pd.Timedelta(milliseconds=3)).all()


def test_wrong_settings_are_refused() -> None:
    context = Context(np.random.default_rng(0))
    with pytest.raises(ConfigError, match="unknown source 'exchnge'"):
        open_source("exchnge", {}, context)
    with pytest.raises(ConfigError, match="unknown key"):
        open_source("exchange", {"vneue": "okx"}, context)
    with pytest.raises(ConfigError, match="has no mark"):
        open_source("exchange", {"kind": "mark", "market": "spot"}, context)
    with pytest.raises(ConfigError, match="has no funding"):
        open_source("exchange", {"venue": "upbit", "kind": "funding", "market": "futures"}, context)
    with pytest.raises(DataError, match="no instruments"):
        open_source("exchange", {}, context).fetch("2024-01-01", "2024-01-02")


def test_the_other_market_is_refused(venue: Callable[..., Venue]) -> None:
    with pytest.raises(DataError, match="not of the spot market"):
        venue().fetch("2024-01-01", "2024-01-02", "BTC_USDT_USDT")
