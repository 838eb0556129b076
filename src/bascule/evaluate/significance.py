"""Many factors, one data set: what is left when the number of tries is counted.

1. `p_values`: two-sided, from t-statistics (normal; the IC series are long).
2. `benjamini_hochberg`: the share of false discoveries among what is kept stays below a rate (Benjamini &
   Hochberg 1995; statsmodels), also under the positive dependence that factors of one market have.
3. `expected_maximum`: how large the best of N worthless factors is expected to be (Bailey & López de Prado
   2014, "The Deflated Sharpe Ratio", eq. 1); `deflated_threshold`: what it exceeds with a small probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import ConfigError
from bascule.core.panel import BoolArray
from bascule.evaluate.rows import Float64Array

EULER = 0.5772156649015329


@dataclass(frozen=True, eq=False)
class Discoveries:
    """What a control of multiple tests keeps.

    Attributes:
        kept: True where the null is rejected, in the order given.
        adjusted: p-values adjusted for the number of tests; NaN where there was none.
        rate: the rate of false discoveries that was asked for.
    """

    kept: BoolArray
    adjusted: Float64Array
    rate: float


def p_values(t: Sequence[float] | NDArray[Any]) -> Float64Array:
    """Two-sided p-values of t-statistics of long series; NaN stays NaN."""
    from scipy.special import ndtr

    result: Float64Array = 2.0 * ndtr(-np.abs(np.asarray(t, np.float64)))
    return result


def benjamini_hochberg(
    p: Sequence[float] | NDArray[Any], rate: float = 0.05, *, dependent: bool = False
) -> Discoveries:
    """Which of many tests to believe.

    Args:
        p: p-values; NaN ones are not tests.
        rate: largest expected share of false ones among those kept, in (0, 1).
        dependent: hold under any dependence (Benjamini & Yekutieli 2001), at a price in power.

    Raises:
        ConfigError: the rate is not in (0, 1), or a p-value is not in [0, 1].
    """
    from statsmodels.stats.multitest import multipletests

    if not 0.0 < rate < 1.0:
        raise ConfigError(
            f"a rate of {rate}", where="benjamini_hochberg", remedy="use a share between 0 and 1"
        )
    values = np.asarray(p, np.float64)
    tested = np.isfinite(values)
    if ((values[tested] < 0.0) | (values[tested] > 1.0)).any():
        raise ConfigError("p-values outside of [0, 1]", where="benjamini_hochberg", remedy="see p_values")
    kept, adjusted = np.zeros(len(values), np.bool_), np.full(len(values), np.nan)
    if tested.any():
        method = "fdr_by" if dependent else "fdr_bh"
        kept[tested], adjusted[tested] = multipletests(values[tested], rate, method)[:2]
    return Discoveries(kept, adjusted, rate)


def expected_maximum(trials: int) -> float:
    """Expected largest of ``trials`` independent standard normal values; 0 for one."""
    from scipy.special import ndtri

    _at_least_one(trials, "expected_maximum")
    if trials == 1:
        return 0.0
    first, second = ndtri(1.0 - 1.0 / trials), ndtri(1.0 - 1.0 / (trials * math.e))
    return float((1.0 - EULER) * first + EULER * second)


def deflated_threshold(trials: int, level: float = 0.05) -> float:
    """The |t| that the best of ``trials`` worthless factors exceeds with probability ``level`` (Šidák).

    Exact for independent trials, cautious for dependent ones.
    """
    from scipy.special import ndtri

    _at_least_one(trials, "deflated_threshold")
    if not 0.0 < level < 1.0:
        raise ConfigError(
            f"a level of {level}", where="deflated_threshold", remedy="use a share between 0 and 1"
        )
    each = -math.expm1(math.log1p(-level) / trials)
    return float(-ndtri(each / 2.0))


def _at_least_one(trials: int, where: str) -> None:
    if trials < 1:
        raise ConfigError(f"{trials} trials", where=where, remedy="count at least the one you look at")
