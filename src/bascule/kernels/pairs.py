"""Covariance and correlation of two series over the last n bars where both have a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bascule.kernels.moments import Moments, flat
from bascule.kernels.window import AnyFloat, Array, State, doubled, history


class Pair(NamedTuple):
    """Of one window, ``[rows, N]`` each: count, both means, both squared deviations, the product of both."""

    size: Array
    mean_x: Array
    mean_y: Array
    squares_x: Array
    squares_y: Array
    product: Array


def _merge(newer: State, older: State, _: int) -> State:
    n_a, x_a, y_a, xx_a, yy_a, xy_a = newer
    n_b, x_b, y_b, xx_b, yy_b, xy_b = older
    count = n_a + n_b
    share = n_b / np.maximum(count, 1.0)
    both = n_a * share
    step_x, step_y = x_b - x_a, y_b - y_a
    return (
        count,
        x_a + step_x * share,
        y_a + step_y * share,
        xx_a + xx_b + step_x * step_x * both,
        yy_a + yy_b + step_y * step_y * both,
        xy_a + xy_b + step_x * step_y * both,
    )


def pairs(x: AnyFloat, y: AnyFloat, windows: Sequence[int], rows: int) -> dict[int, Pair]:
    """Joint moments of each window."""
    x_values, x_valid = history(x, max(windows), rows)
    y_values, y_valid = history(y, max(windows), rows)
    valid = x_valid & y_valid
    x_values *= valid
    y_values *= valid
    zero = np.zeros_like(x_values)
    bars = (valid.astype(np.float64), x_values, y_values, zero, zero, zero)
    return {n: Pair(*state) for n, state in doubled(bars, windows, rows, _merge).items()}


def covariance(pair: Pair) -> Array:
    """Covariance (ddof 1), NaN with fewer than two common values."""
    return np.where(pair.size > 1, pair.product / np.maximum(pair.size - 1, 1), np.nan)


def correlation(pair: Pair) -> Array:
    """Pearson correlation, NaN where either side is constant or has fewer than two common values."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value = pair.product / np.sqrt(pair.squares_x * pair.squares_y)
    constant = flat(pair.squares_x, pair.mean_x, pair.size, None)
    constant |= flat(pair.squares_y, pair.mean_y, pair.size, None)
    return np.where(constant, np.nan, value)


def correlation_above(pair: Pair, x: Moments, y: Moments, floor: float) -> Array:
    """The same, NaN where either side's own standard deviation is at most ``floor`` (qlib's rule)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value = pair.product / np.sqrt(pair.squares_x * pair.squares_y)
    constant = flat(x.squares, x.mean, x.size, floor) & (x.size > 1)
    constant |= flat(y.squares, y.mean, y.size, floor) & (y.size > 1)
    return np.where(constant, np.nan, value)
