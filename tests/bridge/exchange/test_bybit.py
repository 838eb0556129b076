"""The second venue: ccxt's Bybit client reads the same market."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bascule.bridge.exchange import FaultPlan, ReplayExchange, exchange_config
from tests.bridge.exchange.rig import client, flat, panel, rig

ccxt = pytest.importorskip("ccxt")
DOWN = (100.0, 101.0, 90.0, 91.0, 1_200.0)
CANDLES = [*flat(9), DOWN, *flat(6, 91)]


@contextmanager
def bybit(exchange: ReplayExchange, kind: Any) -> Iterator[Any]:
    block = exchange_config(exchange.url, kind, venue="bybit")
    assert block["name"] == "bybit"
    options = {"defaultType": "spot" if kind == "spot" else "swap"}
    api = ccxt.bybit({**block["ccxt_config"]})
    api.options |= options
    try:
        api.load_markets()
        yield api
    finally:
        api.session.close()


@pytest.mark.parametrize(
    ("kind", "name", "pair"),
    [("spot", "BTC_USDT", "BTC/USDT"), ("futures", "BTC_USDT_USDT", "BTC/USDT:USDT")],
)
def test_both_venues_tell_the_same(kind: Any, name: str, pair: str) -> None:
    with (
        rig(panel(CANDLES, names=(name,)), kind=kind, at="2024-03-01T09:35") as exchange,
        bybit(exchange, kind) as second,
        client(exchange, kind) as first,
    ):
        assert second.markets[pair]["precision"] == {
            **second.markets[pair]["precision"],
            **{k: first.markets[pair]["precision"][k] for k in ("amount", "price")},
        }
        since = first.parse8601("2024-03-01T03:00:00Z")
        for arguments in ({}, {"limit": 3}, {"since": since}, {"since": since, "limit": 4}):
            rows = second.fetch_ohlcv(pair, "1h", **arguments)
            assert rows == first.fetch_ohlcv(pair, "1h", **arguments) and rows
        assert second.fetch_ohlcv(pair, "4h") == first.fetch_ohlcv(pair, "4h")
        one, other = first.fetch_order_book(pair, 5), second.fetch_order_book(pair, 5)
        assert (one["bids"], one["asks"]) == (other["bids"], other["asks"])
        one, other = first.fetch_ticker(pair), second.fetch_ticker(pair)
        assert [one[k] for k in ("last", "high", "low", "baseVolume")] == [
            other[k] for k in ("last", "high", "low", "baseVolume")
        ]
        assert second.fetch_time() == first.fetch_time()
        assert (
            second.fetch_trades(pair, limit=5)[-1]["price"] == first.fetch_trades(pair, limit=5)[-1]["price"]
        )
        if kind == "futures":
            assert second.fetch_funding_rate(pair)["fundingRate"] == 0.0001
            history = second.fetch_funding_rate_history(pair, since=since, limit=2)
            assert [h["timestamp"] for h in history] == [first.parse8601("2024-03-01T08:00:00Z")]


def test_refusals_and_late_candles() -> None:
    plan = FaultPlan.read({"faults": [{"kind": "stale_candles", "candles": 3, "paths": ["/v5/*"]}]})
    with (
        rig(panel(CANDLES), at="2024-03-01T09:35", faults=plan) as exchange,
        bybit(exchange, "spot") as second,
        client(exchange) as first,
    ):
        hours = [len(api.fetch_ohlcv("BTC/USDT", "1h")) for api in (first, second)]
        assert hours == [10, 7]
        with pytest.raises(ccxt.BadRequest):
            second.public_get_v5_market_kline({"category": "spot", "symbol": "NOPE", "interval": "60"})
        with pytest.raises(ccxt.BadRequest):
            second.public_get_v5_market_kline({"category": "linear", "symbol": "BTCUSDT", "interval": "60"})
        with pytest.raises(ccxt.BadRequest):
            second.public_get_v5_market_kline({"category": "spot", "symbol": "BTCUSDT", "interval": "7"})
