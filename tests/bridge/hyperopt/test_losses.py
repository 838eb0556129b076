"""Losses against figures worked out by hand or by another way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.core import Timeframe
from bascule.evaluate import SharpeStatistics, deflated_sharpe

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
BAR = Timeframe(3_600)
HOURS = pd.date_range("2023-01-01", periods=240, freq="1h", tz="UTC")


def candles(prices: np.ndarray, regime: np.ndarray | None = None) -> pd.DataFrame:
    frame = pd.DataFrame({"date": HOURS, "open": prices, "close": np.append(prices[1:], prices[-1])})
    return frame if regime is None else frame.assign(regime=regime)


def trades(*rows: tuple[int, int, float, float], amount: float = 1.0) -> pd.DataFrame:
    """Long trades without fees: entry and exit hour, entry and exit price."""
    return pd.DataFrame(
        {
            "pair": "A/USDT",
            "open_date": HOURS[[row[0] for row in rows]],
            "close_date": HOURS[[row[1] for row in rows]],
            "open_rate": [row[2] for row in rows],
            "close_rate": [row[3] for row in rows],
            "amount": amount,
            "fee_open": 0.0,
            "is_short": False,
            "profit_abs": [amount * (row[3] - row[2]) for row in rows],
        }
    )


def given(**changes: Any) -> dict[str, Any]:
    """Arguments as freqtrade passes them."""
    prices = 100 + np.sin(np.arange(240) / 7.0)
    values = {
        "results": trades((0, 30, float(prices[0]), float(prices[30])), (50, 200, float(prices[50]), 101.0)),
        "processed": {"A/USDT": candles(prices)},
        "min_date": HOURS[0],
        "max_date": HOURS[-1],
        "config": {"timeframe": "1h", "epochs": 50},
        "starting_balance": 1_000.0,
        "trade_count": 2,
        "backtest_stats": {},
    }
    return values | changes


def test_equity_is_marked_while_a_position_is_open() -> None:
    from bascule.bridge.freqtrade.hyperopt.losses import equity

    prices = np.full(240, 100.0)
    prices[20:40] = 80.0  # a fall between entry and exit, which closed trades do not show
    flat, frames = trades((10, 60, 100.0, 100.0)), {"A/USDT": candles(prices)}
    found = equity(flat, frames, BAR, HOURS[0], HOURS[-1], 1_000.0)
    assert found.iloc[0] == 1_000 and found.iloc[-1] == 1_000 and found.min() == 980
    assert found[HOURS[20] : HOURS[39]].eq(980).all()
    costly = equity(flat, frames, BAR, HOURS[0], HOURS[-1], 1_000.0, cost=0.01)
    assert costly[HOURS[9]] == 1_000 and costly[HOURS[10]] == 999 and costly.iloc[-1] == 998
    # the list tells the last size of a position; what is traded is what its orders say
    orders = [
        {"amount": amount, "safe_price": 100.0, "ft_is_entry": entry, "order_filled_timestamp": stamp}
        for amount, entry, stamp in zip(
            (3.0, 2.0, 1.0), (True, False, False), HOURS[[10, 12, 20]].as_unit("ms").asi8, strict=True
        )
    ]
    changed = flat.assign(orders=[orders], fee_close=0.0)
    costly = equity(changed, frames, BAR, HOURS[0], HOURS[-1], 1_000.0, cost=0.01)
    assert [costly[HOURS[k]] for k in (9, 10, 12, 20)] == [1_000, 997, 995, 994]


def test_daily_returns_end_with_ruin() -> None:
    from bascule.bridge.freqtrade.hyperopt.losses import daily

    days = pd.date_range("2023-01-01", periods=6, freq="1D", tz="UTC")
    found = daily(pd.Series([100.0, 110.0, 55.0, -5.0, 40.0, 50.0], days))
    np.testing.assert_allclose(found, [0.1, -0.5, -1.0, 0.0, 0.0])


def test_standard_errors_above_luck_are_the_deflated_sharpe_ratio() -> None:
    from scipy.special import ndtr

    from bascule.bridge.freqtrade.hyperopt.losses import standard_errors_above_luck

    returns = np.random.default_rng(0).normal(0.002, 0.01, 200)
    for trials in (1, 30, 1_000):
        found = standard_errors_above_luck(returns, trials)
        wanted = deflated_sharpe(SharpeStatistics.of(returns), trials, 1 / 199)
        assert ndtr(found) == pytest.approx(wanted, rel=1e-9)
    assert standard_errors_above_luck(returns, 10) > standard_errors_above_luck(returns, 100)
    assert math.isnan(standard_errors_above_luck(np.zeros(50), 10))


def test_more_trials_make_the_same_result_worth_less() -> None:
    from bascule.bridge.freqtrade.hyperopt.losses import HOPELESS, DeflatedSharpeLoss

    loss = DeflatedSharpeLoss.hyperopt_loss_function
    few = loss(**given())
    many = loss(**given(config={"timeframe": "1h", "epochs": 50, "bascule": {"hyperopt": {"trials": 5_000}}}))
    assert few < many < HOPELESS
    assert loss(**given(results=trades((0, 30, 1.0, 1.0)).iloc[:0])) == HOPELESS


def test_turnover_must_be_earned() -> None:
    from bascule.bridge.freqtrade.hyperopt.losses import CalmarTurnoverLoss, calmar

    curve = pd.Series(
        [100.0, 120.0, 90.0, 110.0], pd.date_range("2023-01-01", periods=4, freq="1D", tz="UTC")
    )
    assert calmar(curve) == pytest.approx(0.1 * 365 / 3 / 0.25)
    loss = CalmarTurnoverLoss.hyperopt_loss_function
    # the same profit by one trade, or by two of four times the size whose profits cancel out but for it
    prices = np.full(240, 100.0)
    prices[100:] = 110.0
    once = trades((10, 200, 100.0, 110.0))
    often = pd.concat([once, trades((20, 30, 100.0, 100.0), (40, 50, 100.0, 100.0), amount=4.0)])
    frames = {"A/USDT": candles(prices)}
    free = {"timeframe": "1h", "epochs": 1, "bascule": {"hyperopt": {"turnover_cost": 0.0}}}
    assert loss(**given(results=once, processed=frames)) < loss(**given(results=often, processed=frames))
    assert loss(**given(results=once, processed=frames, config=free)) == loss(
        **given(results=often, processed=frames, config=free)
    )


def test_the_worst_regime_counts() -> None:
    from freqtrade.exceptions import OperationalException

    from bascule.bridge.freqtrade.hyperopt.losses import WorstRegimeLoss, regimes, worst_regime

    days = pd.date_range("2023-01-01", periods=40, freq="1D", tz="UTC")
    noise = np.tile([0.001, -0.001], 20)
    good = pd.Series(0.01 + noise, days)
    mixed = good.copy()
    mixed.iloc[30:] = -0.02 + noise[30:]
    marks = pd.Series([0.0] * 30 + [1.0] * 10, days)
    error = np.std(mixed.iloc[30:], ddof=1) / math.sqrt(10)
    assert worst_regime(mixed, marks, 5) == pytest.approx(365 * (-0.02 - error))
    # too short to be judged by itself: the other regime alone
    assert worst_regime(mixed, marks, 11) > 0
    unknown = pd.Series(-1.0, days)
    every = 365 * (mixed.mean() - mixed.std() / math.sqrt(40))
    assert worst_regime(mixed, unknown, 5) == pytest.approx(every)
    # the regime of a day is that of the candle before it
    marked = candles(np.full(240, 100.0), np.repeat(np.arange(10), 24))
    found = regimes({"A/USDT": marked}, pd.date_range("2023-01-01", periods=10, freq="1D", tz="UTC"))
    assert math.isnan(found.iloc[0]) and found.iloc[1:].tolist() == list(range(9))
    with pytest.raises(OperationalException, match="gives no column 'regime'"):
        WorstRegimeLoss.hyperopt_loss_function(**given())
    assert np.isfinite(WorstRegimeLoss.hyperopt_loss_function(**given(processed={"A/USDT": marked})))


def test_settings_are_checked() -> None:
    from freqtrade.exceptions import OperationalException

    from bascule.bridge.freqtrade.hyperopt.losses import LossSettings

    assert LossSettings.of({"epochs": 77}).trials == 77
    with pytest.raises(OperationalException, match="did you mean 'turnover_cost'"):
        LossSettings.of({"bascule": {"hyperopt": {"turnover_costs": 1}}})


def test_the_shims_are_what_freqtrades_loader_takes() -> None:
    from freqtrade.resolvers.hyperopt_resolver import HyperOptLossResolver

    from bascule.bridge.freqtrade.hyperopt import SHIMS, losses

    for path in sorted(SHIMS.glob("*.py")):
        found, _ = HyperOptLossResolver._search_object(directory=SHIMS, object_name=path.stem)
        assert issubclass(found, getattr(losses, path.stem))
    assert len(list(SHIMS.glob("*.py"))) == 3
