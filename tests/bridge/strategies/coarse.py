"""The small market in candles of four hours, for tests of fusion."""

from __future__ import annotations

import numpy as np

from bascule.core import Panel, Timeframe


def four_hours(raw: Panel) -> Panel:
    """An hourly panel in candles of four hours; a candle with a missing hour is made of the others."""
    bar = Timeframe.parse("4h")
    count = len(raw.time) // 4

    def blocks(name: str) -> np.ndarray:
        return raw[name][: count * 4].reshape(count, 4, -1)

    def first(values: np.ndarray) -> np.ndarray:
        there = np.isfinite(values)
        index = there.argmax(axis=1)[:, None]
        return np.where(there.any(axis=1), np.take_along_axis(values, index, axis=1)[:, 0], np.nan)

    present = np.isfinite(blocks("close")).any(axis=1)
    fields = {
        "open": first(blocks("open")),
        "high": np.where(present, np.nan_to_num(blocks("high"), nan=-np.inf).max(axis=1), np.nan),
        "low": np.where(present, np.nan_to_num(blocks("low"), nan=np.inf).min(axis=1), np.nan),
        "close": first(blocks("close")[:, ::-1]),
        "volume": np.where(present, np.nansum(blocks("volume"), axis=1), np.nan),
    }
    time = raw.time[: count * 4 : 4]
    listed = time[present.argmax(axis=0)]
    arrays = {name: np.ascontiguousarray(values, np.float32) for name, values in fields.items()}
    return Panel(bar, time, raw.instruments, arrays, listed)
