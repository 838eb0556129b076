"""Since when each instrument exists: before its first candle there is nothing, not even a missing value."""

from __future__ import annotations

import numpy as np

from bascule.core import Panel
from bascule.kernels.window import Ages

_NEVER = np.int64(1) << 40


def first_rows(panel: Panel) -> Ages:
    """Row of each instrument's first candle ``[N]``: below 0 where it lies before the panel, huge = never.

    A listing between two candles counts from the next one, as `Panel.started` has it.
    """
    step = panel.timeframe.nanoseconds
    start = int(panel.time[0].astype(np.int64)) if len(panel.time) else 0
    listed = panel.listed.astype(np.int64)
    rows: Ages = np.where(np.isnat(panel.listed), _NEVER, -((start - listed) // step))
    return rows


def ages(first: Ages, start: int, stop: int) -> Ages:
    """Bars since each first row, in the rows ``[start, stop)``; below 0 before it ``[rows, N]``."""
    found: Ages = np.arange(start, stop)[:, None] - first[None, :]
    return found
