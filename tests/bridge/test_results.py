"""The equity curve: valued from candles, so that positions never vanish from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.freqtrade import results
from bascule.bridge.freqtrade.results import risk_figures

HOURS = pd.date_range("2023-01-01", periods=6, freq="h", tz="UTC")


def candles(folder: Path, opens: list[float], closes: list[float]) -> None:
    rows = len(opens)
    frame = pd.DataFrame({"date": HOURS[:rows], "open": opens, "close": closes})
    frame.assign(high=frame["open"], low=frame["open"], volume=1.0).to_feather(folder / "AAA_USDT-1h.feather")


def one_trade(opened: int, closed: int, profit: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pair": ["AAA/USDT"],
            "open_date": [HOURS[opened]],
            "close_date": [HOURS[closed]],
            "is_short": [False],
            "amount": [10.0],
            "open_rate": [10.0],
            "fee_open": [0.001],
            "profit_abs": [profit],
        }
    )


def marked(folder: Path, trades: pd.DataFrame) -> np.ndarray:
    stats = {"starting_balance": 1000.0, "timeframe": "1h", "trading_mode": "spot"}
    wallet = pd.Series(np.nan, HOURS)
    return results._marked(wallet, trades, stats, folder).to_numpy()


def test_a_delisted_coin_keeps_its_last_price_until_it_is_closed(tmp_path: Path) -> None:
    candles(tmp_path, [10, 10, 12], [10, 12, 8])  # no candle after 02:00; last close 8
    value = marked(tmp_path, one_trade(0, 5, -20.2))
    fee = 10 * 10 * 0.001
    np.testing.assert_allclose(value, [1000, 1000 - fee, 1020 - fee, 980 - fee, 980 - fee, 979.8])


def test_a_closed_trade_stays_in_the_balance(tmp_path: Path) -> None:
    candles(tmp_path, [10, 10, 12, 11, 11, 11], [10, 12, 11, 11, 11, 11])
    value = marked(tmp_path, one_trade(1, 3, 9.0))
    np.testing.assert_allclose(value, [1000, 1000, 1019.9, 1009, 1009, 1009])


def order(hour: int, amount: float, price: float, *, entry: bool) -> dict[str, object]:
    """As freqtrade's result file has them."""
    stamp = int(HOURS[hour].timestamp() * 1_000)
    filled = {"amount": amount, "safe_price": price, "order_filled_timestamp": stamp}
    return filled | {"ft_is_entry": entry, "ft_order_side": "buy" if entry else "sell"}


@pytest.mark.parametrize("side", [1, -1])
def test_a_position_that_was_changed_is_worth_what_it_held(tmp_path: Path, side: int) -> None:
    prices = [10, 11, 12, 11, 11, 13]
    candles(tmp_path, prices, prices)
    orders = [
        order(0, 10.0, 10.0, entry=True),
        order(2, 10.0, 12.0, entry=True),
        order(3, 15.0, 11.0, entry=False),
        {**order(4, 99.0, 1.0, entry=True), "order_filled_timestamp": None},  # withdrawn
        order(5, 5.0, 13.0, entry=False),
    ]
    fees = np.array([0.1, 0.12, 0.33, 0.13])
    gain = side * (-100 - 120 + 165 + 65) - fees.sum()
    # the list tells the size that was left, and the mean price
    trade = one_trade(0, 5, gain).assign(amount=5.0, open_rate=11.0, fee_close=0.002, is_short=side < 0)
    value = marked(tmp_path, trade.assign(orders=[orders])) - 1000
    held = np.array([0, 10 * 1, 10 * 2, 15 * 11 - 220 + 5 * 11, 15 * 11 - 220 + 5 * 11])
    paid = np.array([0, fees[0], fees[0], fees[:3].sum(), fees[:3].sum()])
    np.testing.assert_allclose(value, [*(side * held - paid), gain])


def test_the_orders_of_an_unchanged_trade_change_nothing(tmp_path: Path) -> None:
    candles(tmp_path, [10, 10, 12, 11, 11, 11], [10, 12, 11, 11, 11, 11])
    whole = one_trade(1, 3, 9.0)
    orders = [order(1, 10.0, 10.0, entry=True), order(3, 10.0, 11.0, entry=False)]
    told = whole.assign(fee_close=0.001, orders=[orders])
    np.testing.assert_array_equal(marked(tmp_path, told), marked(tmp_path, whole))


def test_risk_figures_of_a_known_curve() -> None:
    days = pd.date_range("2023-01-01", periods=366, freq="D", tz="UTC")
    returns = np.resize([0.02, -0.01], 365)
    curve = pd.Series(np.concatenate([[1.0], np.cumprod(1 + returns)]), days)
    figures = risk_figures(curve)
    assert figures["cagr"] == pytest.approx(curve.iloc[-1] - 1)
    assert figures["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(365))
    assert figures["max_drawdown"] == pytest.approx(0.01)
