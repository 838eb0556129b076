"""Reading a query: numbers, symbols, intervals, with Binance's complaints."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from bascule.bridge.exchange import wire
from bascule.bridge.exchange.market import Listing, ReplayMarket
from bascule.bridge.exchange.wire import Refusal
from bascule.core import ConfigError, Timeframe

Query = Mapping[str, str]


def integer(query: Query, name: str) -> int | None:
    """A whole number, None where it is absent."""
    text = query.get(name)
    if text is None or text == "":
        return None
    if not re.fullmatch(r"[0-9]{1,20}", text):
        raise wire.illegal(name)
    return int(text)


def limit_of(query: Query, default: int, most: int) -> int:
    """``limit``, cut at ``most``."""
    limit = integer(query, "limit")
    if limit is None:
        return default
    if limit < 1:
        raise wire.illegal("limit", "1 or more")
    return min(limit, most)


def listing_of(market: ReplayMarket, query: Query) -> Listing:
    """The listing of ``symbol``."""
    symbol = query.get("symbol")
    if not symbol:
        raise wire.mandatory("symbol")
    return by_symbol(market, symbol)


def symbol_of(market: ReplayMarket, query: Query) -> str | None:
    """``symbol`` where it may be left out; None = all."""
    return listing_of(market, query).instrument.symbol if query.get("symbol") else None


def by_symbol(market: ReplayMarket, symbol: str) -> Listing:
    """The listing of a symbol."""
    if not re.fullmatch(r"[A-Z0-9-_.]{1,20}", symbol):
        raise wire.illegal("symbol", "^[A-Z0-9-_.]{1,20}$")
    if symbol not in market.listings:
        raise Refusal(-1121, "Invalid symbol.")
    return market.listings[symbol]


def listings_of(market: ReplayMarket, query: Query) -> tuple[list[Listing], bool]:
    """The symbols asked for, and whether it was a single one (then the answer is no list)."""
    if query.get("symbol"):
        return [listing_of(market, query)], True
    if not query.get("symbols"):
        return list(market.listings.values()), False
    try:
        names = json.loads(query["symbols"])
    except json.JSONDecodeError:
        raise wire.illegal("symbols", '["BTCUSDT","ETHUSDT"]') from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise wire.illegal("symbols", '["BTCUSDT","ETHUSDT"]')
    return [by_symbol(market, name) for name in names], False


def interval_of(market: ReplayMarket, text: str | None) -> Timeframe:
    """An interval that the market's candles can make up."""
    if not text:
        raise wire.mandatory("interval")
    try:
        interval = Timeframe.parse(text)
    except ConfigError:
        raise Refusal(-1120, "Invalid interval.") from None
    if interval.seconds * 1_000 % market.step_ms:
        raise Refusal(-1120, "Invalid interval.")
    return interval
