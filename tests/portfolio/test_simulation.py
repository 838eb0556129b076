"""What weights earn, by hand and against a plain loop; never before the next open."""

from __future__ import annotations

import numpy as np
import pytest

from bascule.core import ConfigError, DataError, Panel, Timeframe, UniverseError
from bascule.portfolio import equal_hold, leader_hold, simulate
from tests.markets import random_panel


def _panel(opens: list[list[float]]) -> Panel:
    values = np.array(opens, np.float32)
    hour = Timeframe.parse("1h")
    time = hour.axis(
        np.datetime64("2021-01-01", "ns"), np.datetime64("2021-01-01", "ns") + (len(values) - 1) * hour.delta
    )
    names = tuple(f"C{n}_USDT" for n in range(values.shape[1]))
    return Panel(hour, time, names, {"open": values, "close": values}, np.repeat(time[:1], values.shape[1]))


def test_by_hand() -> None:
    panel = _panel([[10, 5], [10, 5], [11, 5], [11, 6], [22, 6]])
    weights = np.array([[0.5, 0.5], [0, 1], [1, 0], [1, 0], [1, 0]], np.float32)
    result = simulate(weights, panel, 0.01)
    first = (1 - 0.01 * 1.0) * (0.5 * 1.1 + 0.5)
    drifted = np.array([0.55, 0.5]) / 1.05
    second = first * (1 - 0.01 * np.abs(np.array([0, 1]) - drifted).sum()) * 1.2
    third = second * (1 - 0.01 * 2) * 2
    assert result.equity == pytest.approx([1, first, second, third], rel=1e-6)
    assert result.turnover == pytest.approx([1, 2 * 0.55 / 1.05, 2], rel=1e-6)
    assert list(result.time) == list(panel.time[1:])
    assert result.total_return == pytest.approx(third - 1)
    assert result.exposure == pytest.approx([1, 1, 1])


def test_a_weight_earns_nothing_before_the_next_open() -> None:
    """The open-to-open move that the signal's own candle makes is not its own."""
    panel = _panel([[10], [20], [20], [20]])
    assert simulate(np.ones((4, 1), np.float32), panel, 0.0).total_return == 0.0
    panel = _panel([[10], [10], [20], [20]])
    assert simulate(np.ones((4, 1), np.float32), panel, 0.0).total_return == pytest.approx(1.0)


def test_between_rebalances_positions_drift() -> None:
    panel = random_panel(0, 60, 4)
    tick = panel.time.astype("datetime64[h]").astype(int)
    start = 20
    weights = np.full(panel.shape, 0.25, np.float32)
    result = simulate(weights, panel, 0.0, every=int(tick[start]))
    opens = panel["open"].astype(float)
    assert result.equity[: start + 1] == pytest.approx(np.ones(start + 1))
    assert result.equity[start:] == pytest.approx((opens[start + 1 :] / opens[start + 1]).mean(axis=1))


def test_every_bar_and_every_sixth_agree_with_a_plain_loop() -> None:
    panel = random_panel(3, 120, 5, missing=0.05)
    random = np.random.default_rng(0)
    weights = (random.random(panel.shape) * 0.3 - 0.05).astype(np.float32)
    weights[random.random(panel.shape) < 0.1] = np.nan
    opens = panel["open"].astype(float)
    for t in range(1, 120):
        opens[t] = np.where(np.isnan(opens[t]), opens[t - 1], opens[t])
    tick = panel.time.astype("datetime64[h]").astype(int)
    for every in (1, 6):
        cash, held, curve = 1.0, np.zeros(5), [1.0]
        for t in range(118):
            price = np.nan_to_num(opens[t + 1], nan=1.0)
            equity = cash + (held * price).sum()
            if tick[t] % every == 0:
                wanted = np.where(np.isnan(opens[t + 1]) | np.isnan(weights[t]), 0, weights[t].astype(float))
                drift = held * price / equity
                equity *= 1 - 0.002 * np.abs(wanted - drift).sum()
                held, cash = wanted * equity / price, equity * (1 - wanted.sum())
            curve.append(cash + (held * np.nan_to_num(opens[t + 2], nan=1.0)).sum())
        assert simulate(weights, panel, 0.002, every=every).equity == pytest.approx(curve, rel=1e-9)


def test_figures_by_hand() -> None:
    panel = _panel([[1], [1], [1.1], [0.99], [1.188]])
    result = simulate(np.ones((5, 1), np.float32), panel, 0.0)
    returns = np.array([0.1, -0.1, 0.2])
    assert result.returns == pytest.approx(returns, rel=1e-5)
    assert result.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(8760), rel=1e-5)
    assert result.max_drawdown == pytest.approx(0.1, rel=1e-5)
    assert result.annual_return == pytest.approx(1.188 ** (8760 / 3) - 1, rel=1e-3)
    assert result.turnover_a_day == pytest.approx(24 / 3)
    assert set(result.summary()) >= {"sharpe", "max_drawdown", "cost", "exposure"}


def test_a_missing_open_keeps_the_last_price_and_the_jump_is_booked() -> None:
    panel = _panel([[10, 1], [10, 1], [np.nan, 1], [np.nan, 1], [5, 1], [5, 1]])
    result = simulate(np.tile(np.float32([1, 0]), (6, 1)), panel, 0.0)
    assert result.equity == pytest.approx([1, 1, 1, 0.5, 0.5])


def test_an_instrument_without_any_price_is_not_bought() -> None:
    panel = _panel([[10, np.nan], [10, np.nan], [10, np.nan], [10, 2], [10, 4]])
    result = simulate(np.full((5, 2), 0.5, np.float32), panel, 0.0)
    assert result.exposure[:2] == pytest.approx([0.5, 0.5])
    assert result.equity == pytest.approx([1, 1, 1, 1.5])


def test_ruin_is_final() -> None:
    panel = _panel([[1], [1], [3], [1], [1], [1]])
    result = simulate(np.full((6, 1), -1, np.float32), panel, 0.0)
    assert result.equity == pytest.approx([1, 0, 0, 0, 0])
    assert result.returns == pytest.approx([-1, 0, 0, 0])
    assert result.annual_return == -1.0


def test_costs_lower_equity() -> None:
    panel = random_panel(1, 300, 6)
    weights = (np.random.default_rng(0).random(panel.shape) / 6).astype(np.float32)
    free, dear = simulate(weights, panel, 0.0), simulate(weights, panel, 0.002)
    assert (dear.equity[1:] < free.equity[1:]).all()
    assert dear.costs == pytest.approx(0.002 * dear.turnover)


def test_holding_benchmarks() -> None:
    panel = random_panel(2, 80, 4)
    opens = panel["open"].astype(float)
    equal = equal_hold(panel, 0.0)
    assert equal.equity == pytest.approx((opens[1:] / opens[1]).mean(axis=1), rel=1e-6)
    leader = leader_hold(panel, "C002_USDT", 0.01)
    assert leader.equity[1:] == pytest.approx(0.99 * opens[2:, 2] / opens[1, 2], rel=1e-6)
    assert equal.turnover.sum() == pytest.approx(1.0)
    with pytest.raises(UniverseError, match="NOPE"):
        leader_hold(panel, "NOPE_USDT")
    nobody = panel.with_universe(np.zeros(panel.shape, bool))
    with pytest.raises(UniverseError, match="no members"):
        equal_hold(nobody)


def test_what_does_not_fit_is_refused() -> None:
    panel = random_panel(2, 10, 4)
    with pytest.raises(DataError, match="do not fit"):
        simulate(np.zeros((9, 4), np.float32), panel)
    with pytest.raises(ConfigError, match="every"):
        simulate(np.zeros((10, 4), np.float32), panel, every=0)
