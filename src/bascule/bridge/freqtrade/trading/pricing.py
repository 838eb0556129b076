"""Limit orders that follow the market, and in the end cross it.

1. The first price is passive: ``offset`` behind the rate that freqtrade proposes (best bid for a buy, best
   ask for a sell; in a backtest the candle's open).
2. Each try that did not fill comes nearer: the offset shrinks evenly over ``tries``.
3. After ``tries`` it gives up waiting: the price goes ``cross`` beyond the far side, which is a market order
   with a worst price. In a backtest that is the candle's open, where an order surely fills.
4. A try lasts one candle (freqtrade asks `adjust_order_price` on new candles), or ``seconds`` in dry and live
   runs, where an unfilled order is cancelled and placed again.

Emergency exits and stops cross at once.
"""

from __future__ import annotations

from pydantic import Field

from bascule.core import Settings


class PricingSettings(Settings):
    """Limit orders; without it, orders are market orders."""

    offset: float = Field(
        default=0.0005, ge=0, le=0.05, description="first distance behind the proposed rate, fraction"
    )
    tries: int = Field(default=3, ge=0, le=100, description="passive tries before crossing")
    cross: float = Field(
        default=0.002, ge=0, le=0.05, description="worst price when crossing, beyond the far side"
    )
    seconds: float | None = Field(
        default=None, gt=0, description="length of a try in dry and live runs; none = a candle"
    )


def limit_price(
    buy: bool, proposed: float, tried: int, settings: PricingSettings, *, far: float | None = None
) -> float:
    """The price of the next order.

    Args:
        buy: True buys, False sells.
        proposed: rate that freqtrade proposes.
        tried: orders of this intent that did not fill.
        settings: offsets.
        far: best price of the far side, where a book is at hand; None = backtest, cross at ``proposed``.
    """
    direction = 1.0 if buy else -1.0
    if tried >= settings.tries:
        return proposed if far is None else far * (1.0 + direction * settings.cross)
    offset = settings.offset * (1.0 - tried / settings.tries)
    return proposed * (1.0 - direction * offset)
