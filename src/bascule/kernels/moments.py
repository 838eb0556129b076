"""Mean, squared deviations and the straight line of the last n bars, from joined states.

The state of a set of bars is (count, mean, sum of squared deviations from it); two sets join by the pairwise
formula of Chan, Golub and LeVeque (1983, eq. 2.1). It holds no raw sum of squares, so a level of 60,000 with
a deviation of 0.01 loses nothing, and equal values give a deviation of exactly 0. The line adds the mean, the
squared deviations and the co-deviation of the bar number, which is 0 at the newest bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bascule.core.panel import BoolArray
from bascule.kernels.window import AnyFloat, Array, State, doubled, history

# below this share of the level, a deviation is what float64 rounding makes of a constant
ROUNDING = 1e-12


class Moments(NamedTuple):
    """Of one window, ``[rows, N]`` each: count, mean (0 without values), sum of squared deviations."""

    size: Array
    mean: Array
    squares: Array


class Line(NamedTuple):
    """`Moments` of the values and, against the bar number (0 = newest): mean, squares, co-deviation."""

    size: Array
    mean: Array
    squares: Array
    bar_mean: Array
    bar_squares: Array
    product: Array


def _merge(newer: State, older: State, _: int) -> State:
    n_a, mean_a, squares_a = newer
    n_b, mean_b, squares_b = older
    count = n_a + n_b
    share = n_b / np.maximum(count, 1.0)
    step = mean_b - mean_a
    return count, mean_a + step * share, squares_a + squares_b + step * step * (n_a * share)


def _merge_line(newer: State, older: State, length: int) -> State:
    n_a, mean_a, squares_a, bar_a, bars_a, product_a = newer
    n_b, mean_b, squares_b, bar_b, bars_b, product_b = older
    count = n_a + n_b
    share = n_b / np.maximum(count, 1.0)
    both = n_a * share
    step = mean_b - mean_a
    bar_step = bar_b - length - bar_a
    return (
        count,
        mean_a + step * share,
        squares_a + squares_b + step * step * both,
        bar_a + bar_step * share,
        bars_a + bars_b + bar_step * bar_step * both,
        product_a + product_b + step * bar_step * both,
    )


def moments(x: AnyFloat, windows: Sequence[int], rows: int) -> dict[int, Moments]:
    """Count, mean and squared deviations of each window."""
    values, valid = history(x, max(windows), rows)
    bars = (valid.astype(np.float64), values, np.zeros_like(values))
    return {n: Moments(*state) for n, state in doubled(bars, windows, rows, _merge).items()}


def lines(x: AnyFloat, windows: Sequence[int], rows: int) -> dict[int, Line]:
    """The same and what the line needs."""
    values, valid = history(x, max(windows), rows)
    zero = np.zeros_like(values)
    bars = (valid.astype(np.float64), values, zero, zero, zero, zero)
    return {n: Line(*state) for n, state in doubled(bars, windows, rows, _merge_line).items()}


def variance(m: Moments | Line) -> Array:
    """Variance (ddof 1), NaN with fewer than two values."""
    return np.where(m.size > 1, m.squares / np.maximum(m.size - 1, 1), np.nan)


def deviation(m: Moments | Line) -> Array:
    """Standard deviation (ddof 1), NaN with fewer than two values."""
    return np.sqrt(variance(m))


def flat(squares: Array, mean: Array, count: Array, floor: float | None) -> BoolArray:
    """Where a window is constant: its standard deviation is at most ``floor``, or rounding (floor None)."""
    bound = ROUNDING * mean if floor is None else floor
    return squares <= bound * bound * np.maximum(count - 1, 1)


def slope(line: Line) -> Array:
    """Slope a bar, NaN with fewer than two values."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return line.product / line.bar_squares


def residual(line: Line, current: AnyFloat) -> Array:
    """Current value minus the line at the current bar; NaN where that is not finite or there is no line."""
    fitted = line.mean - slope(line) * line.bar_mean
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(current), current.astype(np.float64) - fitted, np.nan)


def rsquare(line: Line, floor: float | None = None) -> Array:
    """Share of the variance that the line explains; NaN where the window is constant (see `flat`)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value = line.product * line.product / (line.bar_squares * line.squares)
    return np.where(flat(line.squares, line.mean, line.size, floor), np.nan, value)
