"""The replay exchange, asked by real ccxt clients and by plain HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bascule.bridge.exchange import ReplayExchange, exchange_config
from bascule.core import BridgeError, Panel
from tests.bridge.panels import START, market

ccxt = pytest.importorskip("ccxt")
HOUR_MS = 3_600_000
START_MS = int(START.astype("datetime64[ms]").astype(np.int64))


class Clock:
    """A clock that a test sets."""

    def __init__(self, text: str) -> None:
        self.set(text)

    def set(self, text: str) -> None:
        self.now = np.datetime64(text, "ns")

    def __call__(self) -> np.datetime64:
        return self.now


def holes(panel: Panel) -> Panel:
    """ADA pauses for five hours on the third day; XRP stops trading for good on the sixth."""
    fields = {name: values.copy() for name, values in panel.fields.items()}
    for values in fields.values():
        values[50:55, panel.instruments.index("ADA_USDT")] = np.nan
        values[120:, panel.instruments.index("XRP_USDT")] = np.nan
    return replace(panel, fields=fields)


@contextmanager
def client(exchange: ReplayExchange, kind: str = "spot") -> Iterator[Any]:
    """A synchronous ccxt client configured as freqtrade would be."""
    settings = exchange_config(exchange.url, kind)["ccxt_config"]
    api = ccxt.binance({**settings, "options": {**settings["options"]}})
    if kind == "futures":
        api.options["defaultType"] = "swap"
    try:
        yield api
    finally:
        api.session.close()


def get(url: str) -> tuple[int, Any]:
    """Status and JSON body of a plain GET."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return holes(market())


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock("2023-01-11T12:30")


@pytest.fixture(scope="module")
def spot(panel: Panel, clock: Clock) -> Iterator[ReplayExchange]:
    with ReplayExchange(panel, clock=clock) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def futures(clock: Clock) -> Iterator[ReplayExchange]:
    with ReplayExchange(market(futures=True), clock=clock, market="futures") as exchange:
        yield exchange


def test_ccxt_reads_spot_markets(spot: ReplayExchange, panel: Panel) -> None:
    with client(spot) as api:
        markets = api.load_markets()
        assert set(markets) == {name.replace("_", "/") for name in panel.instruments}
        btc = markets["BTC/USDT"]
        assert btc["spot"] and btc["active"] and btc["limits"]["cost"]["min"] == 5.0
        # XRP was silent for five days at this clock: too short to be off the exchange
        assert markets["XRP/USDT"]["active"]
        assert api.fetch_time() == START_MS + (10 * 24 + 12) * HOUR_MS + HOUR_MS // 2


def test_delisting_is_seen_only_after_a_week_of_silence(panel: Panel) -> None:
    moving = Clock("2023-01-12T23:00")
    with ReplayExchange(panel, clock=moving) as exchange:
        url = f"{exchange.url}/api/v3/exchangeInfo?symbol=XRPUSDT"
        assert get(url)[1]["symbols"][0]["status"] == "TRADING"
        moving.set("2023-01-13T01:00")
        assert get(url)[1]["symbols"][0]["status"] == "BREAK"


@pytest.mark.parametrize("pair", ["BTC/USDT", "SHIB/USDT"])
def test_prices_come_back_as_the_same_float32(spot: ReplayExchange, panel: Panel, pair: str) -> None:
    column = panel.instruments.index(pair.replace("/", "_"))
    with client(spot) as api:
        api.load_markets()
        rows = np.array(api.fetch_ohlcv(pair, "1h", since=START_MS, limit=200))
        assert rows[:, 0].tolist() == [START_MS + i * HOUR_MS for i in range(200)]
        for i, field in enumerate(("open", "high", "low", "close", "volume"), start=1):
            np.testing.assert_array_equal(rows[:, i].astype(np.float32), panel[field][:200, column])
        # an order's price is not rounded, but where freqtrade would not trade so fine a tick
        tick = float(api.market(pair)["precision"]["price"])
        assert tick > 1e-11
        for price in panel["close"][:50, column]:
            rounded = float(api.price_to_precision(pair, float(str(price))))
            assert np.float32(rounded) == price or (tick == 1e-10 and abs(rounded - price) <= 0.501 * tick)


def test_nothing_is_served_from_after_now(spot: ReplayExchange, panel: Panel, clock: Clock) -> None:
    column = panel.instruments.index("BTC_USDT")
    forming = 10 * 24 + 12
    with client(spot) as api:
        api.load_markets()
        rows = api.fetch_ohlcv("BTC/USDT", "1h", limit=3)
        assert [row[0] for row in rows] == [START_MS + (forming + i) * HOUR_MS for i in (-2, -1, 0)]
        opened = float(str(panel["open"][forming, column]))
        assert rows[-1][1:] == [opened, opened, opened, opened, 0.0]
        assert api.fetch_ohlcv("BTC/USDT", "1h", since=START_MS + (forming + 1) * HOUR_MS) == []
        ticker = api.fetch_ticker("BTC/USDT")
        assert ticker["last"] == opened
        assert ticker["high"] == pytest.approx(panel["high"][forming - 23 : forming, column].max(), rel=1e-6)


def test_start_end_and_limit_cut_like_binance(spot: ReplayExchange) -> None:
    base = f"{spot.url}/api/v3/klines?symbol=ETHUSDT&interval=1h"

    def hours(extra: str) -> list[int]:
        return [(row[0] - START_MS) // HOUR_MS for row in get(base + extra)[1]]

    at = {h: START_MS + h * HOUR_MS for h in (10, 14)}
    assert hours(f"&startTime={at[10]}&endTime={at[14]}") == [10, 11, 12, 13, 14]
    assert hours(f"&startTime={at[10] + 1}&endTime={at[14] - 1}") == [11, 12, 13]
    assert hours(f"&startTime={at[10]}&limit=2") == [10, 11]
    assert hours(f"&endTime={at[14]}&limit=2") == [13, 14]
    assert len(hours("")) == min(500, 10 * 24 + 13)
    assert len(hours("&limit=5000")) == 10 * 24 + 13


def test_rows_without_a_trade_are_left_out(spot: ReplayExchange) -> None:
    url = f"{spot.url}/api/v3/klines?symbol=ADAUSDT&interval=1h&startTime={START_MS + 48 * HOUR_MS}&limit=6"
    assert [(row[0] - START_MS) // HOUR_MS for row in get(url)[1]] == [48, 49, 55, 56, 57, 58]


def test_longer_intervals_are_put_together(spot: ReplayExchange, panel: Panel) -> None:
    column = panel.instruments.index("ADA_USDT")
    with client(spot) as api:
        api.load_markets()
        rows = api.fetch_ohlcv("ADA/USDT", "4h", since=START_MS + 44 * HOUR_MS, limit=3)
        assert [(row[0] - START_MS) // HOUR_MS for row in rows] == [44, 48, 52]
        assert rows[1][4] == pytest.approx(panel["close"][49, column])
        assert rows[1][5] == pytest.approx(panel["volume"][48:50, column].sum(), rel=1e-6)
        assert rows[2][1] == pytest.approx(panel["open"][55, column])
        last = api.fetch_ohlcv("ADA/USDT", "1d", limit=1)[0]
        assert last[0] == START_MS + 240 * HOUR_MS
        assert last[4] == pytest.approx(panel["open"][252, column])  # the forming hour: its open only
        assert last[2] == pytest.approx(panel["high"][240:252, column].max(), rel=1e-6)


def test_book_and_tickers_agree(spot: ReplayExchange) -> None:
    with client(spot) as api:
        api.load_markets()
        book = api.fetch_order_book("SHIB/USDT", limit=5)
        assert len(book["bids"]) == len(book["asks"]) == 5
        assert book["bids"][0][0] > book["bids"][1][0] and book["asks"][0][0] < book["asks"][1][0]
        tickers = api.fetch_tickers()
        assert len(tickers) == 6
        assert tickers["SHIB/USDT"]["bid"] == book["bids"][0][0] < tickers["SHIB/USDT"]["last"]
        assert tickers["SHIB/USDT"]["ask"] == book["asks"][0][0] > tickers["SHIB/USDT"]["last"]
        assert api.fetch_last_prices(["BTC/USDT"])["BTC/USDT"]["price"] == tickers["BTC/USDT"]["last"]
        assert api.fetch_bids_asks(["BTC/USDT"])["BTC/USDT"]["ask"] == tickers["BTC/USDT"]["ask"]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("klines?interval=1h", 400, -1102),
        ("klines?symbol=BTCUSDT", 400, -1102),
        ("klines?symbol=NOPEUSDT&interval=1h", 400, -1121),
        ("klines?symbol=btc$&interval=1h", 400, -1100),
        ("klines?symbol=BTCUSDT&interval=7x", 400, -1120),
        ("klines?symbol=BTCUSDT&interval=5m", 400, -1120),
        ("klines?symbol=BTCUSDT&interval=1h&limit=many", 400, -1100),
        ("klines?symbol=BTCUSDT&interval=1h&limit=0", 400, -1100),
        ("ticker/price?symbols=BTCUSDT", 400, -1100),
        ("nothing", 404, -5000),
    ],
)
def test_bad_requests_get_binance_errors(spot: ReplayExchange, query: str, status: int, code: int) -> None:
    got, body = get(f"{spot.url}/api/v3/{query}")
    assert (got, body["code"]) == (status, code) and body["msg"]


def test_ccxt_understands_the_errors(spot: ReplayExchange) -> None:
    with client(spot) as api:
        with pytest.raises(ccxt.BadSymbol):
            api.public_get_klines({"symbol": "NOPEUSDT", "interval": "1h"})
        api.apiKey, api.secret = "k", "s"
        with pytest.raises(ccxt.AuthenticationError):
            api.private_post_order({"symbol": "BTCUSDT"})


def test_ccxt_reads_futures(futures: ReplayExchange) -> None:
    panel = market(futures=True)
    with client(futures, "futures") as api:
        markets = api.load_markets()
        btc = markets["BTC/USDT:USDT"]
        assert btc["swap"] and btc["linear"] and btc["settle"] == "USDT" and btc["contractSize"] == 1
        rows = api.fetch_ohlcv("BTC/USDT:USDT", "1h", since=START_MS, limit=4)
        mark = api.fetch_ohlcv("BTC/USDT:USDT", "1h", since=START_MS, limit=4, params={"price": "mark"})
        column = panel.instruments.index("BTC_USDT_USDT")
        np.testing.assert_array_equal(np.float32([row[4] for row in rows]), panel["close"][:4, column])
        assert [row[:5] for row in mark] == [row[:5] for row in rows]
        rates = api.fetch_funding_rate_history("BTC/USDT:USDT", since=START_MS, limit=5)
        assert [r["timestamp"] for r in rates] == [START_MS + i * 8 * HOUR_MS for i in range(5)]
        assert {r["fundingRate"] for r in rates} == {0.0001}
        current = api.fetch_funding_rate("BTC/USDT:USDT")
        assert (
            current["fundingRate"] == 0.0001
            and current["markPrice"] == api.fetch_ticker("BTC/USDT:USDT")["last"]
        )
        assert len(api.fetch_bids_asks()) == len(api.fetch_tickers()) == 6
        assert len(api.fetch_order_book("ETH/USDT:USDT", limit=20)["bids"]) == 20
        with pytest.raises(ccxt.BaseError, match="not valid depth limit"):
            api.fetch_order_book("ETH/USDT:USDT", limit=7)


def test_funding_and_open_interest_of_the_panel_are_served() -> None:
    plain = market(72, futures=True)
    rates = np.full(plain.shape, np.nan, np.float32)
    rates[::8] = np.float32(-0.000217)
    interest = np.full(plain.shape, np.float32(1_000.5))
    panel = plain.with_fields(funding_rate=rates, open_interest=interest)
    with ReplayExchange(panel, clock=Clock("2023-01-02T09:00"), market="futures") as exchange:
        found = get(f"{exchange.url}/fapi/v1/fundingRate?symbol=BTCUSDT")[1]
        assert [r["fundingTime"] for r in found] == [START_MS + h * HOUR_MS for h in (0, 8, 16, 24, 32)]
        assert {r["fundingRate"] for r in found} == {"-0.000217"}
        index = get(f"{exchange.url}/fapi/v1/premiumIndex?symbol=BTCUSDT")[1]
        assert index["lastFundingRate"] == "-0.000217"
        assert index["nextFundingTime"] == START_MS + 40 * HOUR_MS
        history = get(f"{exchange.url}/futures/data/openInterestHist?symbol=BTCUSDT&period=1h&limit=2")[1]
        assert [row["sumOpenInterest"] for row in history] == ["1000.5", "1000.5"]


def test_bare_instruments_make_a_market_without_candles() -> None:
    with ReplayExchange(["BTC/USDT", "ETH_USDT"]) as exchange, client(exchange) as api:
        assert sorted(api.load_markets()) == ["BTC/USDT", "ETH/USDT"]
        assert api.fetch_ohlcv("BTC/USDT", "1h") == []
        assert api.fetch_order_book("BTC/USDT")["bids"] == []


def test_same_question_same_bytes_after_a_restart(panel: Panel, clock: Clock) -> None:
    def bodies() -> list[bytes]:
        with ReplayExchange(panel, clock=clock) as exchange:
            asked = (
                "exchangeInfo",
                "klines?symbol=ADAUSDT&interval=1h",
                "depth?symbol=ADAUSDT",
                "ticker/24hr",
            )
            return [urllib.request.urlopen(f"{exchange.url}/api/v3/{q}", timeout=10).read() for q in asked]

    assert bodies() == bodies()


def test_errors_name_the_remedy(panel: Panel) -> None:
    with pytest.raises(BridgeError, match="no futures instrument"):
        ReplayExchange(panel, market="futures")
    with pytest.raises(BridgeError, match="lacks volume"):
        ReplayExchange(replace(panel, fields={k: v for k, v in panel.fields.items() if k != "volume"}))
    with pytest.raises(BridgeError, match="not running"):
        _ = ReplayExchange(panel).url
    with ReplayExchange(panel) as first:
        port = int(first.url.rsplit(":", 1)[1])
        with pytest.raises(BridgeError, match="cannot listen"), ReplayExchange(panel, port=port):
            pass


def test_it_runs_as_a_process_and_stops_on_request() -> None:
    command = [
        sys.executable,
        "-m",
        "bascule.bridge.exchange",
        "--instruments",
        "BTC/USDT",
        "--now",
        "2024-01-01",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert get(f"{url}/api/v3/time")[1] == {"serverTime": 1_704_067_200_000}
        process.terminate()
        assert process.wait(timeout=10) == 0
