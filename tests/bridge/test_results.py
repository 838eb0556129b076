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


def test_risk_figures_of_a_known_curve() -> None:
    days = pd.date_range("2023-01-01", periods=366, freq="D", tz="UTC")
    returns = np.resize([0.02, -0.01], 365)
    curve = pd.Series(np.concatenate([[1.0], np.cumprod(1 + returns)]), days)
    figures = risk_figures(curve)
    assert figures["cagr"] == pytest.approx(curve.iloc[-1] - 1)
    assert figures["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(365))
    assert figures["max_drawdown"] == pytest.approx(0.01)
