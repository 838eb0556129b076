"""Statistics that need the mean first: skewness, kurtosis, mean absolute deviation; a pass over the lags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bascule.core.panel import BoolArray
from bascule.kernels.moments import Moments, flat, moments
from bascule.kernels.window import AnyFloat, Array, history


def _deviations(x: AnyFloat, window: int, rows: int, mean: Array) -> Iterator[Array]:
    """Value minus mean for each lag, newest first; 0 where there is no value."""
    values, valid = history(x, window, rows)
    for lag in range(window):
        start = window - 1 - lag
        yield (values[start : start + rows] - mean) * valid[start : start + rows]


def _mean(m: Moments) -> Array:
    return np.where(m.size > 0, m.mean, np.nan)


def mads(x: AnyFloat, windows: Sequence[int], rows: int) -> dict[int, Array]:
    """Mean absolute deviation from the mean ``[rows, N]``."""
    found: dict[int, Array] = {}
    for window, m in moments(x, windows, rows).items():
        total = np.zeros(m.mean.shape)
        for deviation in _deviations(x, window, rows, m.mean):
            total += np.abs(deviation)
        with np.errstate(invalid="ignore"):
            found[window] = total / m.size
    return found


def _constant(m: Moments, floor: float | None) -> BoolArray:
    """Not constant to the bit, yet too flat for a shape."""
    if floor is None:
        return flat(m.squares, m.mean, m.size, None)
    return m.squares <= floor * m.size


def skews(x: AnyFloat, windows: Sequence[int], rows: int, floor: float | None = None) -> dict[int, Array]:
    """Bias-corrected skewness: NaN with fewer than 3 values, 0 for a constant window.

    Args:
        x: values ``[L, N]``.
        windows: bars.
        rows: how many rows are to get a value.
        floor: NaN where the population variance is at most this (pandas: 1e-14); None: relative to the level.
    """
    return {n: skew(m, _powers(x, n, rows, m)[0], floor) for n, m in moments(x, windows, rows).items()}


def kurts(x: AnyFloat, windows: Sequence[int], rows: int, floor: float | None = None) -> dict[int, Array]:
    """Bias-corrected excess kurtosis: NaN with fewer than 4 values, -3 for a constant window."""
    return {n: kurt(m, _powers(x, n, rows, m)[1], floor) for n, m in moments(x, windows, rows).items()}


def _powers(x: AnyFloat, window: int, rows: int, m: Moments) -> tuple[Array, Array]:
    """Sums of third and fourth powers of the deviations."""
    third, fourth = np.zeros(m.mean.shape), np.zeros(m.mean.shape)
    for deviation in _deviations(x, window, rows, m.mean):
        square = deviation * deviation
        third += square * deviation
        fourth += square * square
    return third, fourth


def skew(m: Moments, third: Array, floor: float | None) -> Array:
    """Skewness from moments and the sum of third powers (Joanes and Gill 1998, G1)."""
    n = m.size
    with np.errstate(invalid="ignore", divide="ignore"):
        biased = (third / n) / (m.squares / n) ** 1.5
        value = np.sqrt(n * (n - 1)) / (n - 2) * biased
    value = np.where(_constant(m, floor), np.nan, value)
    return np.where(n < 3, np.nan, np.where(m.squares == 0, 0.0, value))


def kurt(m: Moments, fourth: Array, floor: float | None) -> Array:
    """Excess kurtosis from moments and the sum of fourth powers (Joanes and Gill 1998, G2)."""
    n = m.size
    with np.errstate(invalid="ignore", divide="ignore"):
        biased = (fourth / n) / (m.squares / n) ** 2
        value = ((n * n - 1) * biased - 3 * (n - 1) ** 2) / ((n - 2) * (n - 3))
    value = np.where(_constant(m, floor), np.nan, value)
    return np.where(n < 4, np.nan, np.where(m.squares == 0, -3.0, value))
