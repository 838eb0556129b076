"""Backtests of value at risk: are there as many exceedances as promised, and do they come alone?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bascule.core import DataError


@dataclass(frozen=True)
class Coverage:
    """Exceedances of a VaR against its level.

    Attributes:
        count: forecasts.
        hits: losses beyond the VaR.
        expected: hits that the level promises.
        kupiec_p: proportion of failures (Kupiec 1995): small = the number is wrong.
        independence_p: Christoffersen (1998): small = hits come in clusters. NaN with fewer than two hits.
        conditional_p: both together.
        band: fewest and most hits that Kupiec's test accepts at 5 %.
    """

    count: int
    hits: int
    expected: float
    kupiec_p: float
    independence_p: float
    conditional_p: float
    band: tuple[int, int]

    @property
    def good(self) -> bool:
        """Whether the number of hits lies in the band."""
        return self.band[0] <= self.hits <= self.band[1]


def coverage(hits: NDArray[np.bool_], level: float) -> Coverage:
    """Test a series of hits.

    Args:
        hits: in order of time ``[n]``.
        level: confidence of the VaR, e.g. 0.99.

    Raises:
        DataError: there is no forecast.
    """
    from scipy.stats import chi2

    n, x, p = len(hits), int(hits.sum()), 1.0 - level
    if n == 0:
        raise DataError("no forecasts to test", where="risk.coverage", remedy="use a longer history")
    kupiec = _failures(x, n, p)
    pairs = np.bincount(2 * hits[:-1].astype(int) + hits[1:].astype(int), minlength=4)
    n00, n01, n10, n11 = (int(v) for v in pairs)
    one, stay, together = (n01 / max(n00 + n01, 1), n11 / max(n10 + n11, 1), (n01 + n11) / max(n - 1, 1))
    apart = _log(n01, n00, one) + _log(n11, n10, stay)
    independence = max(0.0, 2.0 * (apart - _log(n01 + n11, n00 + n10, together)))
    enough = x >= 2
    return Coverage(
        n,
        x,
        n * p,
        float(chi2.sf(kupiec, 1)),
        float(chi2.sf(independence, 1)) if enough else math.nan,
        float(chi2.sf(kupiec + independence, 2)) if enough else math.nan,
        kupiec_band(n, level),
    )


def kupiec_band(n: int, level: float, significance: float = 0.05) -> tuple[int, int]:
    """Fewest and most exceedances among ``n`` that Kupiec's test does not reject."""
    from scipy.stats import chi2

    limit = float(chi2.isf(significance, 1))
    good = [x for x in range(n + 1) if _failures(x, n, 1.0 - level) <= limit]
    return (good[0], good[-1]) if good else (0, 0)


def _failures(x: int, n: int, p: float) -> float:
    """Likelihood ratio of x failures in n against the rate p."""
    return max(0.0, 2.0 * (_log(x, n - x, x / n) - _log(x, n - x, p)))


def _log(ones: int, zeros: int, p: float) -> float:
    """Log likelihood of a Bernoulli sequence; 0·log 0 = 0."""
    total = ones * math.log(p) if ones else 0.0
    return total + (zeros * math.log1p(-p) if zeros else 0.0)
