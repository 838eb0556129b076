"""Sum, mean and count of the last n bars, and the exponentially weighted mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bascule.kernels.window import AnyFloat, Array, State, doubled, history


def _add(newer: State, older: State, _: int) -> State:
    return tuple(a + b for a, b in zip(newer, older, strict=True))


def sums(x: AnyFloat, windows: Sequence[int], rows: int) -> dict[int, tuple[Array, Array]]:
    """Sum (0 without values) and number of finite values of each window ``[rows, N]``."""
    values, valid = history(x, max(windows), rows)
    found = doubled((values, valid.astype(np.float64)), windows, rows, _add)
    return {window: (state[0], state[1]) for window, state in found.items()}


def total(sum_: Array, count: Array) -> Array:
    """The sum, NaN without values."""
    return np.where(count > 0, sum_, np.nan)


def mean(sum_: Array, count: Array) -> Array:
    """The mean, NaN without values."""
    with np.errstate(invalid="ignore"):
        return sum_ / count


def counts(x: AnyFloat, windows: Sequence[int], rows: int) -> dict[int, Array]:
    """How many values of each window are not NaN; infinite ones count, as in pandas ``[rows, N]``."""
    present = np.where(np.isnan(x), np.nan, 1.0)
    return {window: pair[1] for window, pair in sums(present, windows, rows).items()}


def ewm(x: AnyFloat, ratio: float, window: int, rows: int) -> Array:
    """Exponentially weighted mean of the last ``window`` bars ``[rows, N]``.

    Weights are ``ratio**lag``, over the bars that have a value (pandas: ``adjust=True, ignore_na=False``).
    """
    values, valid = history(x, window, rows)

    def fade(newer: State, older: State, length: int) -> State:
        weight = ratio**length
        return tuple(a + weight * b for a, b in zip(newer, older, strict=True))

    top, bottom = doubled((values, valid.astype(np.float64)), [window], rows, fade)[window]
    with np.errstate(invalid="ignore"):
        return top / bottom
