"""Confidence intervals of means of dependent series: the stationary bootstrap.

Blocks of random length (geometric, so that the resampled series is stationary) are drawn with replacement
(Politis & Romano 1994; arch). Their mean length is chosen from the data (Politis & White 2004, corrected by
Patton, Politis & White 2009) and never below the horizon by which labels overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

import numpy as np

from bascule.core import ConfigError
from bascule.evaluate.rows import Float64Array

_AT_ONCE = 50  # samples that are averaged in one product


@dataclass(frozen=True)
class Interval:
    """A mean and what it may be.

    Attributes:
        mean: of the series.
        low: lower end (percentile of the bootstrap means).
        high: upper end.
        level: confidence.
        block: mean length of the blocks, in rows.
        n: rows that entered.
    """

    mean: float
    low: float
    high: float
    level: float
    block: float
    n: int

    def excludes(self, value: float = 0.0) -> bool:
        """True if ``value`` lies outside."""
        return not self.low <= value <= self.high


def block_length(series: Float64Array, horizon: int = 1) -> float:
    """Mean block length for a series whose labels overlap by ``horizon`` bars."""
    from arch.bootstrap import optimal_block_length

    n = len(series)
    if n < 8 or np.ptp(series) == 0.0:
        return float(max(1, horizon))
    found = float(optimal_block_length(series)["stationary"].iloc[0])
    if not math.isfinite(found):
        found = 1.0
    return float(min(max(found, horizon, 1.0), n / 3.0))


def resampled_means(series: Float64Array, *, block: float, reps: int, seed: int) -> Float64Array:
    """Means of ``reps`` stationary-bootstrap samples of rows ``[T, K]`` (or ``[T]``): ``[reps, K]``.

    All columns of a row stay together; NaN values are left out.
    """
    from arch.bootstrap import StationaryBootstrap

    table = series.reshape(len(series), -1)
    known = np.isfinite(table)
    sums = np.concatenate([np.where(known, table, 0.0), known.astype(np.float64)], axis=1)
    # the bootstrap picks row numbers; how often each row is drawn is all that a mean needs
    rows = np.arange(len(table))
    draws = StationaryBootstrap(block, rows, seed=np.random.default_rng(seed)).bootstrap(reps)
    result = np.empty((reps, sums.shape[1]))
    for start in range(0, reps, _AT_ONCE):
        times = np.stack(
            [np.bincount(sample[0], minlength=len(rows)) for sample, _ in islice(draws, _AT_ONCE)]
        )
        result[start : start + len(times)] = times.astype(np.float64) @ sums
    total, count = np.split(result, 2, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Float64Array = total / count
    return means


def mean_interval(
    series: Float64Array,
    horizon: int = 1,
    *,
    level: float = 0.95,
    reps: int = 1_000,
    seed: int = 0,
) -> Interval:
    """Interval of the mean of a series, such as an IC series.

    Args:
        series: values by row ``[T]``; NaN rows are left out.
        horizon: bars by which neighbouring labels overlap.
        level: confidence, in (0, 1).
        reps: bootstrap samples, at least 100.
        seed: of the samples.

    Raises:
        ConfigError: level or reps is out of range.
    """
    if not 0.0 < level < 1.0 or reps < 100:
        raise ConfigError(
            f"level {level}, reps {reps}",
            where="mean_interval",
            remedy="use a level between 0 and 1 and at least 100 samples",
        )
    values = np.asarray(series, np.float64)
    values = values[np.isfinite(values)]
    n = len(values)
    if n < 2:
        return Interval(math.nan, math.nan, math.nan, level, math.nan, n)
    length = block_length(values, horizon)
    means = resampled_means(values, block=length, reps=reps, seed=seed)[:, 0]
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, (tail, 1.0 - tail))
    return Interval(float(values.mean()), float(low), float(high), level, length, n)
