"""Statistics of all bars since the first one (windows of 0), carried from row to row.

Rows go one after the other, so a value depends on the whole history: whoever asks must have all of it.
Every function takes ``x [T, N]`` and gives float64 ``[T, N]``; NaN and infinite values are skipped.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable

import numpy as np

from bascule.core.panel import BoolArray
from bascule.kernels.moments import Line, Moments
from bascule.kernels.window import Ages, AnyFloat, Array, lengths


def _clean(x: AnyFloat) -> tuple[Array, BoolArray]:
    valid = np.isfinite(x)
    return np.where(valid, x, 0.0).astype(np.float64), valid


def sums(x: AnyFloat) -> tuple[Array, Array]:
    """Sum (0 without values) and number of finite values."""
    values, valid = _clean(x)
    return np.cumsum(values, axis=0), np.cumsum(valid, axis=0, dtype=np.float64)


def maximum(x: AnyFloat) -> Array:
    """Largest value so far."""
    values, valid = _clean(x)
    best = np.maximum.accumulate(np.where(valid, values, -np.inf), axis=0)
    return np.where(np.isneginf(best), np.nan, best)


def argmaximum(x: AnyFloat, ages: Ages) -> Array:
    """Position of the first largest value, or of the first missing one, 1 = first bar."""
    _, valid = _clean(x)
    keys = np.where(ages < 0, -np.inf, np.where(valid, x, np.inf))
    best = np.maximum.accumulate(keys, axis=0)
    fresh = np.ones(x.shape, np.bool_)
    fresh[1:] = best[1:] > best[:-1]
    place = np.maximum.accumulate(np.where(fresh, ages, -1), axis=0) + 1.0
    return np.where(np.logical_or.accumulate(valid, axis=0), place, np.nan)


def line(x: AnyFloat, ages: Ages) -> Line:
    """Moments and line of all bars so far; the bar number is 0 at the current bar."""
    values, valid = _clean(x)
    shape = x.shape
    found = Line(*(np.empty(shape) for _ in range(6)))
    count, mean, squares, bar, bars, product = (np.zeros(shape[1]) for _ in range(6))
    for row in range(shape[0]):
        new = valid[row].astype(np.float64)
        count = count + new
        share = new / np.maximum(count, 1.0)
        step = values[row] - mean
        bar_step = ages[row] - bar
        rest = (count - new) * share
        mean = mean + step * share
        bar = bar + bar_step * share
        squares = squares + step * step * rest
        bars = bars + bar_step * bar_step * rest
        product = product + step * bar_step * rest
        for out, now in zip(found, (count, mean, squares, bar - ages[row], bars, product), strict=True):
            out[row] = now
    return found


def powers(x: AnyFloat) -> tuple[Moments, Array, Array]:
    """Moments and the sums of third and fourth powers of deviations (Pébay 2008, eq. 3.1 for one bar)."""
    values, valid = _clean(x)
    shape = x.shape
    out = tuple(np.empty(shape) for _ in range(5))
    count, mean, second, third, fourth = (np.zeros(shape[1]) for _ in range(5))
    for row in range(shape[0]):
        new = valid[row].astype(np.float64)
        before = count
        count = count + new
        share = new / np.maximum(count, 1.0)
        step = (values[row] - mean) * new
        part = step * share
        term = step * part * before
        mean = mean + part
        fourth = fourth + term * part * part * (count * count - 3 * count + 3)
        fourth = fourth + 6 * part * part * second - 4 * part * third
        third = third + term * part * (count - 2) - 3 * part * second
        second = second + term
        for target, now in zip(out, (count, mean, second, third, fourth), strict=True):
            target[row] = now
    return Moments(out[0], out[1], out[2]), out[3], out[4]


def _by_column(x: AnyFloat, value: Callable[[list[float], float], float]) -> Array:
    """``value(sorted finite values so far, current value or NaN)`` for every cell."""
    values, valid = _clean(x)
    found = np.full(x.shape, np.nan)
    for column in range(x.shape[1]):
        seen: list[float] = []
        for row in range(x.shape[0]):
            current = float(values[row, column]) if valid[row, column] else np.nan
            if valid[row, column]:
                insort(seen, current)
            if seen:
                found[row, column] = value(seen, current)
    return found


def quantile(x: AnyFloat, q: float) -> Array:
    """Linearly interpolated quantile so far."""

    def value(seen: list[float], _: float) -> float:
        place = q * (len(seen) - 1)
        low = int(place)
        high = min(low + 1, len(seen) - 1)
        return seen[low] + (seen[high] - seen[low]) * (place - low)

    return _by_column(x, value)


def rank(x: AnyFloat) -> Array:
    """Rank of the current value among all so far as a fraction, ties averaged; NaN if it is not finite."""

    def value(seen: list[float], current: float) -> float:
        if np.isnan(current):
            return np.nan
        less, upto = bisect_left(seen, current), bisect_right(seen, current)
        return (less + (upto - less + 1) / 2) / len(seen)

    return _by_column(x, value)


def mad(x: AnyFloat) -> Array:
    """Mean absolute deviation from the mean of all so far."""
    values, valid = _clean(x)
    found = np.full(x.shape, np.nan)
    for row in range(x.shape[0]):
        seen, there = values[: row + 1], valid[: row + 1]
        count = np.maximum(there.sum(axis=0), 1)
        mean = seen.sum(axis=0) / count
        total = (np.abs(seen - mean) * there).sum(axis=0)
        found[row] = np.where(there.any(axis=0), total / count, np.nan)
    return found


def wma(x: AnyFloat, ages: Ages) -> Array:
    """qlib's WMA over all bars so far: the mean of w*x, w = 1 … length over their sum."""
    values, valid = _clean(x)
    number = np.where(ages >= 0, ages + 1.0, 0.0)
    top = np.cumsum(number * values, axis=0)
    weight = number * (number + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(top / weight / np.cumsum(valid, axis=0))


def ewm(x: AnyFloat, ages: Ages) -> Array:
    """qlib's EMA(x, 0): weights (1 - 2/(1 + length))**lag over all bars, a missing value counting as 0.

    The weights change with every row, so this takes time proportional to the square of the rows.
    """
    values, valid = _clean(x)
    found = np.full(x.shape, np.nan)
    length = lengths(ages, len(x) + int(max(0, ages.max(initial=0))))
    for row in range(x.shape[0]):
        n = length[row].astype(np.float64)
        ratio = 1.0 - 2.0 / (1.0 + n)
        lag = np.arange(row, -1, -1.0)[:, None]
        weight = np.where(lag < n, ratio**lag, 0.0)
        top, bottom = (weight * values[: row + 1]).sum(axis=0), weight.sum(axis=0)
        seen = valid[: row + 1].any(axis=0)
        found[row] = np.where(seen, top / np.where(bottom > 0, bottom, 1.0), np.nan)
    return found
