"""Public trades: the points of the price's way (`path`), which is all that a panel tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from bascule.bridge.exchange.market import Listing, ReplayMarket
from bascule.bridge.exchange.path import TICKS
from bascule.bridge.exchange.query import Query, integer, limit_of, listing_of
from bascule.bridge.exchange.wire import Json, plain

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Print:
    """A trade of the market.

    Attributes:
        id: grows with time; the same after a restart.
        seller: the buyer was the maker (the price did not rise).
    """

    id: int
    ms: int
    price: Decimal
    quantity: Decimal
    seller: bool


def prints(market: ReplayMarket, listing: Listing, after: int, until: int) -> list[Print]:
    """Trades with time in ``(after, until]``, oldest first; points without volume are none."""
    found = []
    last = market.last_decimal(listing, after)
    row, place = -1, 0
    for tick in market.ticks(listing, after, until):
        at = (tick.ms - market.open_ms(0)) // market.step_ms
        if at != row:
            # numbering must not depend on where the question began
            whole = market.ticks(listing, market.open_ms(at) - 1, market.open_ms(at) + market.step_ms - 1)
            row, place = at, next(k for k, one in enumerate(whole) if one.ms > after)
        if tick.volume > 0:
            seller = last is not None and tick.price <= last
            found.append(Print(row * TICKS + place, tick.ms, tick.price, tick.volume, seller))
        last, place = tick.price, place + 1
    return found


def _chosen(market: ReplayMarket, query: Query, *, timed: bool) -> list[Print]:
    listing, now, limit = listing_of(market, query), market.now_ms(), limit_of(query, 500, 1_000)
    start = integer(query, "startTime") if timed else None
    end = integer(query, "endTime") if timed else None
    first = integer(query, "fromId")
    until = now if end is None else min(end, now)
    if first is not None:
        begin = market.open_ms(first // TICKS)
        # a fixed stretch of candles holds ``limit`` trades unless many are empty
        found = prints(market, listing, begin - 1, min(until, begin + (limit // TICKS + 2) * market.step_ms))
        return [one for one in found if one.id >= first][:limit]
    if start is not None:
        return prints(market, listing, start - 1, min(until, start + HOUR_MS if end is None else until))[
            :limit
        ]
    stretch = (limit // (TICKS - 1) + 2) * market.step_ms
    return prints(market, listing, until - stretch, until)[-limit:]


def agg_trades(market: ReplayMarket, query: Query) -> Json:
    """``/aggTrades``."""
    return [
        {
            "a": one.id,
            "p": plain(one.price),
            "q": plain(one.quantity),
            "f": one.id,
            "l": one.id,
            "T": one.ms,
            "m": one.seller,
            "M": True,
        }
        for one in _chosen(market, query, timed=True)
    ]


def trades(market: ReplayMarket, query: Query) -> Json:
    """``/trades`` and ``/historicalTrades``."""
    return [
        {
            "id": one.id,
            "price": plain(one.price),
            "qty": plain(one.quantity),
            "quoteQty": plain(one.price * one.quantity),
            "time": one.ms,
            "isBuyerMaker": one.seller,
            "isBestMatch": True,
        }
        for one in _chosen(market, query, timed=False)
    ]
