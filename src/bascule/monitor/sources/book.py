"""What a book is exposed to and what it can lose, from its weights and candles up to one row."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from bascule.core import Panel
from bascule.core.panel import FloatArray
from bascule.monitor.samples import Sample, sample
from bascule.risk import TailSettings, portfolio_history, tail_risk

_WARM = 25  # daily rows before the first volatility forecast
_LEAST = 50  # daily rows of a tail


def measure(
    name: str,
    weights: NDArray[np.float64],
    panel: Panel,
    row: int,
    at: datetime,
    *,
    tail: TailSettings,
    limit: float,
    beta: FloatArray | None = None,
    exposures: tuple[tuple[str, ...], FloatArray] | None = None,
) -> list[Sample]:
    """The samples of a book.

    Args:
        name: of the book.
        weights: signed shares of equity ``[N]``; not finite counts as 0.
        panel: candles; only rows up to ``row`` are used.
        row: the newest closed row.
        at: time of the samples.
        tail: how value at risk is measured, on daily returns.
        limit: largest value at risk.
        beta: to the market factor ``[N]``.
        exposures: names ``[K]`` and values ``[K, N]`` of risk factors.
    """
    held = np.nan_to_num(weights)
    size = np.abs(held)
    found = sample("book.gross", name, at, float(size.sum()))
    found += sample("book.net", name, at, float(held.sum()))
    found += sample("book.largest", name, at, float(size.max(initial=0.0)))
    if beta is not None:
        found += sample("book.beta", name, at, float(held @ np.nan_to_num(beta)))
    if exposures is not None:
        for factor, values in zip(*exposures, strict=True):
            found += sample("book.exposure", f"{name}/{factor}", at, float(held @ np.nan_to_num(values)))
    var = _value_at_risk(held, panel, row, tail)
    found += sample("book.var", name, at, var)
    found += sample("book.var_use", name, at, var / limit)
    return found


def days(tail: TailSettings) -> int:
    """Days of candles before a row that its value at risk needs."""
    return tail.window + _WARM + 2


def _value_at_risk(held: NDArray[np.float64], panel: Panel, row: int, tail: TailSettings) -> float:
    """Of today's weights over a day; NaN with too short a history."""
    closes = panel["close"][row :: -panel.timeframe.bars_a_day][::-1].astype(np.float64)
    closes = closes[-(2 * tail.window + _WARM) :]
    with np.errstate(invalid="ignore", divide="ignore"):
        history = portfolio_history(held, closes[1:] / closes[:-1] - 1.0)
    window = min(tail.window, len(history) - _WARM)
    if window < _LEAST:
        return float("nan")
    if not np.any(held):
        return 0.0
    return float(tail_risk(history, tail.model_copy(update={"window": window})).var[-1])
