"""Covariance of factor returns after every row: exponential weights, serial correlation, volatility regime.

1. Exponentially weighted second moments of returns, about zero, and of returns and their own lags, only over
   rows in which both are known; fast weights for variances, slow ones for correlations.
2. Serial correlation: Bartlett-weighted lags are added (Newey & West 1987), so that per-bar variances
   scale to longer horizons.
3. Σ = D·R·D with D from the fast and R from the slow moments (Menchero, Orr & Wang 2011, "The Barra US Equity
   Model (USE4)", sec. 4).
4. Volatility regime adjustment (ibid., sec. 4.3): λ² is the exponentially weighted mean of the
   cross-sectional bias B² = mean over factors of (return / forecast of the row before)². Σ is multiplied
   by λ².
5. Eigenvalues below 0 (lags can make them) are raised to a sliver of the largest.

Row t uses returns of rows ≤ t. Recursions run over all rows at once.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from bascule.core import Settings, Timeframe
from bascule.core.panel import BoolArray
from bascule.evaluate.rows import Float64Array

_SLIVER = 1e-10  # smallest eigenvalue, relative to the largest


class CovarianceSettings(Settings):
    """Memory of the forecasts, in days."""

    volatility_days: float = Field(default=14.0, gt=0, description="half-life of variances")
    correlation_days: float = Field(default=60.0, gt=0, description="half-life of correlations")
    lags: int = Field(default=3, ge=0, le=100, description="Newey-West lags, in candles")
    regime_days: float | None = Field(
        default=7.0, gt=0, description="half-life of the volatility regime adjustment; none = no adjustment"
    )
    regime_limit: float = Field(
        default=4.0,
        gt=1,
        description="cross-sectional variance ratios above this (and below its inverse) count as it",
    )
    min_days: float = Field(default=5.0, gt=0, description="returns needed for a forecast")


def decay(timeframe: Timeframe, days: float) -> float:
    """Weight ratio of neighbouring rows for a half-life in days."""
    return float(0.5 ** (timeframe.seconds / (86_400.0 * days)))


def smooth(values: Float64Array, known: BoolArray, ratio: float) -> Float64Array:
    """Exponentially weighted mean of the known values so far, along the first axis; NaN before the first."""
    from scipy.signal import lfilter

    # weights of unknown rows are 0; both recursions start from nothing
    total = lfilter([1.0], [1.0, -ratio], np.where(known, values, 0.0), axis=0)
    mass = lfilter([1.0], [1.0, -ratio], known.astype(np.float64), axis=0)
    result: Float64Array = np.where(mass > 1e-12, total / np.where(mass > 1e-12, mass, 1.0), np.nan)
    return result


def lagged_moment(left: Float64Array, right: Float64Array, lag: int, ratio: float) -> Float64Array:
    """Smoothed left[t] · right[t − lag] ``[T]``; 0 until there is one."""
    product = np.full(left.shape, np.nan)
    product[lag:] = left[lag:] * right[: len(right) - lag]
    return np.nan_to_num(smooth(product, np.isfinite(product), ratio))


def long_run(left: Float64Array, right: Float64Array, lags: int, ratio: float) -> Float64Array:
    """Exponentially weighted covariance with Bartlett-weighted lags, per bar ``[T]``."""
    total = lagged_moment(left, right, 0, ratio)
    for lag in range(1, lags + 1):
        weight = 1.0 - lag / (lags + 1.0)
        both = lagged_moment(left, right, lag, ratio)
        both = 2.0 * both if left is right else both + lagged_moment(right, left, lag, ratio)
        total = total + weight * both
    return total


def factor_covariances(
    returns: Float64Array, timeframe: Timeframe, settings: CovarianceSettings | None = None
) -> Float64Array:
    """Forecast covariance of the next bars' factor returns, per bar, after every row.

    Args:
        returns: ``[T, K]``; NaN where a factor has none.
        timeframe: length of a bar.
        settings: memory.

    Returns:
        ``[T, K, K]``, positive definite; NaN in rows and columns of a factor with too few returns so far.
    """
    settings = settings or CovarianceSettings()
    rows, k = returns.shape
    fast, slow = decay(timeframe, settings.volatility_days), decay(timeframe, settings.correlation_days)
    plain = [lagged_moment(returns[:, i], returns[:, i], 0, fast) for i in range(k)]
    variances = np.empty((rows, k))
    for i in range(k):
        column = returns[:, i]
        # strong reversal can turn the corrected variance negative: a tenth of the plain one is the least
        variances[:, i] = np.maximum(long_run(column, column, settings.lags, fast), 0.1 * plain[i])
    slow_own = np.empty((rows, k))
    matrix = np.empty((rows, k, k))
    for i in range(k):
        for j in range(i, k):
            value = long_run(returns[:, i], returns[:, j], settings.lags, slow)
            matrix[:, i, j] = matrix[:, j, i] = value
        own = lagged_moment(returns[:, i], returns[:, i], 0, slow)
        slow_own[:, i] = np.maximum(matrix[:, i, i], 0.1 * own)
        matrix[:, i, i] = slow_own[:, i]
    scale = np.sqrt(np.where(slow_own > 0.0, variances / np.where(slow_own > 0.0, slow_own, 1.0), 0.0))
    matrix *= scale[:, :, None] * scale[:, None, :]
    if settings.regime_days is not None:
        ratio = decay(timeframe, settings.regime_days)
        matrix *= regime(returns, np.sqrt(variances), ratio, settings.regime_limit)[:, None, None]
    known = np.isfinite(returns).cumsum(axis=0) >= timeframe.bars(settings.min_days)
    return _proper(matrix, known)


def last_covariance(
    returns: Float64Array, timeframe: Timeframe, settings: CovarianceSettings | None = None
) -> Float64Array:
    """The last row of `factor_covariances` alone ``[K, K]``: sums in place of recursions over all pairs."""
    settings = settings or CovarianceSettings()
    fast, slow = decay(timeframe, settings.volatility_days), decay(timeframe, settings.correlation_days)
    paths = np.stack(
        [
            np.maximum(long_run(x, x, settings.lags, fast), 0.1 * lagged_moment(x, x, 0, fast))
            for x in returns.T
        ],
        axis=1,
    )
    known = np.isfinite(returns)
    filled, seen = np.where(known, returns, 0.0), known.astype(np.float64)
    weights: Float64Array = slow ** np.arange(len(returns) - 1.0, -1.0, -1.0)[:, None]
    plain = _last_moment(filled, seen, weights, 0)
    matrix = plain.copy()
    for lag in range(1, settings.lags + 1):
        both = _last_moment(filled, seen, weights, lag)
        matrix += (1.0 - lag / (settings.lags + 1.0)) * (both + both.T)
    own = np.maximum(np.diagonal(matrix), 0.1 * np.diagonal(plain))
    np.fill_diagonal(matrix, own)
    scale = np.sqrt(np.where(own > 0.0, paths[-1] / np.where(own > 0.0, own, 1.0), 0.0))
    matrix *= scale[:, None] * scale[None, :]
    if settings.regime_days is not None:
        ratio = decay(timeframe, settings.regime_days)
        matrix *= regime(returns, np.sqrt(paths), ratio, settings.regime_limit)[-1]
    enough = known.sum(axis=0) >= timeframe.bars(settings.min_days)
    result: Float64Array = _proper(matrix[None], enough[None])[0]
    return result


def _last_moment(filled: Float64Array, seen: Float64Array, weights: Float64Array, lag: int) -> Float64Array:
    """The last row of `lagged_moment` for all pairs: left[t] · right[t − lag] ``[K, K]``."""
    late, early = slice(lag, None), slice(None, len(filled) - lag)
    mass = (seen[late] * weights[late]).T @ seen[early]
    total = (filled[late] * weights[late]).T @ filled[early]
    result: Float64Array = np.where(mass > 1e-12, total / np.where(mass > 1e-12, mass, 1.0), 0.0)
    return result


def regime(
    returns: Float64Array,
    forecast: Float64Array,
    ratio: float,
    limit: float,
    weights: Float64Array | None = None,
) -> Float64Array:
    """λ² after every row: smoothed mean of (return / forecast volatility of the row before)² ``[T]``.

    A row's mean is pulled in to [1/limit, limit], so that one crash does not rule the next month.
    """
    before = np.full(forecast.shape, np.nan)
    before[1:] = forecast[:-1]
    good = np.isfinite(returns) & (before > 0.0)
    ratios = np.where(good, (returns / np.where(good, before, 1.0)) ** 2, 0.0)
    share = good * (1.0 if weights is None else weights)
    mass = share.sum(axis=1)
    some = mass > 0.0
    mean = (ratios * share).sum(axis=1) / np.where(some, mass, 1.0)
    squared = smooth(np.clip(mean, 1.0 / limit, limit), some, ratio)
    return np.where(np.isfinite(squared), squared, 1.0)


def _proper(matrix: Float64Array, known: BoolArray) -> Float64Array:
    """Symmetric, with eigenvalues above a sliver of the largest, over the known factors; NaN elsewhere."""
    both = known[:, :, None] & known[:, None, :]
    filled = np.where(both, matrix, 0.0)
    deviation = np.sqrt(np.maximum(np.diagonal(filled, axis1=1, axis2=2), 1e-300))
    outer = deviation[:, :, None] * deviation[:, None, :]
    correlation = np.where(both, filled / outer, np.eye(matrix.shape[1]))
    bad = np.flatnonzero(~_positive(correlation))
    if len(bad):
        values, vectors = np.linalg.eigh(correlation[bad])
        values = np.maximum(values, _SLIVER * values[:, -1:])
        correlation[bad] = (vectors * values[:, None, :]) @ vectors.transpose(0, 2, 1)
    return np.where(both, correlation * outer, np.nan)


def _positive(matrices: Float64Array) -> BoolArray:
    """Which of them have a Cholesky decomposition with pivots above the sliver ``[T]``."""
    k = matrices.shape[1]
    columns = np.ascontiguousarray(matrices.transpose(1, 2, 0))
    lower = np.zeros_like(columns)
    good = np.ones(columns.shape[2], bool)
    for j in range(k):
        pivot = columns[j, j] - np.einsum("lt,lt->t", lower[j, :j], lower[j, :j])
        good &= pivot > _SLIVER * k
        root = np.sqrt(np.where(pivot > 0.0, pivot, 1.0))
        lower[j, j] = root
        below = columns[j + 1 :, j] - np.einsum("ilt,lt->it", lower[j + 1 :, :j], lower[j, :j])
        lower[j + 1 :, j] = below / root
    return good
