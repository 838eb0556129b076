"""Specific variance of each instrument after every row.

1. Exponentially weighted second moment of the specific returns, with Newey-West lags, as for factors.
2. Shrinkage to the mean of instruments of like liquidity (Menchero, Orr & Wang 2011, "The Barra US Equity
   Model (USE4)", sec. 5.3): σ* = v·σ̄ + (1 − v)·σ̂ with v = q·|σ̂ − σ̄| / (Δ + q·|σ̂ − σ̄|), Δ the spread
   of the group's σ̂. An instrument with too few returns of its own gets σ̄.
3. Volatility regime adjustment over all instruments, by weight.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from bascule.core import Settings, Timeframe
from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate import percentiles
from bascule.evaluate.rows import Float64Array
from bascule.risk.covariance import decay, regime, smooth


class SpecificSettings(Settings):
    """Memory and shrinkage of specific risk."""

    volatility_days: float = Field(default=14.0, gt=0, description="half-life of specific variances")
    lags: int = Field(default=1, ge=0, le=20, description="Newey-West lags, in candles")
    shrinkage: float = Field(
        default=0.1, ge=0, description="q: how strongly extreme ones are drawn to their group"
    )
    groups: int = Field(default=5, ge=1, le=50, description="groups of like weight")
    min_days: float = Field(default=10.0, gt=0, description="own returns needed; fewer: the group's mean")
    regime_days: float | None = Field(
        default=7.0, gt=0, description="half-life of the regime adjustment, none = no"
    )
    regime_limit: float = Field(
        default=4.0, gt=1, description="bound of one row's cross-sectional variance ratio"
    )


def specific_variances(
    residuals: FloatArray,
    weights: Float64Array,
    members: BoolArray,
    timeframe: Timeframe,
    settings: SpecificSettings | None = None,
) -> Float64Array:
    """Forecast specific variance of the next bars, per bar, after every row ``[T, N]``; NaN outside members.

    Args:
        residuals: specific returns ``[T, N]``, NaN where there was none.
        weights: of the regression: they order instruments into groups and weigh the regime ``[T, N]``.
        members: instruments that need a value ``[T, N]``.
        timeframe: length of a bar.
        settings: memory and shrinkage.
    """
    settings = settings or SpecificSettings()
    values = residuals.astype(np.float64)
    known = np.isfinite(values)
    ratio = decay(timeframe, settings.volatility_days)
    filled = np.where(known, values, 0.0)
    plain = smooth(filled**2, known, ratio)
    variance = plain.copy()
    for lag in range(1, min(settings.lags, len(values) - 1) + 1):
        product = np.zeros(values.shape)
        product[lag:] = filled[lag:] * filled[:-lag]
        both = np.zeros(values.shape, bool)
        both[lag:] = known[lag:] & known[:-lag]
        share = 2.0 * (1.0 - lag / (settings.lags + 1.0))
        variance += share * np.nan_to_num(smooth(product, both, ratio))
    deviation = np.sqrt(np.maximum(variance, 0.1 * plain))
    enough = known.cumsum(axis=0) >= timeframe.bars(settings.min_days)
    shrunk = _shrink(np.where(enough, deviation, np.nan), weights, members, settings)
    if settings.regime_days is not None:
        level = regime(values, shrunk, decay(timeframe, settings.regime_days), settings.regime_limit, weights)
        shrunk *= np.sqrt(level)[:, None]
    result: Float64Array = shrunk**2
    return result


def _shrink(
    deviation: Float64Array, weights: Float64Array, members: BoolArray, settings: SpecificSettings
) -> Float64Array:
    known = members & np.isfinite(deviation)
    place = percentiles(weights.astype(np.float32), members)
    tier = (np.nan_to_num(place) * settings.groups).astype(np.int64)
    group = np.where(members, np.minimum(tier, settings.groups - 1), -1)
    filled = np.where(known, deviation, 0.0)
    all_mean = _mean(filled, known)
    result = np.full(deviation.shape, np.nan)
    for g in range(settings.groups):
        here = group == g
        used = here & known
        count = used.sum(axis=1)
        mean = np.where(count > 0, _mean(filled, used), all_mean)
        spread = np.sqrt(_mean(np.where(used, (filled - mean[:, None]) ** 2, 0.0), used))
        pull = settings.shrinkage * np.abs(filled - mean[:, None])
        total = np.nan_to_num(spread)[:, None] + pull
        v = np.where(total > 0.0, pull / np.where(total > 0.0, total, 1.0), 0.0)
        shrunk = v * mean[:, None] + (1.0 - v) * filled
        result = np.where(used, shrunk, np.where(here, mean[:, None], result))
    return result


def _mean(values: Float64Array, used: BoolArray) -> Float64Array:
    count = used.sum(axis=1)
    total = np.where(used, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
