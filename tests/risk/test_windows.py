"""Window sums equal their definitions, with the same bits in any stretch of rows."""

from __future__ import annotations

import numpy as np
import pytest

from bascule.risk.windows import drawdown, history_percentile, window_sum


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 100, 361])
@pytest.mark.parametrize("decay", [1.0, 0.97])
def test_window_sum_equals_its_definition(length: int, decay: float) -> None:
    values = np.random.default_rng(0).standard_normal((200, 3))
    got = window_sum(values, length, decay)
    for t in (0, 5, 99, 199):
        lags = range(min(length, t + 1))
        assert got[t] == pytest.approx(sum(decay**lag * values[t - lag] for lag in lags))


@pytest.mark.parametrize("decay", [1.0, 0.99])
def test_any_window_of_rows_gives_the_same_bits(decay: float) -> None:
    values = np.random.default_rng(1).standard_normal((700, 5))
    whole = window_sum(values, 90, decay)
    for start, stop in ((3, 700), (100, 350), (517, 617)):
        part = window_sum(values[start:stop], 90, decay)
        assert np.array_equal(part[89:], whole[start + 89 : stop])


def test_a_spike_leaves_no_trace_after_its_window() -> None:
    values = np.random.default_rng(2).standard_normal((300, 2))
    clean = window_sum(values, 50)
    values[100] = 1e12
    spiked = window_sum(values, 50)
    assert np.array_equal(spiked[150:], clean[150:])
    assert np.array_equal(spiked[:100], clean[:100])


def test_history_percentile_equals_its_definition() -> None:
    values = np.random.default_rng(3).standard_normal((120, 2)).round(1)
    values[40:45, 0] = np.nan
    got = history_percentile(values, 30, 3)
    for t in (35, 41, 60, 119):
        past = values[t - 30 : t : 3, 0]
        past = past[np.isfinite(past)]
        expected = np.mean((past < values[t, 0]) + 0.5 * (past == values[t, 0]))
        assert got[t, 0] == pytest.approx(np.nan if np.isnan(values[t, 0]) else expected, nan_ok=True)
    assert np.isnan(got[:6]).all(), "two of ten past values are too few"


def test_drawdown_equals_its_definition() -> None:
    returns = np.random.default_rng(4).standard_normal(150) * 0.01
    level = np.concatenate([[0.0], np.cumsum(returns)])
    got = drawdown(returns, 40)
    for t in (0, 10, 39, 100, 149):
        peak = level[max(0, t + 1 - 40) : t + 2].max()
        assert got[t] == pytest.approx(peak - level[t + 1], abs=1e-12)
    assert np.array_equal(drawdown(returns[50:], 40)[39:], got[89:])
