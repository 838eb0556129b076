"""The same market in the format of a second venue, Bybit v5: public market data, for failover.

Answers are wrapped as ``{"retCode": 0, "retMsg": "OK", "result": …, "time": …}``; rows come newest first. A
refusal is an answer with another ``retCode`` and HTTP status 200, as Bybit does it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from bascule.bridge.exchange import routes, wire
from bascule.bridge.exchange.book import levels
from bascule.bridge.exchange.brackets import brackets
from bascule.bridge.exchange.chaos import Verdict
from bascule.bridge.exchange.market import FUNDING_MS, Listing, ReplayMarket
from bascule.bridge.exchange.query import Query
from bascule.bridge.exchange.trades import prints
from bascule.bridge.exchange.wire import Json, Refusal, plain
from bascule.core import Timeframe

_INVALID = 10_001  # Bybit's code of a wrong parameter
_INTERVALS = {"D": "1d"} | {
    str(minutes): str(Timeframe(minutes * 60)) for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)
}


def _wrong(message: str) -> Refusal:
    return Refusal(_INVALID, message, 200)


def _category(market: ReplayMarket) -> str:
    return "spot" if market.kind == "spot" else "linear"


def _listing(market: ReplayMarket, query: Query) -> Listing:
    found = market.listings.get(query.get("symbol", ""))
    if found is None:
        raise _wrong("params error: Symbol Invalid")
    return found


def _chosen(market: ReplayMarket, query: Query) -> list[Listing]:
    return [_listing(market, query)] if query.get("symbol") else list(market.listings.values())


def _number(query: Query, name: str, default: int | None = None) -> int | None:
    text = query.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise _wrong(f"params error: {name} invalid")
    return int(text)


def _limit(query: Query, default: int, most: int) -> int:
    found = _number(query, "limit", default)
    assert found is not None
    if found < 1:
        raise _wrong("params error: limit invalid")
    return min(found, most)


def server_time(market: ReplayMarket, _query: Query) -> Json:
    """``/v5/market/time``."""
    now = market.now_ms()
    return {"timeSecond": str(now // 1_000), "timeNano": str(now * 1_000_000)}


def instruments(market: ReplayMarket, query: Query) -> Json:
    """``/v5/market/instruments-info``."""
    # everything listed here trades or has traded: nothing waits for its launch
    waiting = query.get("status") == "PreLaunch"
    rows = [] if waiting else [_instrument(market, one) for one in _chosen(market, query)]
    return {"category": _category(market), "list": rows, "nextPageCursor": ""}


def _instrument(market: ReplayMarket, listing: Listing) -> dict[str, Any]:
    asset = listing.instrument
    tick = wire.power_of_ten(-listing.price_decimals)
    step = wire.power_of_ten(-listing.quantity_decimals)
    least, most = plain(market.min_notional), "1000000000000"
    row: dict[str, Any] = {
        "symbol": asset.symbol,
        "baseCoin": asset.base,
        "quoteCoin": asset.quote,
        "status": "Trading" if market.is_trading(listing, market.now_ms()) else "Closed",
        "priceFilter": {"tickSize": tick, "minPrice": tick, "maxPrice": most},
    }
    if market.kind == "spot":
        lot = {"basePrecision": step, "quotePrecision": tick, "minOrderQty": step, "maxOrderQty": most}
        return row | {
            "marginTrading": "none",
            "lotSizeFilter": lot | {"minOrderAmt": least, "maxOrderAmt": most},
        }
    top = brackets(asset.pair)[0].leverage
    return row | {
        "contractType": "LinearPerpetual",
        "settleCoin": asset.settle,
        "launchTime": str(listing.onboard_ms),
        "deliveryTime": "0",
        "priceScale": str(listing.price_decimals),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": str(top), "leverageStep": "0.01"},
        "lotSizeFilter": {
            "minOrderQty": step,
            "maxOrderQty": most,
            "qtyStep": step,
            "minNotionalValue": least,
        },
        "fundingInterval": FUNDING_MS // 60_000,
    }


def _interval(market: ReplayMarket, query: Query) -> Timeframe:
    name = _INTERVALS.get(query.get("interval", ""))
    if name is None or Timeframe.parse(name).seconds * 1_000 % market.step_ms:
        raise _wrong("params error: Invalid period!")
    return Timeframe.parse(name)


def kline(market: ReplayMarket, query: Query) -> Json:
    """``/v5/market/kline`` (and the mark price's): newest first; with a start, the newest from there on."""
    listing, interval = _listing(market, query), _interval(market, query)
    start, end = _number(query, "start"), _number(query, "end")
    limit, step = _limit(query, 200, 1_000), interval.seconds * 1_000
    if start is not None and end is None:
        end = start + (limit - 1) * step
    found = market.candles(listing, interval, now=market.now_ms(), start=None, end=end, limit=limit)
    rows = [
        [str(int(ms)), *(wire.number(found.fields[name][i]) for name in found.fields)]
        for i, ms in enumerate(found.open_ms)
        if start is None or ms >= start
    ]
    return {"category": _category(market), "symbol": listing.instrument.symbol, "list": rows[::-1]}


def mark_kline(market: ReplayMarket, query: Query) -> Json:
    """``/v5/market/mark-price-kline``: the traded prices, without volumes."""
    answer: Any = kline(market, query)
    answer["list"] = [row[:5] for row in answer["list"]]
    return dict(answer)


def tickers(market: ReplayMarket, query: Query) -> Json:
    """``/v5/market/tickers``."""
    return {"category": _category(market), "list": [_ticker(market, one) for one in _chosen(market, query)]}


def _ticker(market: ReplayMarket, listing: Listing) -> dict[str, Any]:
    now, symbol = market.now_ms(), listing.instrument.symbol
    day: Any = routes.ticker_24hr(market, {"symbol": symbol})
    best: Any = routes.book_ticker(market, {"symbol": symbol})
    row = {
        "symbol": symbol,
        "lastPrice": day["lastPrice"],
        "prevPrice24h": day["openPrice"],
        "price24hPcnt": f"{float(day['priceChangePercent']) / 100:.6f}",
        "highPrice24h": day["highPrice"],
        "lowPrice24h": day["lowPrice"],
        "volume24h": day["volume"],
        "turnover24h": day["quoteVolume"],
        "bid1Price": best["bidPrice"],
        "bid1Size": best["bidQty"],
        "ask1Price": best["askPrice"],
        "ask1Size": best["askQty"],
    }
    if market.kind == "spot":
        return row
    settled = market.funding(listing, now=now, start=None, end=None, limit=1)
    interest: Any = routes.open_interest(market, {"symbol": symbol})
    return row | {
        "markPrice": day["lastPrice"],
        "indexPrice": day["lastPrice"],
        "openInterest": interest["openInterest"],
        "openInterestValue": wire.number(float(interest["openInterest"]) * float(day["lastPrice"])),
        "fundingRate": wire.number(settled[-1][1]) if settled else "0",
        "nextFundingTime": str(now // FUNDING_MS * FUNDING_MS + FUNDING_MS),
        "deliveryTime": "0",
    }


def orderbook(market: ReplayMarket, query: Query) -> Json:
    """``/v5/market/orderbook``."""
    listing, now = _listing(market, query), market.now_ms()
    limit = _limit(query, 25, 200)
    bids, asks = (levels(market, listing, now, side, limit) for side in ("SELL", "BUY"))
    return {
        "s": listing.instrument.symbol,
        "b": [[plain(p), plain(q)] for p, q in bids],
        "a": [[plain(p), plain(q)] for p, q in asks],
        "ts": now,
        "u": now,
        "seq": now,
        "cts": now,
    }


def funding_history(market: ReplayMarket, query: Query) -> Json:
    """``/v5/market/funding/history``: newest first."""
    listing, limit = _listing(market, query), _limit(query, 200, 200)
    start, end = _number(query, "startTime"), _number(query, "endTime")
    if start is not None and end is None:
        raise _wrong("params error: startTime needs endTime")
    found = market.funding(listing, now=market.now_ms(), start=None, end=end, limit=limit)
    rows = [
        {
            "symbol": listing.instrument.symbol,
            "fundingRate": wire.number(rate),
            "fundingRateTimestamp": str(ms),
        }
        for ms, rate in reversed(found)
        if start is None or ms >= start
    ]
    return {"category": _category(market), "list": rows}


def recent_trades(market: ReplayMarket, query: Query) -> Json:
    """``/v5/market/recent-trade``: newest first."""
    listing, now, limit = _listing(market, query), market.now_ms(), _limit(query, 60, 1_000)
    found = prints(market, listing, now - (limit // 11 + 2) * market.step_ms, now)[-limit:]
    rows = [
        {
            "execId": str(one.id),
            "symbol": listing.instrument.symbol,
            "price": plain(one.price),
            "size": plain(one.quantity),
            "side": "Sell" if one.seller else "Buy",
            "time": str(one.ms),
            "isBlockTrade": False,
        }
        for one in reversed(found)
    ]
    return {"category": _category(market), "list": rows}


def open_interest(market: ReplayMarket, query: Query) -> Json:
    """``/v5/market/open-interest``: newest first."""
    listing, limit = _listing(market, query), _limit(query, 50, 200)
    start, end = _number(query, "startTime"), _number(query, "endTime")
    found = market.events("open_interest", listing, now=market.now_ms(), start=start, end=end, limit=limit)
    rows = [{"openInterest": wire.number(value), "timestamp": str(ms)} for ms, value in reversed(found)]
    answer = {"category": _category(market), "symbol": listing.instrument.symbol, "list": rows}
    return answer | {"nextPageCursor": ""}


_BASE = "/v5/market/"
BYBIT_ROUTES: Mapping[str, Callable[[ReplayMarket, Query], Json]] = {
    _BASE + "time": server_time,
    _BASE + "instruments-info": instruments,
    _BASE + "kline": kline,
    _BASE + "mark-price-kline": mark_kline,
    _BASE + "index-price-kline": mark_kline,
    _BASE + "tickers": tickers,
    _BASE + "orderbook": orderbook,
    _BASE + "funding/history": funding_history,
    _BASE + "recent-trade": recent_trades,
    _BASE + "open-interest": open_interest,
}


def bybit_answer(market: ReplayMarket, path: str, query: Query, verdict: Verdict) -> Json:
    """The wrapped answer to a public request in Bybit's format."""
    now = market.now_ms()
    try:
        category = query.get("category")
        if path != _BASE + "time" and category != _category(market):
            raise _wrong("params error: Category is invalid")
        result: Any = BYBIT_ROUTES[path](market, query)
    except Refusal as refusal:
        return {
            "retCode": refusal.code,
            "retMsg": refusal.message,
            "result": {},
            "retExtInfo": {},
            "time": now,
        }
    if path.endswith("kline"):
        result["list"] = _late(market, query, result["list"], verdict)
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now}


def _late(market: ReplayMarket, query: Query, rows: list[Any], verdict: Verdict) -> list[Any]:
    """Candles as the fault plan has them: stale, or the newest one twice."""
    if verdict.stale:
        step = _interval(market, query).seconds * 1_000
        newest = market.now_ms() // step * step - verdict.stale * step
        rows = [row for row in rows if int(row[0]) <= newest]
    return rows[:1] + rows if verdict.doubled else rows
