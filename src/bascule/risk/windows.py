"""Sums over the last rows, in an order of additions that no array shape can change.

A window of length L is a fixed tree: sums over 1, 2, 4, … rows by doubling, then the pieces of L's binary
form. Row t of the result is therefore a pure function of rows t − L + 1 … t: the same bits in a year of
history and in the last thousand candles, in log₂ L passes in place of L.
"""

from __future__ import annotations

import numpy as np

from bascule.core import Panel
from bascule.evaluate.rows import Float64Array


def window_sum(values: Float64Array, length: int, decay: float = 1.0) -> Float64Array:
    """Σ decayˡ · values[t − l] over l = 0 … length − 1, along the first axis; rows before the first count 0.

    Args:
        values: finite, ``[T, …]``; put 0 where there is no observation.
        length: rows in the window, at least 1.
        decay: weight ratio of neighbouring rows, in (0, 1].
    """
    total = np.zeros_like(values)
    piece = values
    size, offset = 1, 0
    while True:
        if length & size:
            _add_shifted(total, piece, offset, decay**offset)
            offset += size
        if offset == length:
            return total
        doubled = piece.copy()
        _add_shifted(doubled, piece, size, decay**size)
        piece, size = doubled, 2 * size


def _add_shifted(total: Float64Array, piece: Float64Array, offset: int, weight: float) -> None:
    """total[t] += weight · piece[t − offset]."""
    if offset >= len(piece):
        return
    source = piece[: len(piece) - offset]
    total[offset:] += source if weight == 1.0 else weight * source


def value_traded(panel: Panel, bars: int) -> Float64Array:
    """Close · volume of each instrument over the last ``bars`` rows, in quote currency ``[T, N]``."""
    dollars = panel["close"].astype(np.float64) * panel["volume"]
    return window_sum(np.where(np.isfinite(dollars), dollars, 0.0), bars)


def history_percentile(values: Float64Array, length: int, step: int, min_share: float = 0.25) -> Float64Array:
    """Share of past values (every ``step``-th of the last ``length`` rows) below row t's, equals counting ½.

    0 = lowest, 1 = highest; NaN where row t is NaN or fewer than ``min_share`` of the past values are finite.
    """
    below = np.zeros(values.shape)
    known = np.zeros(values.shape)
    lags = range(step, length + 1, step)
    for lag in lags:
        if lag >= len(values):
            break
        now, past = values[lag:], values[:-lag]
        below[lag:] += (past < now) + 0.5 * (past == now)
        known[lag:] += np.isfinite(past)
    enough = (known >= max(1.0, min_share * len(lags))) & np.isfinite(values)
    result: Float64Array = np.where(enough, below / np.maximum(known, 1.0), np.nan)
    return result


def drawdown(returns: Float64Array, length: int) -> Float64Array:
    """Fall from the highest point of the last ``length`` rows, in log terms, ≥ 0 ``[T]``.

    Args:
        returns: log returns ``[T]``, 0 where unknown.
        length: rows looked back on.
    """
    fall = np.zeros_like(returns)
    run = np.zeros_like(returns)
    for lag in range(min(length, len(returns))):
        # run[t] = returns[t] + … + returns[t − lag], always added from the newest back
        run[lag:] += returns[: len(returns) - lag]
        run[:lag] = 0.0
        np.minimum(fall, run, out=fall)
    return -fall
