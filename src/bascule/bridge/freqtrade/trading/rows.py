"""The analysed candles of each pair, found by time in a microsecond.

freqtrade's `get_analyzed_dataframe` slices a data frame on every call; callbacks ask for several columns of
every open trade at every candle of a backtest, so that would be most of the strategy's time.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from bascule.core.panel import FloatArray

NAN = float("nan")


class Rows:
    """One pair's analysed candles.

    Args:
        frame: as freqtrade analysed it, ``date`` ascending.
        seconds: length of a candle.
        live: the newest row is the one that counts; else the last one that was closed at the asked time.
    """

    def __init__(self, frame: pd.DataFrame, seconds: int, *, live: bool) -> None:
        from bascule.bridge.freqtrade.feed import utc

        self._frame = frame
        self._step = seconds
        self._live = live
        self._opens: list[int] = utc(frame["date"]).astype("datetime64[s]").astype(np.int64).tolist()
        self._columns: dict[str, Any] = {}

    def index(self, seconds: float, *, past: bool = False) -> int:
        """Row of the newest candle closed at a time (Unix seconds); -1 = none.

        Args:
            seconds: the time.
            past: a time gone by is meant, also in a live run.
        """
        if self._live and not past:
            return len(self._opens) - 1
        opened = int(seconds) // self._step * self._step - self._step
        if not self._opens or opened < self._opens[0]:
            return -1
        guess = (opened - self._opens[0]) // self._step
        if guess < len(self._opens) and self._opens[guess] == opened:
            return guess
        return bisect_right(self._opens, opened) - 1

    def value(self, name: str, seconds: float, *, past: bool = False) -> float:
        """A column's value in the newest candle closed at a time; NaN = none."""
        row = self.index(seconds, past=past)
        return NAN if row < 0 or name not in self._frame else float(self._column(name)[row])

    def tail(self, name: str, seconds: float, count: int) -> FloatArray:
        """A column's last values up to the newest candle closed at a time, at most ``count``."""
        row = self.index(seconds)
        found: FloatArray = self._column(name)[max(0, row + 1 - count) : row + 1]
        return found

    def _column(self, name: str) -> Any:
        if name not in self._columns:
            self._columns[name] = self._frame[name].to_numpy()
        return self._columns[name]
