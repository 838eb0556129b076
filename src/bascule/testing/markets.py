"""A small untidy market: everything that breaks naive code, in ninety candles."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bascule.core import Panel, Timeframe

NAMES = ("A_USDT", "B_USDT", "C_USDT", "D_USDT", "E_USDT")
_HOUR = Timeframe.parse("1h")


def untidy(rows: int = 90, fields: Iterable[str] = ()) -> Panel:
    """Gaps, a halt, a late and a dead instrument, ties, constants, a spike, a changing universe.

    Args:
        rows: candles; at least 90, so that all of this is in it.
        fields: further fields to fill with positive numbers.
    """
    rng = np.random.default_rng(7)
    close = np.exp(np.cumsum(rng.normal(0, 0.02, (rows, 5)), axis=0))
    close[:, 3] = np.round(close[:, 3], 1)
    close[30:60, 1] = close[30, 1]
    close[45, 0] *= 1e4
    values = {"close": close, "open": np.vstack([close[:1], close[:-1]])}
    values["high"] = np.maximum(values["open"], close) * 1.01
    values["low"] = np.minimum(values["open"], close)
    values["volume"] = rng.lognormal(1, 1, (rows, 5)) * (rng.random((rows, 5)) > 0.05)
    gone = rng.random((rows, 5)) < 0.08
    gone[20:45, 3] = True
    gone[:33, 2] = True
    gone[70:, 4] = True
    gone[45, 0] = False  # the spike
    members = rng.random((rows, 5)) < 0.8
    for name in sorted(set(fields) - set(values)):
        values[name] = rng.lognormal(0, 1, (rows, 5))
    arrays = {name: np.where(gone, np.nan, cells).astype(np.float32) for name, cells in values.items()}
    time = np.datetime64("2024-01-01", "ns") + np.arange(rows) * _HOUR.delta
    return Panel(_HOUR, time, NAMES, arrays, time[(~gone).argmax(axis=0)], members)
