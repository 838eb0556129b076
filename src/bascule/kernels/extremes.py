"""Largest and smallest value of the last n bars, and where they stand. Exact: nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bascule.kernels.window import Ages, AnyFloat, Array, State, doubled, history, lengths


def _greater(newer: State, older: State, _: int) -> State:
    return (np.maximum(newer[0], older[0]),)


def maxima(x: AnyFloat, windows: Sequence[int], rows: int) -> dict[int, Array]:
    """The largest finite value of each window ``[rows, N]``, NaN without any."""
    values, valid = history(x, max(windows), rows)
    values[~valid] = -np.inf
    found = doubled((values,), windows, rows, _greater)
    return {n: np.where(np.isneginf(state[0]), np.nan, state[0]) for n, state in found.items()}


def minima(x: AnyFloat, windows: Sequence[int], rows: int) -> dict[int, Array]:
    """The smallest finite value of each window ``[rows, N]``, NaN without any."""
    return {n: -value for n, value in maxima(-x, windows, rows).items()}


def _first_greater(newer: State, older: State, length: int) -> State:
    keep = older[0] >= newer[0]  # of equals the older one is first
    return (
        np.where(keep, older[0], newer[0]),
        np.where(keep, older[1] + length, newer[1]),
        newer[2] + older[2],
    )


def argmaxima(x: AnyFloat, windows: Sequence[int], rows: int, ages: Ages) -> dict[int, Array]:
    """Position of the first largest value in each window ``[rows, N]``, 1 = its oldest bar.

    As in qlib a missing value inside the window wins (the first of them), and a window without any value
    gives NaN. Bars before the first one of an instrument are no part of a window.

    Args:
        x: values ``[L, N]``.
        windows: bars.
        rows: how many rows are to get a value.
        ages: bars since the first one ``[rows, N]``.
    """
    longest = max(windows)
    values, valid = history(x, longest, rows)
    values[~valid] = np.inf
    # a row above the last `rows` is listed if it is at most `age` bars older than the first of them
    listed = np.arange(1 - longest, rows)[:, None] + ages[0] >= 0
    values[~listed] = -np.inf
    bars = (values, np.zeros_like(values), valid.astype(np.float64))
    found = doubled(bars, windows, rows, _first_greater)
    return {n: np.where(state[2] > 0, lengths(ages, n) - state[1], np.nan) for n, state in found.items()}


def argminima(x: AnyFloat, windows: Sequence[int], rows: int, ages: Ages) -> dict[int, Array]:
    """Position of the first smallest value; else as `argmaxima`."""
    return argmaxima(-x, windows, rows, ages)
