"""Websocket streams, followed by plain clients and by ccxt's own."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bascule.bridge.exchange import FaultPlan, Keys, ReplayExchange, exchange_config
from tests.bridge.exchange.rig import HOUR, UNCHECKED, client, flat, panel, rig

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("ccxt")
DOWN = (100.0, 101.0, 90.0, 91.0, 1_200.0)
MARKET = panel([*flat(1), DOWN, *flat(6, 91)], names=("BTC_USDT", "ETH_USDT"))
FUTURES = panel([*flat(1), DOWN, *flat(6, 91)], names=("BTC_USDT_USDT",))


def follow(
    exchange: ReplayExchange, path: str, act: Callable[[Any, Callable[[], Awaitable[Any]]], Awaitable[None]]
) -> None:
    """Open a websocket and act on it; ``next`` reads one message."""

    async def run() -> None:
        url = exchange.url.replace("http", "ws") + path
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            early: list[Any] = []

            async def following() -> Any:
                if early:
                    return early.pop(0)
                message = await socket.receive(timeout=60)
                assert message.type == aiohttp.WSMsgType.TEXT, message
                return json.loads(message.data)

            # a connection is there before its streams are: an answer tells that they are
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": "there"})
            told: list[Any] = []
            while not told or told[-1].get("id") != "there":
                told.append(await following())
            early += told[:-1]
            await act(socket, following)

    asyncio.run(run())


def test_klines_close_once_and_form_on() -> None:
    with rig(MARKET) as exchange:

        async def act(socket: Any, following: Any) -> None:
            greeting = await following()
            assert greeting["e"] == "kline" and greeting["k"]["x"] is False and greeting["k"]["c"] == "100"
            exchange.step(HOUR)
            closed, forming = await following(), await following()
            assert (closed["k"]["x"], closed["k"]["c"], closed["k"]["v"]) == (True, "100", "1000")
            assert closed["k"]["T"] < forming["k"]["t"] and not forming["k"]["x"]
            assert forming["k"]["h"] == "101" and float(forming["k"]["c"]) < 101
            exchange.step(2 * HOUR)
            assert [(await following())["k"]["x"] for _ in range(3)] == [True, True, False]

        follow(exchange, "/ws/btcusdt@kline_1h", act)


def test_combined_streams_subscribe_and_list() -> None:
    with rig(MARKET) as exchange:

        async def act(socket: Any, following: Any) -> None:
            seen = {(await following())["stream"] for _ in range(2)}
            assert seen == {"btcusdt@bookTicker", "ethusdt@bookTicker"}
            await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})
            assert await following() == {"result": None, "id": 1}
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
            assert len((await following())["result"]) == 3
            await socket.send_json({"method": "UNSUBSCRIBE", "params": ["ethusdt@bookTicker"], "id": 3})
            assert (await following())["id"] == 3
            for wrong in ("nope@trade", "btcusdt@wish", "btcusdt@markPrice"):
                await socket.send_json({"method": "SUBSCRIBE", "params": [wrong], "id": 4})
                assert (await following())["error"]["code"] == 2
            await socket.send_str("hello")
            assert "error" in await following()
            exchange.step(300)
            found = [await following() for _ in range(2)]
            assert {m["stream"] for m in found} == {"btcusdt@bookTicker", "btcusdt@trade"}

        follow(exchange, "/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker", act)


def test_trades_add_up_to_the_candle() -> None:
    with rig(MARKET, at="2024-03-01T00:59:59") as exchange:

        async def act(socket: Any, following: Any) -> None:
            exchange.step(HOUR)
            trades = [await following() for _ in range(12)]
            assert sum(float(t["q"]) for t in trades) == pytest.approx(1_200)
            assert [t["t"] for t in trades] == sorted({t["t"] for t in trades})
            assert (max(float(t["p"]) for t in trades), min(float(t["p"]) for t in trades)) == (101, 90)
            with client(exchange) as api:
                rest = api.public_get_trades({"symbol": "BTCUSDT", "limit": 12})
                assert [r["id"] for r in rest] == [t["t"] for t in trades]
                by_time = api.fetch_trades("BTC/USDT", since=trades[0]["T"], limit=5)
                assert [int(t["id"]) for t in by_time] == [t["t"] for t in trades[:5]]

        follow(exchange, "/ws/btcusdt@trade", act)


def test_changes_of_the_book_lead_to_the_book() -> None:
    with rig(MARKET) as exchange:

        async def act(socket: Any, following: Any) -> None:
            exchange.step(HOUR)
            book: dict[str, dict[str, str]] = {"b": {}, "a": {}}
            first = await following()
            exchange.step(600)
            second = await following()
            assert second["U"] == first["u"] + 1
            for message in (first, second):
                for side in book:
                    book[side].update(dict(message[side]))
            with client(exchange) as api:
                whole = api.public_get_depth({"symbol": "BTCUSDT", "limit": 100})
            kept = {p: q for p, q in book["a"].items() if q != "0"}
            assert kept == dict(whole["asks"])

        follow(exchange, "/ws/btcusdt@depth@100ms", act)


def test_futures_streams_and_user_data() -> None:
    with rig(FUTURES, kind="futures") as exchange, client(exchange, "futures") as api:
        key = api.fapiPrivatePostListenKey()["listenKey"]
        api.fapiPrivatePutListenKey({"listenKey": key})

        async def act(socket: Any, following: Any) -> None:
            api.create_order("BTC/USDT:USDT", "market", "buy", 2)
            new, filled, account = [await following() for _ in range(3)]
            assert (new["o"]["x"], filled["o"]["x"], filled["o"]["X"]) == ("NEW", "TRADE", "FILLED")
            assert account["e"] == "ACCOUNT_UPDATE" and account["a"]["P"][0]["pa"] == "2"

        follow(exchange, f"/private/ws?listenKey={key}", act)

        async def mark(socket: Any, following: Any) -> None:
            assert (await following())["e"] == "markPriceUpdate"

        follow(exchange, "/market/ws/btcusdt@markPrice@1s", mark)
        api.fapiPrivateDeleteListenKey({"listenKey": key})


def test_a_stream_is_told_what_happens_from_now_on() -> None:
    with rig(FUTURES, kind="futures") as exchange, client(exchange, "futures") as api:
        for _ in range(3):
            api.create_order("BTC/USDT:USDT", "market", "buy", 1)
        # nobody listens: nothing is kept, however long that lasts
        assert not exchange.service.events
        key = api.fapiPrivatePostListenKey()["listenKey"]

        async def act(socket: Any, following: Any) -> None:
            api.create_order("BTC/USDT:USDT", "market", "sell", 2)
            new = await following()
            assert (new["o"]["x"], new["o"]["S"], new["o"]["q"]) == ("NEW", "SELL", "2")

        follow(exchange, f"/private/ws?listenKey={key}", act)


def test_disconnects_of_the_plan() -> None:
    plan = FaultPlan.read({"faults": [{"kind": "disconnect", "start": "2024-03-01T01:00"}]})
    with rig(MARKET, faults=plan) as exchange:

        async def act(socket: Any, following: Any) -> None:
            await following()
            exchange.step(HOUR)
            while (message := await socket.receive(timeout=60)).type == aiohttp.WSMsgType.TEXT:
                pass
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)

        follow(exchange, "/ws/btcusdt@bookTicker", act)


def pro(exchange: ReplayExchange, kind: Any, keys: Keys = UNCHECKED) -> Any:
    """ccxt's websocket client, configured as freqtrade does."""
    import ccxt.pro

    block = exchange_config(exchange.url, kind, keys=keys, enable_ws=True)
    api = ccxt.pro.binance({**block["ccxt_config"], "apiKey": block["key"], "secret": block["secret"]})
    api.options["fetchCurrencies"] = False
    if kind == "futures":
        api.options["defaultType"] = "swap"
    return api


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("kind", "pair"), [("spot", "BTC/USDT"), ("futures", "BTC/USDT:USDT")])
def test_ccxt_follows_candles_trades_book_and_orders(kind: Any, pair: str) -> None:
    async def stepping(exchange: ReplayExchange) -> None:
        while True:
            await asyncio.sleep(0.2)
            await asyncio.to_thread(exchange.step, 120)

    async def run(exchange: ReplayExchange) -> None:
        api = pro(exchange, kind)
        steps = asyncio.create_task(stepping(exchange))
        try:
            async with asyncio.timeout(120):
                await api.load_markets()
                candles = await api.watch_ohlcv(pair, "1h")
                assert candles[-1][0] == api.parse8601("2024-03-01T00:00:00Z")
                assert (await api.watch_ticker(pair))["last"] == 100
                assert (await api.watch_trades(pair))[-1]["amount"] > 0
                book = await api.watch_order_book(pair)
                assert book["bids"][0][0] < book["asks"][0][0]
                orders = asyncio.create_task(api.watch_orders(pair))
                await asyncio.sleep(1)
                placed = await api.create_order(pair, "market", "buy", 1)
                assert (await orders)[-1]["id"] == placed["id"]
        finally:
            steps.cancel()
            await api.close()

    with rig(MARKET if kind == "spot" else FUTURES, kind=kind) as exchange, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(run(exchange))
