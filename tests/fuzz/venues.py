"""What exchanges answer: to the bot directly, to questions about its key, and to ccxt."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import numpy as np

from bascule.core import BasculeError, Instrument, Timeframe
from tests.fuzz.damage import damaged, pick, promised

HOUR = 3_600_000
START = 1_700_002_800_000
BTC = Instrument.parse("BTC_USDT")


def klines(bars: int = 4) -> list[list[Any]]:
    """Rows as Binance sends them."""
    return [[START + k * HOUR, "10.0", "12.0", "9.0", "11.0", "5.0", START, "55", 7] for k in range(bars)]


CANDLES: dict[str, Any] = {
    "binance": klines(),
    "bybit": {"retCode": 0, "retMsg": "OK", "result": {"list": [[str(v) for v in r] for r in klines()]}},
}
CLOCKS: dict[str, Any] = {
    "binance": {"serverTime": START},
    "bybit": {"retCode": 0, "result": {"timeSecond": "1700000000", "timeNano": "1700000000123456789"}},
}
KEYS: dict[str, Any] = {
    "binance": {"ipRestrict": True, "enableReading": True, "enableWithdrawals": False},
    "bybit": {"retCode": 0, "result": {"ips": ["1.2.3.4"], "permissions": {"Wallet": ["Withdraw"]}}},
    "okx": {"code": "0", "data": [{"perm": "read_only,trade", "ip": ""}]},
}


class Client:
    """In the place of a ccxt client: private calls bring the one reply."""

    def __init__(self, venue: str, reply: bytes) -> None:
        self.id, self.reply = venue, reply
        self.urls = {"api": {"public": "https://api.venue.invalid"}}

    def answer(self) -> Any:
        import ccxt

        try:
            return json.loads(self.reply)
        except ValueError as error:
            raise ccxt.NetworkError("not JSON") from error

    sapi_get_account_apirestrictions = private_get_v5_user_query_api = private_get_account_config = answer


class Venue:
    """Candles and clock of a venue whose answers are damaged on the way, and what it says of a key."""

    def __init__(self) -> None:
        from bascule.bridge.freqtrade.venues import RestVenue
        from tests.data.sources.server import Wire

        self.body = b""
        self.stack = ExitStack()
        wire = self.stack.enter_context(Wire({"/": lambda query: self.body}))
        self.venues = {form: RestVenue(form, "spot", url=wire.url) for form in ("binance", "bybit")}

    def one(self, data: bytes) -> None:
        from bascule.bridge.freqtrade.keys import Permissions, require_least

        kinds = [*((kind, name) for kind in ("candles", "clock") for name in CANDLES)]
        (kind, name), rest = pick(kinds + [("key", name) for name in KEYS], data)
        with promised(BasculeError):
            if kind == "key":
                found = require_least(Client(name, damaged(json.dumps(KEYS[name]).encode(), rest)))
                assert isinstance(found, Permissions)
                assert found.withdraw is not None or found.said
                return
            self.body = damaged(json.dumps({"candles": CANDLES, "clock": CLOCKS}[kind][name]).encode(), rest)
            if kind == "clock":
                assert np.isfinite(self.venues[name].ping())
                return
            now = START + 10 * HOUR
            frame = self.venues[name].candles(BTC, Timeframe.parse("1h"), 5, now_ms=now)
            times = frame["date"].to_numpy("datetime64[ms]").astype(np.int64)
            assert len(frame) <= 5 and (np.diff(times) > 0).all() and (times + HOUR <= now).all()
            assert (frame[["open", "high", "low", "close"]] > 0).all(axis=None)


class Exchange:
    """Pages of candles, funding and open interest through ccxt: read into a source's one form, or refused."""

    CASES = (
        ("binance", "spot", "candles"),
        ("bybit", "spot", "candles"),
        ("okx", "spot", "candles"),
        ("binance", "futures", "funding"),
        ("bybit", "futures", "open_interest"),
        ("okx", "futures", "long_short"),
    )

    def __init__(self) -> None:
        from bascule.data.sources import Context, open_source
        from tests.data.sources.exchanges import DIALECTS, Market
        from tests.data.sources.server import FakeTime, Wire, encode

        self.stack = ExitStack()
        self.rest: bytes | None = None
        self.sources: dict[tuple[str, str, str], Any] = {}
        for venue, market, kind in self.CASES:
            time = FakeTime("2024-01-10T00:30")
            routes = {
                path: lambda query, route=route: self.hurt(encode(route(query)))
                for path, route in DIALECTS[venue](Market(time)).items()
            }
            wire = self.stack.enter_context(Wire(routes, date=time.clock))
            context = Context(np.random.default_rng(0), time.clock, time.sleep)
            values = {"venue": venue, "market": market, "kind": kind, "base_url": wire.url, "pace": False}
            self.sources[venue, market, kind] = open_source("exchange", {**values, "attempts": 2}, context)

    def hurt(self, body: bytes) -> bytes:
        return body if self.rest is None else damaged(body, self.rest)

    def one(self, data: bytes) -> None:
        case, rest = pick(list(self.CASES), data)
        source = self.sources[case]
        name = "BTC_USDT" if case[1] == "spot" else "BTC_USDT_USDT"
        if source._client._exchange is None:  # markets once, undamaged
            self.rest = None
            source.fetch("2024-01-08", "2024-01-08T04:00", [name])
        self.rest = rest
        with promised(BasculeError):
            frame = source.fetch("2024-01-08", "2024-01-08T04:00", [name]).frame
            assert not frame.duplicated(["instrument", "time"]).any()
            assert frame["time"].is_monotonic_increasing
