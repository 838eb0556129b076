"""Websocket streams of market data: what to say when the price has moved.

A `Feed` belongs to one stream name and is shared by its subscribers: ``news`` since the last round,
``current`` for one who has just come.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from bascule.bridge.exchange import routes
from bascule.bridge.exchange.book import Side, levels
from bascule.bridge.exchange.market import Listing, ReplayMarket
from bascule.bridge.exchange.query import interval_of
from bascule.bridge.exchange.trades import prints
from bascule.bridge.exchange.wire import Refusal, plain
from bascule.core import Timeframe

Message = dict[str, Any]


class Feed(ABC):
    """One stream.

    Args:
        market: the market.
        listing: whose stream it is.
        now: Unix milliseconds from which on there is news.
    """

    def __init__(self, market: ReplayMarket, listing: Listing, now: int) -> None:
        self.market = market
        self.listing = listing
        self.symbol = listing.instrument.symbol
        self.last = now

    def news(self, now: int) -> list[Message]:
        """Messages for what happened since the last call."""
        if now <= self.last or not self.moved(now):
            return []
        found = self.since(self.last, now)
        self.last = now
        return found

    def moved(self, now: int) -> bool:
        """Whether there is anything to say."""
        tick = self.market.last_tick(self.listing, now)
        return tick is not None and tick.ms > self.last

    def current(self, now: int) -> list[Message]:
        """Messages for somebody who knows nothing yet."""
        return []

    @abstractmethod
    def since(self, after: int, now: int) -> list[Message]:
        """Messages for ``(after, now]``, in which the price moved."""


class KlineFeed(Feed):
    """``<symbol>@kline_<interval>``: candles that closed, then the forming one."""

    interval: Timeframe
    name: str

    def moved(self, now: int) -> bool:
        """A candle also closes where no other opens."""
        step = self.interval.seconds * 1_000
        return super().moved(now) or now // step != self.last // step

    def _kline(self, row: list[Any], closed: bool, now: int) -> Message:
        return {
            "e": "kline",
            "E": now,
            "s": self.symbol,
            "k": {
                "t": row[0],
                "T": row[6],
                "s": self.symbol,
                "i": self.name,
                "f": -1,
                "L": -1,
                "o": row[1],
                "c": row[4],
                "h": row[2],
                "l": row[3],
                "v": row[5],
                "n": row[8],
                "x": closed,
                "q": row[7],
                "V": row[9],
                "Q": row[10],
                "B": "0",
            },
        }

    def since(self, after: int, now: int) -> list[Message]:
        """One message per candle that closed, and one for the forming candle."""
        step = self.interval.seconds * 1_000
        query = {"symbol": self.symbol, "interval": self.name, "startTime": str(after // step * step)}
        rows: Any = routes.klines(self.market, query | {"limit": "1000"})
        # a candle is told of as closed once, by the round that first sees it closed
        return [self._kline(row, row[6] < now, now) for row in rows]

    def current(self, now: int) -> list[Message]:
        """The forming candle."""
        rows: Any = routes.klines(self.market, {"symbol": self.symbol, "interval": self.name, "limit": "1"})
        return [self._kline(row, row[6] < now, now) for row in rows]


class TradeFeed(Feed):
    """``<symbol>@trade`` and ``@aggTrade``."""

    aggregate: bool

    def since(self, after: int, now: int) -> list[Message]:
        """Every trade, the last thousand at most."""
        found = prints(self.market, self.listing, after, now)[-1_000:]
        kind = {"e": "aggTrade"} if self.aggregate else {"e": "trade"}
        return [
            {
                **kind,
                "E": now,
                "s": self.symbol,
                **({"a": one.id, "f": one.id, "l": one.id} if self.aggregate else {"t": one.id}),
                "p": plain(one.price),
                "q": plain(one.quantity),
                "T": one.ms,
                "m": one.seller,
                "M": True,
            }
            for one in found
        ]


class BookTickerFeed(Feed):
    """``<symbol>@bookTicker``: best bid and ask."""

    def since(self, after: int, now: int) -> list[Message]:
        """The present ones."""
        best: Any = routes.book_ticker(self.market, {"symbol": self.symbol})
        message = {"u": now, "s": self.symbol, "b": best["bidPrice"], "B": best["bidQty"]}
        message |= {"a": best["askPrice"], "A": best["askQty"]}
        stamp = {"e": "bookTicker", "T": now, "E": now} if self.market.kind == "futures" else {}
        return [stamp | message]

    def current(self, now: int) -> list[Message]:
        """The same."""
        return self.since(now, now)


class DepthFeed(Feed):
    """``<symbol>@depth<levels>`` (whole small books) and ``<symbol>@depth`` (changes)."""

    count: int | None
    _told: dict[str, dict[str, str]] | None = None

    def _book(self, now: int, count: int) -> dict[str, list[list[str]]]:
        sides: tuple[tuple[str, Side], ...] = (("b", "SELL"), ("a", "BUY"))
        return {
            name: [[plain(p), plain(q)] for p, q in levels(self.market, self.listing, now, side, count)]
            for name, side in sides
        }

    def since(self, after: int, now: int) -> list[Message]:
        """The book, or what changed in it."""
        futures = self.market.kind == "futures"
        if self.count is not None:
            whole = self._book(now, self.count)
            if not futures:
                return [{"lastUpdateId": now, "bids": whole["b"], "asks": whole["a"]}]
            stamp = {
                "e": "depthUpdate",
                "E": now,
                "T": now,
                "s": self.symbol,
                "U": now,
                "u": now,
                "pu": after,
            }
            return [stamp | whole]
        book = {name: dict(_pairs(side)) for name, side in self._book(now, 100).items()}
        before = self._told or {"b": {}, "a": {}}
        changes = {
            name: [[p, "0"] for p in before[name] if p not in side]
            + [[p, q] for p, q in side.items() if before[name].get(p) != q]
            for name, side in book.items()
        }
        self._told = book
        stamp = {"e": "depthUpdate", "E": now, "s": self.symbol, "U": after + 1, "u": now}
        return [stamp | ({"T": now, "pu": after} if futures else {}) | changes]

    def current(self, now: int) -> list[Message]:
        """Whole books can be told at once; changes need a snapshot first."""
        return self.since(now, now) if self.count is not None else []


class MarkPriceFeed(Feed):
    """``<symbol>@markPrice``."""

    def since(self, after: int, now: int) -> list[Message]:
        """Mark price and funding."""
        index: Any = routes.premium_index(self.market, {"symbol": self.symbol})
        return [
            {
                "e": "markPriceUpdate",
                "E": now,
                "s": self.symbol,
                "p": index["markPrice"],
                "i": index["indexPrice"],
                "P": index["estimatedSettlePrice"],
                "r": index["lastFundingRate"],
                "T": index["nextFundingTime"],
            }
        ]

    def current(self, now: int) -> list[Message]:
        """The same."""
        return self.since(now, now)


class TickerFeed(Feed):
    """``<symbol>@ticker`` and ``@miniTicker``: the rolling day."""

    mini: bool

    def since(self, after: int, now: int) -> list[Message]:
        """The day until now."""
        day: Any = routes.ticker_24hr(self.market, {"symbol": self.symbol})
        message = {"s": self.symbol, "c": day["lastPrice"], "o": day["openPrice"], "h": day["highPrice"]}
        message |= {"l": day["lowPrice"], "v": day["volume"], "q": day["quoteVolume"]}
        if self.mini:
            return [{"e": "24hrMiniTicker", "E": now} | message]
        best: Any = routes.book_ticker(self.market, {"symbol": self.symbol})
        message |= {"p": day["priceChange"], "P": day["priceChangePercent"], "w": day["weightedAvgPrice"]}
        message |= {"b": best["bidPrice"], "B": best["bidQty"], "a": best["askPrice"], "A": best["askQty"]}
        message |= {"x": day["openPrice"], "Q": "0", "O": day["openTime"], "C": day["closeTime"]}
        return [{"e": "24hrTicker", "E": now} | message | {"F": -1, "L": -1, "n": 0}]

    def current(self, now: int) -> list[Message]:
        """The same."""
        return self.since(now, now)


def _kline(feed: KlineFeed, found: re.Match[str]) -> None:
    feed.name = found[1]
    feed.interval = interval_of(feed.market, found[1])


def _trade(feed: TradeFeed, found: re.Match[str]) -> None:
    feed.aggregate = found[0] == "aggTrade"


def _depth(feed: DepthFeed, found: re.Match[str]) -> None:
    feed.count = int(found[1]) if found[1] else None


def _ticker(feed: TickerFeed, found: re.Match[str]) -> None:
    feed.mini = found[0] == "miniTicker"


def _plain(feed: Feed, found: re.Match[str]) -> None:
    return None


_KINDS: tuple[tuple[str, type[Any], Callable[[Any, re.Match[str]], None]], ...] = (
    (r"kline_([0-9]+[mhd])", KlineFeed, _kline),
    (r"trade|aggTrade", TradeFeed, _trade),
    (r"bookTicker", BookTickerFeed, _plain),
    (r"depth(5|10|20)?(?:@(?:100|250|500|1000)ms)?", DepthFeed, _depth),
    (r"markPrice(?:@1s)?", MarkPriceFeed, _plain),
    (r"ticker|miniTicker", TickerFeed, _ticker),
)


def feed_of(market: ReplayMarket, stream: str, now: int) -> Feed:
    """The feed of a stream name such as ``btcusdt@kline_1h``.

    Raises:
        Refusal: there is no such stream.
    """
    symbol, _, channel = stream.partition("@")
    listing = market.listings.get(symbol.upper())
    for pattern, kind, finish in _KINDS:
        found = re.fullmatch(pattern, channel)
        if listing is None or found is None or (kind is MarkPriceFeed and market.kind == "spot"):
            continue
        feed: Feed = kind(market, listing, now)
        finish(feed, found)
        return feed
    raise Refusal(2, f"Invalid request: there is no stream {stream!r}")


def _pairs(side: list[list[str]]) -> list[tuple[str, str]]:
    return [(price, quantity) for price, quantity in side]
