"""What a backtest brought, read from freqtrade's result file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bascule.core import BridgeError

if TYPE_CHECKING:
    import pandas as pd

# closed-trade figures of freqtrade's statistics that are passed on under their own names
_FIGURES = (
    "total_trades",
    "profit_total",
    "profit_total_abs",
    "winrate",
    "profit_factor",
    "expectancy",
    "sqn",
    "trade_count_long",
    "trade_count_short",
    "starting_balance",
    "final_balance",
    "market_change",
)
_TRADE_COLUMNS = ("pair", "open_date", "close_date", "is_short", "profit_ratio", "profit_abs", "exit_reason")


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """One strategy's backtest.

    Attributes:
        strategy: class name.
        trades: freqtrade's trade list, one row a closed trade (`pair`, `open_date`, `close_date`,
            `open_rate`, `close_rate`, `stake_amount`, `leverage`, `is_short`, `profit_ratio`, `profit_abs`,
            `funding_fees`, `exit_reason`, …).
        equity: value of the wallet at each candle, marked to market, in the stake currency; UTC index.
        metrics: closed-trade figures of freqtrade (`total_trades`, `profit_total`, `winrate`,
            `profit_factor`, …), and from the marked-to-market wallet ``cagr``, ``sharpe``, ``sortino``,
            ``calmar``, ``max_drawdown`` (fractions, not percent). A figure that freqtrade could not form
            is NaN.
        path: the zip that freqtrade wrote.
    """

    strategy: str
    trades: pd.DataFrame
    equity: pd.Series
    metrics: dict[str, float]
    path: Path


def load(path: Path) -> BacktestResult:
    """Read a result.

    Args:
        path: freqtrade's result zip, or a ``backtest_results`` folder (then its latest).

    Raises:
        BridgeError: there is none, it is damaged, or it holds other than one strategy.
    """
    from freqtrade.data.btanalysis import (
        get_backtest_wallet_change,
        get_latest_backtest_filename,
        load_backtest_data,
        load_backtest_stats,
    )
    from freqtrade.exceptions import OperationalException

    try:
        zipped = path / get_latest_backtest_filename(path) if path.is_dir() else path
        stats = load_backtest_stats(zipped)
        names = list(stats["strategy"])
        if len(names) != 1:
            raise BridgeError(f"expected one strategy, found {names}", where=str(zipped))
        trades = load_backtest_data(zipped, names[0])
        wallet = get_backtest_wallet_change(zipped, names[0])
    except (OSError, ValueError, KeyError, OperationalException) as error:
        raise BridgeError(
            f"cannot read a backtest result: {error}", where=str(path), remedy="run the backtest again"
        ) from None
    found = stats["strategy"][names[0]]
    equity = _equity(wallet, found)
    figures = {name: _number(found.get(name)) for name in _FIGURES}
    return BacktestResult(
        names[0], _trades(trades), equity, {**figures, **_wallet_figures(found, equity)}, zipped
    )


def _trades(frame: pd.DataFrame | None) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns=list(_TRADE_COLUMNS)) if frame is None or frame.empty else frame


def _equity(wallet: pd.DataFrame | None, stats: dict[str, Any]) -> pd.Series:
    """Wallet captures (date, currency, rate, balance) to one value a date."""
    import pandas as pd

    if wallet is None or wallet.empty:
        start = pd.Timestamp(stats["backtest_start"], tz="UTC")
        return pd.Series([_number(stats["starting_balance"])], pd.DatetimeIndex([start]), name="equity")
    value = wallet["rate"] * wallet["balance"]
    equity: pd.Series = value.groupby(wallet["date"]).sum().rename("equity")
    return equity


def _wallet_figures(stats: dict[str, Any], equity: pd.Series) -> dict[str, float]:
    """Risk figures marked to market; freqtrade's closed-trade ones understate drawdowns."""
    wallet = stats.get("wallet_stats") or {}
    days = (equity.index[-1] - equity.index[0]).total_seconds() / 86_400
    growth = float(equity.iloc[-1] / equity.iloc[0])
    peak = equity.cummax()
    return {
        "cagr": growth ** (365 / days) - 1 if days > 0 and growth > 0 else float("nan"),
        "sharpe": _number(wallet.get("sharpe")),
        "sortino": _number(wallet.get("sortino")),
        "calmar": _number(wallet.get("calmar")),
        "max_drawdown": float((1 - equity / peak).max()),
    }


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
