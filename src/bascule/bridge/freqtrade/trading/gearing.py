"""Leverage of a position from its risk.

Stakes are target weights of the wallet divided by leverage, so leverage does not change what is held, but
how much margin stands behind it, and so where the exchange liquidates.

1. *Volatility target*: leverage · volatility of the instrument ≤ ``volatility``: the margin behind a position
   fluctuates by that much a year.
2. *Liquidation beyond the stop*: an isolated position is liquidated about 1/L − m away from its entry (m =
   maintenance margin rate), and freqtrade leaves ``liquidation_buffer`` of that away. ``beyond`` stop
   distances must fit in: L ≤ 1 / (beyond · stop / (1 − buffer) + m).
3. The exchange's brackets and ``most`` limit it; it is never below 1.

What is not known (volatility, stop) gives leverage 1.
"""

from __future__ import annotations

from pydantic import Field

from bascule.core import Settings


class GearSettings(Settings):
    """Leverage from risk; without it the configured leverage holds."""

    most: float = Field(default=3.0, ge=1, le=125, description="largest leverage")
    volatility: float | None = Field(
        default=None, gt=0, le=20, description="leverage · annual volatility of the instrument at most this"
    )
    beyond: float = Field(
        default=1.5, ge=1, le=10, description="the liquidation price is this many stop distances away"
    )
    maintenance: float = Field(
        default=0.01, ge=0, lt=0.5, description="maintenance margin rate; larger where brackets say so"
    )


def leverage(
    stop: float,
    volatility: float,
    brackets: float,
    settings: GearSettings,
    *,
    liquidation_buffer: float = 0.05,
    target: float | None = None,
) -> float:
    """Leverage of an entry, ≥ 1.

    Args:
        stop: stop distance, fraction of the price.
        volatility: of the instrument, annualised; read only with a volatility target.
        brackets: the exchange's maximum for this size.
        settings: limits.
        liquidation_buffer: freqtrade's, in [0, 1).
        target: overrides ``settings.volatility``.
    """
    if not 0.0 < stop < 1.0:
        return 1.0
    # brackets start the maintenance margin at about half of the initial one
    maintenance = max(settings.maintenance, 0.5 / max(brackets, 1.0))
    found = min(
        settings.most, brackets, 1.0 / (settings.beyond * stop / (1.0 - liquidation_buffer) + maintenance)
    )
    goal = settings.volatility if target is None else target
    if settings.volatility is not None and goal is not None:
        found = min(found, goal / volatility) if volatility > 0.0 else 1.0
    return max(1.0, found)
