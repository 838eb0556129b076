"""The public REST dialects of four exchanges, by hand after their recorded replies.

All serve one made-up market: prices and statistics are functions of the time alone, so that a test can say
what must arrive. Each keeps its venue's rules of paging: order of rows, bounds included or not, largest
page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tests.data.sources.server import FakeTime, Query, Route, Status

HOUR = 3_600_000
Rows = list[list[Any]]
Mangle = Callable[[Rows], Rows]
_STEPS = {"60": HOUR, "1h": HOUR, "1H": HOUR, "1d": 24 * HOUR, "D": 24 * HOUR, "1Dutc": 24 * HOUR}


def price(ms: int) -> float:
    """Close of the candle that opens at ``ms``."""
    return round(30_000 + 1_000 * np.sin(ms / HOUR / 24), 2)


def volume(ms: int) -> float:
    """Coins traded in the candle that opens at ``ms``."""
    return 100.0 + ms // HOUR % 24


def funding(ms: int) -> float:
    return round(1e-4 * (1 + ms // HOUR % 5), 6)


def interest(ms: int) -> float:
    return 5_000.0 + ms // HOUR % 100


def ratio(ms: int) -> float:
    return round(1 + (ms // HOUR % 10) / 10, 2)


class Market:
    """What all dialects serve.

    Attributes:
        now: present in milliseconds, as the server believes: the test's clock plus `skew_ms`.
        listed: first candle.
        mangle: applied to each page before it leaves, to inject disorder.
    """

    def __init__(self, time: FakeTime, *, listed: str = "2023-12-01", skew_ms: int = 0) -> None:
        self.time = time
        self.skew_ms = skew_ms
        self.listed = stamp(listed)
        self.mangle: Mangle = lambda rows: rows

    @property
    def now(self) -> int:
        return int(self.time.clock().astype("datetime64[ms]").astype(np.int64)) + self.skew_ms

    def stamps(self, step: int, lo: int, hi: int, *, offset: int = 0) -> list[int]:
        """Multiples of ``step`` in ``[lo, hi]`` that lie in the market's life, oldest first."""
        lo = max(lo, self.listed)
        hi = min(hi, self.now)
        return [ms + offset for ms in range(-(-lo // step) * step, hi + 1, step)]

    def ohlc(self, ms: int, step: int) -> list[str]:
        last, first = price(ms), price(ms - step)
        return [str(v) for v in (first, max(first, last) + 5, min(first, last) - 5, last)]


def stamp(text: str) -> int:
    return int(np.datetime64(text, "ms").astype(np.int64))


def integer(query: Query, name: str, default: int) -> int:
    return int(query.get(name) or default)


def step_of(query: Query, name: str) -> int:
    return _STEPS[query[name]]


# -- Binance: oldest first, both bounds included ----------------------------------------------------------


def binance(market: Market) -> dict[str, Route]:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01", "minPrice": "0.01", "maxPrice": "1000000"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "9000"},
        {"filterType": "MIN_NOTIONAL", "notional": "5", "minNotional": "5"},
    ]

    def info(perpetual: bool) -> Any:
        extra = {
            "contractType": "PERPETUAL",
            "deliveryDate": 4133404800000,
            "onboardDate": market.listed,
            "marginAsset": "USDT",
            "pair": "BTCUSDT",
        }
        one = {
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "pricePrecision": 2,
            "quantityPrecision": 3,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "filters": filters,
            "permissions": [],
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": True,
            "orderTypes": ["LIMIT"],
            **(extra if perpetual else {}),
        }
        two = {**one, "symbol": "ETHUSDT", "baseAsset": "ETH", **({"pair": "ETHUSDT"} if perpetual else {})}
        return {"timezone": "UTC", "serverTime": market.now, "rateLimits": [], "symbols": [one, two]}

    def page(query: Query, step: int, most: int) -> list[int]:
        hi = integer(query, "endTime", market.now)
        lo = integer(query, "startTime", hi - step * most)
        return market.stamps(step, lo, hi)[: min(integer(query, "limit", 500), most)]

    def klines(query: Query) -> Any:
        step = step_of(query, "interval")
        rows = [
            [
                ms,
                *market.ohlc(ms, step),
                f"{volume(ms):.8f}",
                ms + step - 1,
                f"{volume(ms) * price(ms):.8f}",
                int(volume(ms)) * 3,
                f"{volume(ms) * 0.4:.8f}",
                f"{volume(ms) * 0.4 * price(ms):.8f}",
                "0",
            ]
            for ms in page(query, step, 1_000)
        ]
        return market.mangle(rows)

    def mark(query: Query) -> Any:
        step = step_of(query, "interval")
        zeros = ["0", 0, "0", "0", "0", "0"]
        return [
            [ms, *market.ohlc(ms, step), zeros[0], ms + step - 1, *zeros[1:]]
            for ms in page(query, step, 1_000)
        ]

    def rates(query: Query) -> Any:
        return [
            {
                "symbol": query["symbol"],
                "fundingTime": ms + 3,  # settlements are stamped a few milliseconds late
                "fundingRate": f"{funding(ms):.8f}",
                "markPrice": "30000.0",
            }
            for ms in page(query, 8 * HOUR, 1_000)
        ]

    def statistics(query: Query, row: Callable[[int], dict[str, str]]) -> Any:
        oldest = market.now - 30 * 24 * HOUR
        if integer(query, "startTime", oldest) < oldest:
            raise Status(400, {"code": -1130, "msg": "parameter 'startTime' is invalid."})
        stamps = page(query, step_of(query, "period"), 500)
        return [{"symbol": query["symbol"], **row(ms), "timestamp": ms} for ms in stamps]

    spot = {
        "/api/v3/exchangeInfo": lambda _: info(False),
        "/api/v3/time": lambda _: {"serverTime": market.now},
        "/api/v3/klines": klines,
    }
    return spot | {
        "/fapi/v1/exchangeInfo": lambda _: info(True),
        "/fapi/v1/time": lambda _: {"serverTime": market.now},
        "/fapi/v1/klines": klines,
        "/fapi/v1/markPriceKlines": mark,
        "/fapi/v1/fundingRate": rates,
        "/futures/data/openInterestHist": lambda q: statistics(
            q,
            lambda ms: {
                "sumOpenInterest": f"{interest(ms):.8f}",
                "sumOpenInterestValue": f"{interest(ms) * price(ms):.8f}",
            },
        ),
        "/futures/data/globalLongShortAccountRatio": lambda q: statistics(
            q, lambda ms: {"longAccount": "0.5", "shortAccount": "0.5", "longShortRatio": f"{ratio(ms):.4f}"}
        ),
    }


# -- Bybit: newest first, both bounds included -------------------------------------------------------------


def bybit(market: Market) -> dict[str, Route]:
    def wrap(query: Query, rows: Iterable[Any], **extra: Any) -> Any:
        result = {
            "category": query.get("category", "linear"),
            "symbol": query.get("symbol"),
            "list": list(rows),
            **extra,
        }
        return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": market.now}

    def instruments(query: Query) -> Any:
        if query.get("status") == "PreLaunch":
            return wrap(query, [], nextPageCursor="")
        linear = {
            "contractType": "LinearPerpetual",
            "launchTime": str(market.listed),
            "deliveryTime": "0",
            "settleCoin": "USDT",
            "fundingInterval": 480,
            "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        }
        one = {
            "symbol": "BTCUSDT",
            "baseCoin": "BTC",
            "quoteCoin": "USDT",
            "status": "Trading",
            "lotSizeFilter": {
                "basePrecision": "0.000001",
                "quotePrecision": "0.01",
                "minOrderQty": "0.001",
                "maxOrderQty": "100",
                "qtyStep": "0.001",
            },
            "priceFilter": {"tickSize": "0.10", "minPrice": "0.10", "maxPrice": "1999999.80"},
            **(linear if query["category"] == "linear" else {"marginTrading": "both"}),
        }
        return wrap(query, [one, {**one, "symbol": "ETHUSDT", "baseCoin": "ETH"}], nextPageCursor="")

    def page(query: Query, step: int, most: int, lo: str = "startTime", hi: str = "endTime") -> list[int]:
        stamps = market.stamps(step, integer(query, lo, 0), integer(query, hi, market.now))
        return stamps[::-1][: min(integer(query, "limit", 50), most)]

    def kline(query: Query) -> Any:
        step = step_of(query, "interval")
        rows = [
            [str(ms), *market.ohlc(ms, step), str(volume(ms)), str(volume(ms) * price(ms))]
            for ms in page(query, step, 1_000, "start", "end")
        ]
        return wrap(query, market.mangle(rows))

    def mark(query: Query) -> Any:
        step = step_of(query, "interval")
        return wrap(
            query, [[str(ms), *market.ohlc(ms, step)] for ms in page(query, step, 1_000, "start", "end")]
        )

    def rates(query: Query) -> Any:
        return wrap(
            query,
            (
                {"symbol": query["symbol"], "fundingRate": str(funding(ms)), "fundingRateTimestamp": str(ms)}
                for ms in page(query, 8 * HOUR, 200)
            ),
        )

    def open_interest(query: Query) -> Any:
        return wrap(
            query,
            (
                {"openInterest": f"{interest(ms):.8f}", "timestamp": str(ms)}
                for ms in page(query, step_of(query, "intervalTime"), 200)
            ),
            nextPageCursor="",
        )

    def accounts(query: Query) -> Any:
        def share(ms: int) -> float:
            return ratio(ms) / (1 + ratio(ms))

        return wrap(
            query,
            (
                {
                    "symbol": query["symbol"],
                    "buyRatio": str(share(ms)),
                    "sellRatio": str(1 - share(ms)),
                    "timestamp": str(ms),
                }
                for ms in page(query, step_of(query, "period"), 500)
            ),
            nextPageCursor="",
        )

    def time(query: Query) -> Any:
        body = wrap(query, [])
        return {
            **body,
            "result": {"timeSecond": str(market.now // 1_000), "timeNano": str(market.now * 1_000_000)},
        }

    return {
        "/v5/market/instruments-info": instruments,
        "/v5/market/time": time,
        "/v5/market/kline": kline,
        "/v5/market/mark-price-kline": mark,
        "/v5/market/funding/history": rates,
        "/v5/market/open-interest": open_interest,
        "/v5/market/account-ratio": accounts,
    }


# -- OKX: newest first, both bounds excluded: "before" is the older one ------------------------------------


def okx(market: Market) -> dict[str, Route]:
    def wrap(rows: Any) -> Any:
        return {"code": "0", "msg": "", "data": rows}

    def instruments(query: Query) -> Any:
        def one(base: str) -> dict[str, str]:
            swap = {
                "instId": f"{base}-USDT-SWAP",
                "instFamily": f"{base}-USDT",
                "uly": f"{base}-USDT",
                "ctVal": "0.01",
                "ctMult": "1",
                "ctValCcy": base,
                "ctType": "linear",
                "settleCcy": "USDT",
                "baseCcy": "",
                "quoteCcy": "",
            }
            spot = {
                "instId": f"{base}-USDT",
                "baseCcy": base,
                "quoteCcy": "USDT",
                "ctVal": "",
                "settleCcy": "",
            }
            return {
                "instType": query["instType"],
                "state": "live",
                "tickSz": "0.1",
                "lotSz": "0.01",
                "minSz": "0.01",
                "lever": "100",
                "listTime": str(market.listed),
                "expTime": "",
                "stk": "",
                "optType": "",
                **(swap if query["instType"] == "SWAP" else spot),
            }

        return wrap([one("BTC"), one("ETH")])

    def page(query: Query, step: int, most: int, lo: str = "before", hi: str = "after") -> list[int]:
        stamps = market.stamps(step, integer(query, lo, 0) + 1, integer(query, hi, market.now + 1) - 1)
        return stamps[::-1][: min(integer(query, "limit", 100), most)]

    def candles(query: Query, most: int) -> Any:
        step = step_of(query, "bar")
        swap = query["instId"].endswith("SWAP")
        rows = []
        for ms in page(query, step, most):
            coins, value = volume(ms), volume(ms) * price(ms)
            amounts = [coins / 0.01, coins, value] if swap else [coins, value, value]
            done = "1" if ms + step <= market.now else "0"
            rows.append([str(ms), *market.ohlc(ms, step), *(str(a) for a in amounts), done])
        return wrap(market.mangle(rows))

    def mark(query: Query) -> Any:
        step = step_of(query, "bar")
        return wrap([[str(ms), *market.ohlc(ms, step), "1"] for ms in page(query, step, 100)])

    def rates(query: Query) -> Any:
        return wrap(
            [
                {
                    "instType": "SWAP",
                    "instId": query["instId"],
                    "fundingRate": str(funding(ms)),
                    "realizedRate": str(funding(ms)),
                    "fundingTime": str(ms),
                    "method": "current_period",
                }
                for ms in page(query, 8 * HOUR, 100)
            ]
        )

    def open_interest(query: Query) -> Any:
        return wrap(
            [
                [str(ms), str(interest(ms) / 0.01), str(interest(ms)), str(interest(ms) * price(ms))]
                for ms in page(query, step_of(query, "period"), 100, "begin", "end")
            ]
        )

    def accounts(query: Query) -> Any:
        stamps = page(query, step_of(query, "period"), 100, "begin", "end")
        return wrap([[str(ms), str(ratio(ms))] for ms in stamps])

    root = "/api/v5"
    return {
        f"{root}/public/instruments": instruments,
        f"{root}/public/time": lambda _: wrap([{"ts": str(market.now)}]),
        f"{root}/market/candles": lambda q: candles(q, 300),
        f"{root}/market/history-candles": lambda q: candles(q, 300),
        f"{root}/market/mark-price-candles": mark,
        f"{root}/market/history-mark-price-candles": mark,
        f"{root}/public/funding-rate-history": rates,
        f"{root}/rubik/stat/contracts/open-interest-history": open_interest,
        f"{root}/rubik/stat/contracts/long-short-account-ratio-contract": accounts,
    }


# -- Upbit: newest first, "to" excluded, no lower bound ----------------------------------------------------


def upbit(market: Market, won: float = 1_300.0, premium: float = 0.02) -> dict[str, Route]:
    def candles(query: Query) -> Any:
        step = 24 * HOUR if query["path"] == "days" else int(query["path"].removeprefix("minutes/")) * 60_000
        until = stamp(query["to"].rstrip("Z")) if "to" in query else market.now + 1
        count = integer(query, "count", 1)
        stamps = market.stamps(step, until - step * (count + 1), until - 1)[::-1][:count]
        rate = won * (1 + premium)
        rows = []
        for ms in stamps:
            open_, high, low, close = (float(v) * rate for v in market.ohlc(ms, step))
            rows.append(
                {
                    "market": query["market"],
                    "candle_date_time_utc": str(np.datetime64(ms, "ms").astype("datetime64[s]")),
                    "candle_date_time_kst": str(np.datetime64(ms + 9 * HOUR, "ms").astype("datetime64[s]")),
                    "opening_price": open_,
                    "high_price": high,
                    "low_price": low,
                    "trade_price": close,
                    "timestamp": ms + step - 1,
                    "candle_acc_trade_price": volume(ms) * close,
                    "candle_acc_trade_volume": volume(ms),
                    "unit": step // 60_000,
                }
            )
        return rows

    return {
        "/v1/market/all": lambda _: [
            {"market": "KRW-BTC", "korean_name": "비트코인", "english_name": "Bitcoin"},
            {"market": "KRW-ETH", "korean_name": "이더리움", "english_name": "Ethereum"},
        ],
        "/v1/candles/": candles,
    }


DIALECTS: dict[str, Callable[[Market], dict[str, Route]]] = {
    "binance": binance,
    "bybit": bybit,
    "okx": okx,
    "upbit": upbit,
}
