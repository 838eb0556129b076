"""The order book, made up from candles: a panel knows prices and volumes, not who stood in line.

Level *k* (1 is the best) lies ``k · spread / 2`` away from the last price, and holds a share of the volume of
the last closed candle, but never less than a floor in quote units. What one's own orders took from a level is
gone until the price moves on (`Depth`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Literal

from bascule.bridge.exchange.market import Listing, ReplayMarket

Side = Literal["BUY", "SELL"]
MOST_LEVELS = 100
Level = tuple[Decimal, Decimal]


def levels(
    market: ReplayMarket, listing: Listing, now: int, side: Side, count: int, price: Decimal | None = None
) -> list[Level]:
    """Prices and quantities that an order of ``side`` would meet, the best first.

    A buyer meets asks, a seller bids. Empty before the first candle. ``price`` is the last price where the
    caller knows it better than the clock does (inside a millisecond).
    """
    price = market.last_decimal(listing, now) if price is None else price
    if price is None:
        return []
    tick = Decimal(1).scaleb(-listing.price_decimals)
    quantity = market.level_quantity(listing, now)
    step = Decimal(str(market.spread)) / 2 * (1 if side == "BUY" else -1)
    rounding = ROUND_CEILING if side == "BUY" else ROUND_FLOOR
    found = []
    for k in range(1, min(count, MOST_LEVELS) + 1):
        level = (price * (1 + step * k)).quantize(tick, rounding)
        if level > 0:
            found.append((level, quantity))
    return found


@dataclass
class Depth:
    """What is left of a book after one's own orders.

    Attributes:
        taken: (symbol, side) → (last price at that time, quantity taken since).
    """

    taken: dict[tuple[str, Side], tuple[Decimal, Decimal]] = field(default_factory=dict)

    def left(
        self, market: ReplayMarket, listing: Listing, now: int, side: Side, last: Decimal
    ) -> list[Level]:
        """The levels an order of ``side`` meets around a last price, less what was taken at that price."""
        at, gone = self.taken.get((listing.instrument.symbol, side), (None, Decimal(0)))
        found = levels(market, listing, now, side, MOST_LEVELS, last)
        if at != last:
            return found
        result = []
        for price, quantity in found:
            used = min(gone, quantity)
            gone -= used
            if quantity > used:
                result.append((price, quantity - used))
        return result

    def take(self, symbol: str, last: Decimal, side: Side, quantity: Decimal) -> None:
        """Remember that ``quantity`` was taken while ``last`` was the last price."""
        at, gone = self.taken.get((symbol, side), (None, Decimal(0)))
        self.taken[symbol, side] = (last, (gone if at == last else Decimal(0)) + quantity)
