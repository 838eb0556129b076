"""Paths and queries to answers. One small function an endpoint, all in Binance's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bascule.bridge.exchange import wire
from bascule.bridge.exchange.book import Side, levels
from bascule.bridge.exchange.intake import FUTURES_TYPES, SPOT_TYPES
from bascule.bridge.exchange.market import DAY_MS, FUNDING_MS, Listing, ReplayMarket
from bascule.bridge.exchange.query import Query, integer, interval_of, limit_of, listing_of, listings_of
from bascule.bridge.exchange.trades import agg_trades, trades
from bascule.bridge.exchange.weights import LIMITS
from bascule.bridge.exchange.wire import Json, Refusal, plain
from bascule.core import Timeframe

Handler = Callable[[ReplayMarket, Query], Json]
PERPETUAL_DELIVERY_MS = 4_133_404_800_000  # 2100-12-25, what Binance writes for "never"
_MOST_TOLD = 100_000  # candles whose text is kept, of all symbols
_TOLD_EACH = 3_000  # … and of each: two of the longest answers
_BOOK_LIMITS = (5, 10, 20, 50, 100, 500, 1_000)
_BOOK_SIDES: tuple[tuple[str, Side], ...] = (("bids", "SELL"), ("asks", "BUY"))


# -- endpoints ---------------------------------------------------------------------------------------


def ping(_market: ReplayMarket, _query: Query) -> Json:
    """``/ping``."""
    return {}


def server_time(market: ReplayMarket, _query: Query) -> Json:
    """``/time``."""
    return {"serverTime": market.now_ms()}


def exchange_info(market: ReplayMarket, query: Query) -> Json:
    """``/exchangeInfo``."""
    now = market.now_ms()
    describe = _spot_symbol if market.kind == "spot" else _futures_symbol
    listed, _ = listings_of(market, query)
    return {
        "timezone": "UTC",
        "serverTime": now,
        "rateLimits": [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": LIMITS[market.kind],
            }
        ],
        "exchangeFilters": [],
        "symbols": [
            describe(one, "TRADING" if market.is_trading(one, now) else "BREAK", plain(market.min_notional))
            for one in listed
        ],
    }


def _filters(listing: Listing, notional: dict[str, str]) -> list[dict[str, str]]:
    tick = wire.power_of_ten(-listing.price_decimals)
    step = wire.power_of_ten(-listing.quantity_decimals)
    lot = {"minQty": step, "maxQty": "1000000000000", "stepSize": step}
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "MARKET_LOT_SIZE", **lot},
        notional,
    ]


def _spot_symbol(listing: Listing, status: str, least: str) -> dict[str, Any]:
    asset = listing.instrument
    return {
        "symbol": asset.symbol,
        "status": status,
        "baseAsset": asset.base,
        "baseAssetPrecision": 8,
        "quoteAsset": asset.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": list(SPOT_TYPES),
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(listing, {"filterType": "NOTIONAL", "minNotional": least}),
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _futures_symbol(listing: Listing, status: str, least: str) -> dict[str, Any]:
    asset = listing.instrument
    return {
        "symbol": asset.symbol,
        "pair": asset.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": PERPETUAL_DELIVERY_MS,
        "onboardDate": listing.onboard_ms,
        "status": status,
        "baseAsset": asset.base,
        "quoteAsset": asset.quote,
        "marginAsset": asset.settle,
        "pricePrecision": listing.price_decimals,
        "quantityPrecision": listing.quantity_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "orderTypes": list(FUTURES_TYPES),
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
        "filters": _filters(listing, {"filterType": "MIN_NOTIONAL", "notional": least}),
    }


def klines(market: ReplayMarket, query: Query) -> Json:
    """``/klines``."""
    listing, interval = listing_of(market, query), interval_of(market, query.get("interval"))
    now = market.now_ms()
    found = market.candles(
        listing,
        interval,
        now=now,
        start=integer(query, "startTime"),
        end=integer(query, "endTime"),
        limit=limit_of(query, 500, 1_000 if market.kind == "spot" else 1_500),
    )
    step, told = interval.seconds * 1_000, market.told
    if len(told) > min(_MOST_TOLD, _TOLD_EACH * len(market.listings)):
        told.clear()
    rows = []
    for i, ms in enumerate(found.open_ms.tolist()):
        row = told.get((listing.column, step, ms))
        if row is None:
            row = wire.kline(ms, step, {name: values[i] for name, values in found.fields.items()})
            if ms + step <= now:  # a closed candle never changes again
                told[listing.column, step, ms] = row
        rows.append(row)
    return rows


def mark_price_klines(market: ReplayMarket, query: Query) -> Json:
    """``/markPriceKlines``: the traded prices, which a panel cannot tell from mark prices, without volume."""
    rows: Any = klines(market, query)
    return [[*row[:5], "0", row[6], "0", *row[8:]] for row in rows]


def depth(market: ReplayMarket, query: Query) -> Json:
    """``/depth``: the made-up book (`book`)."""
    listing, now = listing_of(market, query), market.now_ms()
    limit = limit_of(query, 100 if market.kind == "spot" else 500, 5_000)
    if market.kind == "futures" and limit not in _BOOK_LIMITS:
        raise Refusal(-4021, f"{limit} is not valid depth limit.")
    book: dict[str, Any] = {"lastUpdateId": now, "bids": [], "asks": []}
    if market.kind == "futures":
        book |= {"E": now, "T": now}
    # a seller meets bids, a buyer meets asks
    for name, side in _BOOK_SIDES:
        book[name] = [
            [plain(price), plain(amount)] for price, amount in levels(market, listing, now, side, limit)
        ]
    return book


def _day(market: ReplayMarket, listing: Listing, now: int) -> dict[str, Any]:
    """The rolling 24 hours, from candles; zeros where nothing traded."""
    base = Timeframe(market.step_ms // 1_000)
    start = now - DAY_MS + 1
    found = market.candles(listing, base, now=now, start=start, limit=DAY_MS // market.step_ms + 1)
    price = market.last_price(listing, now)
    fields = found.fields
    empty = not len(found)
    first = float(fields["open"][0]) if not empty else price or 0.0
    last = price or 0.0
    volume = 0.0 if empty else float(fields["volume"].sum(dtype="float64"))
    quote = 0.0 if empty else float(fields["quote_volume"].sum(dtype="float64"))
    number = wire.number
    return {
        "symbol": listing.instrument.symbol,
        "priceChange": number(last - first),
        "priceChangePercent": f"{100 * (last / first - 1) if first else 0.0:.3f}",
        "weightedAvgPrice": number(quote / volume if volume else last),
        "lastPrice": number(last),
        "lastQty": "0",
        "openPrice": number(first),
        "highPrice": number(last if empty else fields["high"].max()),
        "lowPrice": number(last if empty else fields["low"].min()),
        "volume": number(volume),
        "quoteVolume": number(quote),
        "openTime": start,
        "closeTime": now,
        "firstId": -1,
        "lastId": -1,
        "count": 0,
    }


def _best(market: ReplayMarket, listing: Listing) -> dict[str, str]:
    book: Any = depth(market, {"symbol": listing.instrument.symbol, "limit": "5"})
    bid, ask = (book[side][0] if book[side] else ["0", "0"] for side in ("bids", "asks"))
    return {"bidPrice": bid[0], "bidQty": bid[1], "askPrice": ask[0], "askQty": ask[1]}


def ticker_24hr(market: ReplayMarket, query: Query) -> Json:
    """``/ticker/24hr``; on spot with best bid and ask, as Binance does."""
    listed, single = listings_of(market, query)
    now = market.now_ms()
    rows = [_day(market, one, now) | (_best(market, one) if market.kind == "spot" else {}) for one in listed]
    return rows[0] if single else rows


def ticker_price(market: ReplayMarket, query: Query) -> Json:
    """``/ticker/price``."""
    listed, single = listings_of(market, query)
    now = market.now_ms()
    stamp = {} if market.kind == "spot" else {"time": now}
    rows = [
        {"symbol": one.instrument.symbol, "price": wire.number(market.last_price(one, now) or 0.0), **stamp}
        for one in listed
    ]
    return rows[0] if single else rows


def book_ticker(market: ReplayMarket, query: Query) -> Json:
    """``/ticker/bookTicker``."""
    listed, single = listings_of(market, query)
    stamp = {} if market.kind == "spot" else {"time": market.now_ms()}
    rows = [{"symbol": one.instrument.symbol, **_best(market, one), **stamp} for one in listed]
    return rows[0] if single else rows


def funding_rate(market: ReplayMarket, query: Query) -> Json:
    """``/fundingRate``: settlements, oldest first."""
    listed, _ = listings_of(market, query)
    now, limit = market.now_ms(), limit_of(query, 100, 1_000)
    start, end = integer(query, "startTime"), integer(query, "endTime")
    rows = [
        {
            "symbol": one.instrument.symbol,
            "fundingTime": ms,
            "fundingRate": wire.number(rate),
            "markPrice": "",
        }
        for one in listed
        for ms, rate in market.funding(one, now=now, start=start, end=end, limit=limit)
    ]
    rows.sort(key=lambda row: (row["fundingTime"], row["symbol"]))
    return rows[:limit] if start is not None else rows[-limit:]


def premium_index(market: ReplayMarket, query: Query) -> Json:
    """``/premiumIndex``: mark price and the last settled funding rate."""
    listed, single = listings_of(market, query)
    now = market.now_ms()
    rows = []
    for one in listed:
        price = wire.number(market.last_price(one, now) or 0.0)
        settled = market.funding(one, now=now, start=None, end=None, limit=1)
        rows.append(
            {
                "symbol": one.instrument.symbol,
                "markPrice": price,
                "indexPrice": price,
                "estimatedSettlePrice": price,
                "lastFundingRate": wire.number(settled[-1][1]) if settled else "0",
                "interestRate": "0.0001",
                "nextFundingTime": now // FUNDING_MS * FUNDING_MS + FUNDING_MS,
                "time": now,
            }
        )
    return rows[0] if single else rows


def open_interest_history(market: ReplayMarket, query: Query) -> Json:
    """``/futures/data/openInterestHist``: the panel's ``open_interest``, in coins and at the last price."""
    listing, now = listing_of(market, query), market.now_ms()
    start, end = integer(query, "startTime"), integer(query, "endTime")
    found = market.events(
        "open_interest", listing, now=now, start=start, end=end, limit=limit_of(query, 30, 500)
    )
    rows = []
    for ms, amount in found:
        price = market.last_price(listing, ms) or 0.0
        rows.append(
            {
                "symbol": listing.instrument.symbol,
                "sumOpenInterest": wire.number(amount),
                "sumOpenInterestValue": wire.number(amount * price),
                "timestamp": ms,
            }
        )
    return rows


def open_interest(market: ReplayMarket, query: Query) -> Json:
    """``/openInterest``: the newest ``open_interest`` of the panel, 0 where it has none."""
    listing, now = listing_of(market, query), market.now_ms()
    found = market.events("open_interest", listing, now=now, start=None, end=None, limit=1)
    return {
        "symbol": listing.instrument.symbol,
        "openInterest": wire.number(found[-1][1]) if found else "0",
        "time": found[-1][0] if found else now,
    }


def funding_info(_market: ReplayMarket, _query: Query) -> Json:
    """``/fundingInfo``: no symbol departs from eight hours."""
    return []


_COMMON: dict[str, Handler] = {
    "ping": ping,
    "time": server_time,
    "exchangeInfo": exchange_info,
    "klines": klines,
    "depth": depth,
    "trades": trades,
    "historicalTrades": trades,
    "aggTrades": agg_trades,
    "ticker/24hr": ticker_24hr,
    "ticker/price": ticker_price,
    "ticker/bookTicker": book_ticker,
}
_FUTURES: dict[str, Handler] = {
    "markPriceKlines": mark_price_klines,
    "indexPriceKlines": mark_price_klines,
    "fundingRate": funding_rate,
    "fundingInfo": funding_info,
    "premiumIndex": premium_index,
    "openInterest": open_interest,
}
ROUTES: dict[str, dict[str, Handler]] = {
    "spot": {f"/api/v3/{name}": handler for name, handler in _COMMON.items()},
    "futures": {
        **{f"/fapi/v1/{name}": handler for name, handler in (_COMMON | _FUTURES).items()},
        "/fapi/v2/ticker/price": ticker_price,
        "/futures/data/openInterestHist": open_interest_history,
    },
}


def answer(
    market: ReplayMarket, path: str, query: Query, *, stale: int = 0, doubled: bool = False
) -> Json | bytes:
    """The body of a public GET request.

    Args:
        market: the market.
        path, query: what is asked.
        stale: so many candles are missing at the end.
        doubled: the last candle comes twice.

    Raises:
        Refusal: there is no such path, or the query is wrong.
    """
    handler = ROUTES[market.kind].get(path)
    if handler is None:
        raise Refusal(-5000, f"Path {path}, Method GET is invalid", status=404)
    body = handler(market, query)
    if not (stale or doubled) or not isinstance(body, list):
        return body
    step = interval_of(market, query.get("interval")).seconds * 1_000
    newest = market.now_ms() // step * step - stale * step
    rows = [row for row in body if row[0] <= newest]
    return rows + rows[-1:] if doubled else rows
