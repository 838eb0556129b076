"""Sharpe ratios that know their own error and the number of tries.

1. `probabilistic_sharpe`: probability that the true Sharpe ratio exceeds a benchmark, given length, skewness
   and kurtosis of the returns (Bailey & López de Prado 2012, "The Sharpe Ratio Efficient Frontier", eq. 11).
2. `deflated_sharpe`: the same against the expected best of N worthless trials (Bailey & López de Prado 2014,
   "The Deflated Sharpe Ratio", eq. 1 and 2).

All Sharpe ratios are per period of the returns, never annualised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import ConfigError
from bascule.evaluate.significance import expected_maximum


@dataclass(frozen=True)
class SharpeStatistics:
    """Moments of a series of returns.

    Attributes:
        sharpe: mean / standard deviation, per period; NaN for a constant series.
        n: number of returns (effective number, where neighbours overlap).
        skew: skewness.
        kurtosis: kurtosis, 3 for a normal distribution.
    """

    sharpe: float
    n: float
    skew: float = 0.0
    kurtosis: float = 3.0

    @classmethod
    def of(cls, returns: NDArray[np.floating[Any]], overlap: int = 1) -> SharpeStatistics:
        """Moments of ``returns``; NaN values are left out.

        Args:
            returns: per period ``[T]``.
            overlap: how many neighbours share what they earn; divides the number of observations.
        """
        values = np.asarray(returns, np.float64)
        values = values[np.isfinite(values)]
        n = len(values)
        deviation = float(values.std(ddof=1)) if n > 1 else 0.0
        if n < 2 or overlap < 1 or deviation <= 1e-14 * max(1e-300, float(np.abs(values).max())):
            return cls(math.nan, n / max(1, overlap))
        scaled = (values - values.mean()) / values.std()
        return cls(
            float(values.mean()) / deviation,
            n / overlap,
            float((scaled**3).mean()),
            float((scaled**4).mean()),
        )


def probabilistic_sharpe(found: SharpeStatistics, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds ``benchmark`` (per period); NaN where undefined."""
    from scipy.special import ndtr

    sharpe = found.sharpe
    spread = 1.0 - found.skew * sharpe + (found.kurtosis - 1.0) / 4.0 * sharpe**2
    if not found.n > 1 or not spread > 0.0:
        return math.nan
    return float(ndtr((sharpe - benchmark) * math.sqrt(found.n - 1.0) / math.sqrt(spread)))


def expected_best_sharpe(trials: int, variance: float) -> float:
    """Sharpe ratio that the best of ``trials`` worthless ones is expected to have.

    Args:
        trials: independent trials.
        variance: variance of their Sharpe ratios.
    """
    if not variance >= 0.0:
        raise ConfigError(
            f"a variance of {variance}", where="expected_best_sharpe", remedy="use that of all trials"
        )
    return math.sqrt(variance) * expected_maximum(trials)


def deflated_sharpe(found: SharpeStatistics, trials: int, variance: float) -> float:
    """Probability that the Sharpe ratio is real, after ``trials`` tries whose Sharpes have ``variance``."""
    return probabilistic_sharpe(found, expected_best_sharpe(trials, variance))
