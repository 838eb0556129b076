"""Means with weights that fall linearly with age."""

from __future__ import annotations

import numpy as np

from bascule.kernels.window import Ages, AnyFloat, Array, history, lengths


def decay(x: AnyFloat, window: int, rows: int) -> Array:
    """Mean with weights ``window`` (newest) … 1 (oldest), missing values left out ``[rows, N]``."""
    values, valid = history(x, window, rows)
    top, bottom = np.zeros((rows, x.shape[1])), np.zeros((rows, x.shape[1]))
    for lag in range(window):
        piece = slice(window - 1 - lag, window - 1 - lag + rows)
        top += float(window - lag) * values[piece]
        bottom += float(window - lag) * valid[piece]
    with np.errstate(invalid="ignore"):
        return top / bottom


def wma(x: AnyFloat, window: int, rows: int, ages: Ages) -> Array:
    """qlib's WMA: the *mean* over present values of w*x, w = 1 … length over their sum ``[rows, N]``.

    Args:
        x: values ``[L, N]``.
        window: bars.
        rows: how many rows are to get a value.
        ages: bars since the first one ``[rows, N]``; young instruments have shorter windows.
    """
    values, valid = history(x, window, rows)
    length = lengths(ages, window).astype(np.float64)
    top, count = np.zeros((rows, x.shape[1])), np.zeros((rows, x.shape[1]))
    for lag in range(window):
        piece = slice(window - 1 - lag, window - 1 - lag + rows)
        top += (length - lag) * values[piece]
        count += valid[piece]
    with np.errstate(invalid="ignore", divide="ignore"):
        return top / (length * (length + 1) / 2) / count
