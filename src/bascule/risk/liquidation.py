"""How much of the open interest would be liquidated by a move, estimated from its own history.

Exchanges do not publish positions. What can be said:

1. Open interest that came in during candle s was opened near the typical price of s. Of it a part,
   ``shares``, carries each leverage of ``leverages`` (positions are long and short in equal value: every
   contract has both).
2. A long of leverage L is liquidated near entry · (1 − 1/L + m), a short near entry · (1 + 1/L − m), with
   m the maintenance margin rate of the venue's tiers.
3. What came in leaves in proportion when open interest falls; what was liquidated since is gone: entries
   whose price the lows (highs) have reached.
4. ``size``: value that is left within ``near`` of the close, over a day's value traded, as log(1 + 100·x).
   ``distance``: mean relative distance of all that is left to its liquidation price, both sides, by value.

Entries are looked back on in steps of a day, at most ``days``; what happens within an entry's own day is not
looked at. Row t uses candles ≤ t. It is an estimate with assumed leverages, good for comparing coins, not a
forecast of a price.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from bascule.core import Panel, Settings
from bascule.core.panel import FloatArray
from bascule.evaluate.rows import Float64Array
from bascule.risk.windows import value_traded


class Tier(Settings):
    """A venue's leverage tier: up to this leverage, this maintenance margin rate."""

    leverage: float = Field(gt=1, le=200, description="leverage of the positions")
    share: float = Field(gt=0, le=1, description="share of new positions that carry it")
    maintenance: float = Field(ge=0, lt=0.5, description="maintenance margin rate")


class LiquidationSettings(Settings):
    """Assumptions on who holds the open interest."""

    tiers: tuple[Tier, ...] = Field(
        default=(
            Tier(leverage=3, share=0.3, maintenance=0.02),
            Tier(leverage=5, share=0.25, maintenance=0.015),
            Tier(leverage=10, share=0.25, maintenance=0.01),
            Tier(leverage=20, share=0.15, maintenance=0.005),
            Tier(leverage=50, share=0.05, maintenance=0.004),
        ),
        min_length=1,
        description="leverages, their shares of new positions, maintenance margin rates",
    )
    days: int = Field(default=30, ge=1, le=365, description="entries older than this are forgotten")
    near: float = Field(default=0.1, gt=0, lt=1, description="relative move that counts as near")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(sum(tier.share for tier in self.tiers) - 1.0) > 1e-9:
            raise ValueError("the shares of the tiers must add to 1")
        return self


def with_liquidations(panel: Panel, settings: LiquidationSettings | None = None) -> Panel:
    """The panel with ``liquidation_size`` and ``liquidation_distance``; needs ``open_interest`` (coins).

    Raises:
        DataError: a field is missing.
    """
    settings = settings or LiquidationSettings()
    near, left, apart = _book(panel, settings)
    day = panel.timeframe.bars(1)
    traded = value_traded(panel, day)
    known = panel.traded & np.isfinite(_filled(panel["open_interest"])) & (traded > 0.0) & (left > 0.0)
    size = np.log1p(100.0 * near / np.where(traded > 0.0, traded, 1.0))
    distance = apart / np.where(left > 0.0, left, 1.0)
    return panel.with_fields(
        liquidation_size=_masked(size, known), liquidation_distance=_masked(distance, known)
    )


def _masked(values: Float64Array, known: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> FloatArray:
    return np.where(known, values, np.nan).astype(np.float32)


def _filled(values: FloatArray) -> Float64Array:
    """The last value known, through gaps of any length ``[T, N]``; NaN before the first."""
    rows = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(np.isfinite(values), rows, -1), axis=0)
    held = np.take_along_axis(values, np.maximum(last, 0), axis=0).astype(np.float64)
    return np.where(last >= 0, held, np.nan)


def _book(panel: Panel, settings: LiquidationSettings) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Value near its liquidation price, value left, and Σ value · distance, in quote currency ``[T, N]``."""
    step = panel.timeframe.bars(1)
    interest = _filled(panel["open_interest"])
    close = _filled(panel["close"])
    low, high = (
        np.nan_to_num(panel[name].astype(np.float64), nan=fill)
        for name, fill in (("low", np.inf), ("high", 0.0))
    )
    lowest, highest = _extremes(low, high, step)
    near, left, apart = (np.zeros(panel.shape) for _ in range(3))
    remaining = np.ones(panel.shape)
    since_low, since_high = np.full(panel.shape, np.inf), np.zeros(panel.shape)
    for lag in range(0, settings.days * step, step):
        if lag + step >= len(close):
            break
        then, before = _shift(interest, lag), _shift(interest, lag + step)
        entry = _shift(close, lag + step // 2)
        came = np.where(np.isfinite(then) & np.isfinite(before), np.maximum(then - before, 0.0), 0.0)
        value = np.nan_to_num(came * remaining * entry)
        for tier in settings.tiers:
            room = 1.0 / tier.leverage - tier.maintenance
            for side, reached in ((-1.0, since_low), (1.0, since_high)):
                price = entry * (1.0 + side * room)
                alive = side * price > side * reached
                away = np.abs(price / close - 1.0)
                kept = np.where(alive & np.isfinite(away), value * tier.share, 0.0)
                # a short in a coin that lost nearly all is as good as safe: further than 100 % is no matter
                away = np.where(np.isfinite(away), np.minimum(away, 1.0), 0.0)
                left += kept
                apart += kept * away
                near += np.where(away <= settings.near, kept, 0.0)
        # on to older entries: what left since then, and the range that they lived through
        stay = np.where(before > 0.0, np.minimum(then / np.where(before > 0.0, before, 1.0), 1.0), 1.0)
        remaining *= np.where(np.isfinite(stay), stay, 1.0)
        since_low = np.minimum(since_low, _shift(lowest, lag, np.inf))
        since_high = np.maximum(since_high, _shift(highest, lag, 0.0))
    return near, left, apart


def _extremes(low: Float64Array, high: Float64Array, step: int) -> tuple[Float64Array, Float64Array]:
    """Lowest low and highest high of the last ``step`` rows."""
    lowest, highest = low.copy(), high.copy()
    for lag in range(1, min(step, len(low))):
        np.minimum(lowest[lag:], low[:-lag], out=lowest[lag:])
        np.maximum(highest[lag:], high[:-lag], out=highest[lag:])
    return lowest, highest


def _shift(values: Float64Array, lag: int, fill: float = np.nan) -> Float64Array:
    if lag == 0:
        return values
    moved = np.full(values.shape, fill)
    moved[lag:] = values[:-lag]
    return moved
