"""Quantiles, trimmed means and ranks of the last n bars, by sorting every window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bascule.kernels.window import AnyFloat, Array

# sorted windows are worked on in pieces of about this many values, so that they stay in the cache
_PIECE = 1 << 18
NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution in median absolute deviations."""


def _filled(x: AnyFloat, window: int, rows: int) -> AnyFloat:
    """The last rows and their history with NaN for all that is not finite, in the precision of ``x``."""
    need = window - 1 + rows
    have = min(need, len(x))
    values = np.full((need, x.shape[1]), np.nan, x.dtype)
    if have:
        tail = x[len(x) - have :]
        np.copyto(values[need - have :], tail, where=np.isfinite(tail))
    return values


def _sorted_windows(
    x: AnyFloat, window: int, rows: int, finish: Callable[[AnyFloat, Array, slice], None]
) -> None:
    """Call ``finish(sorted [r, N, window] with NaN last, count [r, N], rows)`` for each piece of rows."""
    values = _filled(x, window, rows)
    views = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)
    step = max(1, _PIECE // (window * x.shape[1]))
    for start in range(0, rows, step):
        piece = slice(start, min(rows, start + step))
        ordered = np.sort(views[piece], axis=-1)
        count = (window - np.isnan(ordered).sum(axis=-1)).astype(np.float64)
        finish(ordered, count, piece)


def _at(ordered: AnyFloat, position: NDArray[np.int64]) -> Array:
    return np.take_along_axis(ordered, position[..., None], axis=-1)[..., 0].astype(np.float64)


def interpolated(ordered: AnyFloat, count: Array, q: float) -> Array:
    """The q-quantile of sorted values ``[..., n]`` whose first ``count`` are there; NaN without any."""
    place = q * np.maximum(count - 1, 0)
    low = place.astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0).astype(np.int64))
    below, above = _at(ordered, low), _at(ordered, high)
    value = below + (above - below) * (place - low)
    return np.where(count > 0, value, np.nan)


def quantiles(x: AnyFloat, window: int, levels: Sequence[float], rows: int) -> dict[float, Array]:
    """Linearly interpolated quantiles of the finite values of a window ``[rows, N]``."""
    found = {q: np.empty((rows, x.shape[1])) for q in levels}

    def finish(ordered: AnyFloat, count: Array, piece: slice) -> None:
        for q, out in found.items():
            out[piece] = interpolated(ordered, count, q)

    _sorted_windows(x, window, rows, finish)
    return found


def trimmed_mean(x: AnyFloat, window: int, q: float, rows: int) -> Array:
    """Mean without the floor(q * count) smallest and as many largest values ``[rows, N]``."""
    found = np.empty((rows, x.shape[1]))

    def finish(ordered: AnyFloat, count: Array, piece: slice) -> None:
        dropped = np.floor(q * count)
        total = np.zeros(count.shape)
        for place in range(window):  # one place after the other: the order of additions is fixed
            kept = (place >= dropped) & (place < count - dropped)
            total += np.where(kept, ordered[..., place], 0.0)
        with np.errstate(invalid="ignore"):
            found[piece] = total / (count - 2 * dropped)

    _sorted_windows(x, window, rows, finish)
    return found


def winsorized(x: AnyFloat, window: int, q: float, rows: int) -> Array:
    """The current value moved into the range of the q- and (1-q)-quantile; NaN if it is not finite."""
    bounds = quantiles(x, window, (q, 1.0 - q), rows)
    current = _filled(x, 1, rows).astype(np.float64)
    return np.where(np.isnan(current), np.nan, np.clip(current, bounds[q], bounds[1.0 - q]))


def mad_zscores(x: AnyFloat, window: int, rows: int) -> Array:
    """(current - median) / (1.4826 · MAD) of the window ``[rows, N]``; NaN where the MAD is 0.

    Source: Hampel 1974, "The influence curve and its role in robust estimation", JASA 69.
    """
    found = np.empty((rows, x.shape[1]))
    current = _filled(x, 1, rows).astype(np.float64)

    def finish(ordered: AnyFloat, count: Array, piece: slice) -> None:
        middle = interpolated(ordered, count, 0.5)
        away = np.sort(np.abs(ordered - middle[..., None]), axis=-1)
        scale = NORMAL_MAD * interpolated(away, count, 0.5)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[piece] = np.where(scale > 0, (current[piece] - middle) / scale, np.nan)

    _sorted_windows(x, window, rows, finish)
    return found


def ranks(x: AnyFloat, windows: Sequence[int], rows: int) -> dict[int, Array]:
    """Rank of the current value in each window as a fraction, ties averaged ``[rows, N]``.

    NaN where the current value is not finite.
    """
    longest = max(windows)
    values = _filled(x, longest, rows)
    current = values[longest - 1 :]
    less, equal, count = (np.zeros(current.shape, np.float32) for _ in range(3))
    found: dict[int, Array] = {}
    wanted = set(windows)
    for lag in range(longest):
        older = values[longest - 1 - lag : longest - 1 - lag + rows]
        less += older < current
        equal += older == current
        count += older == older
        if lag + 1 in wanted:
            with np.errstate(invalid="ignore", divide="ignore"):
                rank = (less.astype(np.float64) + (equal + 1.0) / 2.0) / count
            found[lag + 1] = np.where(np.isnan(current), np.nan, rank)
    return found
