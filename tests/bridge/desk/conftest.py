"""Fixtures of the trading desk's tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bascule.core import Panel, Timeframe
from bascule.core.panel import FloatArray
from bascule.signals import SignalFrame

HOUR = Timeframe(3_600)
NAMES = ("BTC_USDT", "ETH_USDT", "SOL_USDT", "XRP_USDT")
START = np.datetime64("2024-01-01T00:00", "ns")


def candles(closes: FloatArray, names: tuple[str, ...] = NAMES) -> Panel:
    """A panel whose candles open at the close before them and have no shadows."""
    opens = np.vstack([closes[:1], closes[:-1]])
    fields = {
        "open": opens,
        "high": np.maximum(opens, closes),
        "low": np.minimum(opens, closes),
        "close": closes,
        "volume": np.ones_like(closes),
    }
    time = HOUR.axis(START, START + np.timedelta64(len(closes) - 1, "h"))
    plain = {name: values.astype(np.float32) for name, values in fields.items()}
    return Panel(HOUR, time, names, plain, np.full(len(names), START))


def quiet(panel: Panel) -> SignalFrame:
    """Signals that never ask for anything."""
    shape = panel.shape
    return SignalFrame(
        HOUR,
        panel.time,
        panel.instruments,
        alpha=np.zeros(shape, np.float32),
        alpha_rank=np.full(shape, 0.6, np.float32),
        expected_return=np.zeros(shape, np.float32),
        risk_score=np.full(shape, 0.2, np.float32),
        target_weight=np.zeros(shape, np.float32),
        stop_distance=np.full(shape, 0.2, np.float32),
        portfolio_risk=np.full(shape[0], 0.2, np.float32),
        regime=np.zeros(shape[0], np.int8),
        model_id=np.full(shape[0], "m"),
    )


@pytest.fixture
def wish() -> Callable[..., SignalFrame]:
    """Signals with some cells set: ``wish(frame, target_weight={(row, column): value})``."""

    def change(frame: SignalFrame, **cells: dict[tuple[int, int], float]) -> SignalFrame:
        arrays = {}
        for name, values in cells.items():
            array = getattr(frame, name).copy()
            for (row, column), value in values.items():
                array[row, column] = value
            arrays[name] = array
        return replace(frame, **arrays)

    return change
