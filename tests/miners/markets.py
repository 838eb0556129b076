"""Small panels for the miners' tests."""

from __future__ import annotations

from functools import cache

import numpy as np

from bascule.core import Panel, Timeframe
from bascule.miners import Problem, SplitSettings

HOUR = Timeframe.parse("1h")


@cache
def panel(rows: int = 900, width: int = 16, seed: int = 0, planted: float = 0.0) -> Panel:
    """Random walks; with ``planted`` the last five bars' return foretells the next six."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((rows, width)) * 0.01
    close = np.empty((rows, width))
    close[0] = rng.uniform(1, 1000, width)
    for t in range(1, rows):
        drift = 0.0
        if t > 6:
            last = close[t - 1] / close[t - 6] - 1
            drift = -planted * 0.01 * (last - last.mean()) / (last.std() + 1e-12)
        close[t] = close[t - 1] * np.exp(noise[t] + drift)
    open_ = np.vstack([close[:1], close[:-1]])
    high = np.maximum(open_, close) * (1 + 0.003 * rng.random((rows, width)))
    low = np.minimum(open_, close) * (1 - 0.003 * rng.random((rows, width)))
    volume = np.exp(rng.standard_normal((rows, width)) + 8)
    fields = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
    fields["vwap"] = (high + low + close) / 3
    time = np.datetime64("2024-01-01", "ns") + np.arange(rows) * HOUR.delta
    names = tuple(f"C{n:02d}_USDT" for n in range(width))
    arrays = {name: np.ascontiguousarray(values, np.float32) for name, values in fields.items()}
    return Panel(HOUR, time, names, arrays, np.full(width, time[0]))


@cache
def problem(planted: float = 0.3, seed: int = 0) -> Problem:
    """One hundred coins would be slow: sixteen do."""
    return Problem.of(panel(planted=planted, seed=seed), SplitSettings(horizon=4))
