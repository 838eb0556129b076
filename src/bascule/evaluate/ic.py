"""Information coefficients and their significance.

1. `ic_series`: correlation of a factor with what came after, row by row (`rows.py` does the arithmetic).
2. `summarise`: mean, standard deviation, IR and hit rate of that series, and a t-statistic of its mean.
3. The t-statistic is robust to autocorrelation (Newey & West 1987, Bartlett weights): labels of a horizon of
   h bars overlap, so that neighbouring ICs share returns and a naive t would be far too large. Lags are at
   least 2·(h − 1) and at least the rule ⌊4·(n / 100)^(2/9)⌋ (Newey & West 1994).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bascule.core import ConfigError
from bascule.core.panel import BoolArray
from bascule.evaluate.rows import MIN_BREADTH, Cells, CrossSection, Float64Array


@dataclass(frozen=True)
class ICSummary:
    """What a series of ICs says.

    Attributes:
        mean: average IC.
        std: standard deviation of the IC across rows (ddof 1).
        ir: mean / std, per row (not annualised).
        t: Newey-West t-statistic of the mean.
        hit_rate: share of rows with an IC above 0.
        n: rows with an IC.
        lags: Newey-West lags used.
    """

    mean: float
    std: float
    ir: float
    t: float
    hit_rate: float
    n: int
    lags: int


@dataclass(frozen=True)
class Part:
    """A factor (or a pool of them) in some rows.

    Attributes:
        ic: Pearson IC.
        rank_ic: Spearman IC.
        coverage: share of member cells with a value.
    """

    ic: ICSummary
    rank_ic: ICSummary
    coverage: float


def ic_series(
    factor: Cells,
    label: Cells,
    mask: BoolArray | None = None,
    *,
    rank: bool = False,
    min_breadth: int = MIN_BREADTH,
) -> Float64Array:
    """IC of each row: Pearson, or Spearman with ties averaged where ``rank``, float64 ``[T]``.

    Args:
        factor: values ``[T, N]``.
        label: what came after ``[T, N]``, e.g. `forward_return`.
        mask: universe ``[T, N]``; cells count where it is True and both values are finite.
        rank: rank both sides first.
        min_breadth: a row with fewer cells that count gives NaN (at least 2).
    """
    if min_breadth < 2:
        raise ConfigError(f"min_breadth is {min_breadth}", where="ic_series", remedy="use at least 2")
    left = CrossSection.of(factor, mask, rank=rank)
    right = CrossSection.of(label, mask, rank=rank)
    return left.correlate(right, min_breadth)


def newey_west_lags(n: int, horizon: int) -> int:
    """Lags for ``n`` observations of overlapping labels: see step 3 of the module."""
    automatic = math.floor(4.0 * math.pow(n / 100.0, 2.0 / 9.0))
    return max(0, min(max(2 * (horizon - 1), automatic), n - 1))


def newey_west_t(series: Float64Array, lags: int) -> float:
    """t-statistic of the mean of ``series`` (finite values) with a Bartlett kernel of ``lags`` lags.

    Equals a regression on a constant with HAC covariance, without small-sample correction (statsmodels).
    NaN for fewer than 2 values or a series that does not vary.
    """
    n = len(series)
    if n < 2:
        return math.nan
    mean = float(series.mean())
    total = long_run_sum(series - mean, lags)
    # a constant series leaves rounding noise of the order of its own square
    if total <= 1e-24 * max(1.0, mean * mean) * n:
        return math.nan
    return mean / math.sqrt(total) * n


def long_run_sum(deviations: Float64Array, lags: int) -> float:
    """n times the long-run variance of a series of deviations from its mean (Bartlett kernel)."""
    n = len(deviations)
    # autocovariances (times n) by the power spectrum, padded so that the ends do not meet: n log n for all,
    # where one dot product a lag takes most of the time of a table of factors
    size = 1 << (n + lags).bit_length()
    spectrum = np.fft.rfft(deviations, size)
    covariance = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[: min(lags, n - 1) + 1]
    weight = 1.0 - np.arange(len(covariance)) / (lags + 1.0)
    return float(2.0 * (weight * covariance).sum() - covariance[0])


def summarise(series: Float64Array, horizon: int) -> ICSummary:
    """Reduce a series of ICs; rows that are NaN are left out.

    Args:
        series: ICs ``[T]``.
        horizon: bars of the label behind them, for the lags of the t-statistic.
    """
    values = np.asarray(series, np.float64)
    values = values[np.isfinite(values)]
    n = len(values)
    lags = newey_west_lags(n, horizon) if n else 0
    if n == 0:
        return ICSummary(math.nan, math.nan, math.nan, math.nan, math.nan, 0, 0)
    mean = float(values.mean())
    std = float(values.std(ddof=1)) if n > 1 else math.nan
    ir = mean / std if std > 0.0 else math.nan
    hit = float((values > 0.0).mean())
    return ICSummary(mean, std, ir, newey_west_t(values, lags), hit, n, lags)
