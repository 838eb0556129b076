"""Returns that a signal can earn, before and after funding."""

from __future__ import annotations

import numpy as np
import pytest

from bascule.core import ConfigError, Panel, Timeframe
from bascule.evaluate import forward_return

HOUR = Timeframe(3_600)
START = np.datetime64("2024-01-01", "ns")


def panel(rows: int = 12, **fields: np.ndarray) -> Panel:
    opens = (100 + np.arange(rows * 2)).reshape(rows, 2).astype(np.float32)
    time = HOUR.axis(START, START + np.timedelta64(rows - 1, "h"))
    return Panel(HOUR, time, ("AAA_USDT_USDT", "BBB_USDT_USDT"), {"open": opens, **fields}, np.full(2, START))


def test_funding_is_paid_from_after_the_entry_to_the_exit() -> None:
    rates = np.full((12, 2), np.nan, np.float32)
    rates[3], rates[6], rates[8] = (0.01, -0.01), (0.02, 0.0), (0.04, 0.04)
    priced = panel(funding_rate=rates)
    plain, net = forward_return(priced, 3), forward_return(priced, 3, funding=True)
    paid = (plain - net).round(6)
    # row 2 enters at the open of row 3, when that row's rate is settled: it does not pay it
    assert paid[2].tolist() == pytest.approx([0.02, 0.0]) and paid[1].tolist() == pytest.approx([0.01, -0.01])
    assert paid[0].tolist() == pytest.approx([0.01, -0.01])
    assert paid[4].tolist() == pytest.approx([0.02 + 0.04, 0.04])  # leaves at the open of row 8, and pays it
    assert paid[7].tolist() == pytest.approx([0.0, 0.0])
    assert np.isnan(net[8:]).all()


def test_funding_that_is_not_there_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="need funding rates"):
        forward_return(panel(), 3, funding=True)
