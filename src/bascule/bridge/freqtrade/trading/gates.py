"""Whether the market can take an order now: asked right before an entry.

1. *Volume*: the quote volume of the last candles is at least ``min_volume`` a day, and the order is at most
   ``participation`` of a candle's mean. Known in backtests too.
2. *Spread*: (ask − bid) / mid of the order book is at most ``spread``. Dry and live runs only: there is no
   book in candles.
3. *Depth*: within ``window`` of the mid price the far side of the book holds at least ``depth`` times the
   order's value. Dry and live runs only.

An empty, crossed or half book lets nothing through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from bascule.core import Settings


class GateSettings(Settings):
    """Order book and volume needed for an entry; none = not asked."""

    spread: float | None = Field(
        default=0.002, gt=0, le=0.1, description="largest spread, fraction of the mid price"
    )
    depth: float | None = Field(
        default=2.0, gt=0, description="the far side holds at least this many times the order's value"
    )
    window: float = Field(default=0.005, gt=0, le=0.1, description="depth is counted this near the mid price")
    levels: int = Field(default=100, ge=5, le=1000, description="order book levels that are asked for")
    min_volume: float | None = Field(
        default=None, gt=0, description="quote volume a day, in the stake currency"
    )
    participation: float | None = Field(
        default=None, gt=0, le=1, description="order value over a candle's mean quote volume, at most"
    )
    volume_days: float = Field(default=1.0, gt=0, le=30, description="days behind the volumes")

    @property
    def asks_book(self) -> bool:
        """Whether the order book is needed."""
        return self.spread is not None or self.depth is not None

    @property
    def asks_volume(self) -> bool:
        """Whether volumes are needed."""
        return self.min_volume is not None or self.participation is not None


def refuse_book(book: Mapping[str, Any], side: int, value: float, settings: GateSettings) -> str | None:
    """Why the order book does not allow an order; None = it does.

    Args:
        book: ``bids`` and ``asks``, each of [price, amount], best first.
        side: 1 buys, -1 sells.
        value: of the order, in the quote currency.
        settings: limits.
    """
    bids, asks = _levels(book.get("bids")), _levels(book.get("asks"))
    if not bids or not asks or bids[0][0] >= asks[0][0]:
        return "the order book is empty or crossed"
    middle = 0.5 * (bids[0][0] + asks[0][0])
    spread = (asks[0][0] - bids[0][0]) / middle
    if settings.spread is not None and spread > settings.spread:
        return f"spread {spread:.4%} is above {settings.spread:.4%}"
    if settings.depth is not None:
        far = asks if side > 0 else bids
        near = sum(price * amount for price, amount in far if abs(price / middle - 1.0) <= settings.window)
        if near < settings.depth * value:
            return f"depth {near:.6g} is below {settings.depth:g} times the order of {value:.6g}"
    return None


def refuse_volume(quote_volume: float, bars_a_day: float, value: float, settings: GateSettings) -> str | None:
    """Why the traded volume does not allow an order; None = it does.

    Args:
        quote_volume: mean of the last candles; NaN = unknown.
        bars_a_day: candles in a day.
        value: of the order.
        settings: limits.
    """
    if not settings.asks_volume:
        return None
    if not quote_volume > 0.0:
        return "the traded volume is not known"
    daily = quote_volume * bars_a_day
    if settings.min_volume is not None and daily < settings.min_volume:
        return f"volume {daily:.6g} a day is below {settings.min_volume:g}"
    if settings.participation is not None and value > settings.participation * quote_volume:
        return (
            f"the order of {value:.6g} is above {settings.participation:.2%} of a candle's {quote_volume:.6g}"
        )
    return None


def _levels(side: Any) -> list[tuple[float, float]]:
    """Price and amount of each usable level."""
    if not isinstance(side, Sequence):
        return []
    pairs = [
        (float(level[0]), float(level[1])) for level in side if len(level) >= 2 and level[0] and level[1]
    ]
    return [(price, amount) for price, amount in pairs if price > 0.0 and amount > 0.0]
