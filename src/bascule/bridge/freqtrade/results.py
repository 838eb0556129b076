"""What a backtest brought, read from freqtrade's result file.

The equity curve is marked to market at the open of each candle, from the candles. freqtrade's own record of
the wallet (checked on 2026.9) leaves out the open positions of futures, which hides drawdowns, and on spot
those in coins that are no longer traded, which vanish from it and come back at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bascule.bridge.freqtrade import datafiles
from bascule.core import BridgeError, Instrument, Timeframe
from bascule.core.files import atomic_file

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
        equity: value of wallet and open positions at each candle's open, in the stake currency; UTC index.
        metrics: closed-trade figures of freqtrade (`total_trades`, `profit_total`, `winrate`,
            `profit_factor`, …), and from the equity ``cagr``, ``max_drawdown``, ``calmar``, and of its daily
            returns, annualised over 365 days, ``volatility``, ``sharpe``, ``sortino``. Fractions, not
            percent; NaN where a figure cannot be formed.
        path: the zip that freqtrade wrote.
    """

    strategy: str
    trades: pd.DataFrame
    equity: pd.Series
    metrics: dict[str, float]
    path: Path


def load(path: Path, *, datadir: Path | None = None) -> BacktestResult:
    """Read a result.

    Args:
        path: freqtrade's result zip, or a ``backtest_results`` folder (then its latest).
        datadir: freqtrade's data folder; needed for futures with trades at the first reading. The equity is
            kept beside the zip, so that later readings need no candles.

    Raises:
        BridgeError: there is none, it is damaged, holds other than one strategy, or is of futures and
            ``datadir`` is missing.
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
        trades = _trades(load_backtest_data(zipped, names[0]))
        wallet = get_backtest_wallet_change(zipped, names[0])
    except (OSError, ValueError, KeyError, BadZipFile, OperationalException) as error:
        raise BridgeError(
            f"cannot read a backtest result: {error}", where=str(path), remedy="run the backtest again"
        ) from None
    found = stats["strategy"][names[0]]
    equity = _equity(wallet, found)
    if len(trades):
        equity = _kept(zipped, equity, trades, found, datadir)
    figures = {name: _number(found.get(name)) for name in _FIGURES}
    return BacktestResult(names[0], trades, equity, {**figures, **risk_figures(equity)}, zipped)


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


def _kept(
    zipped: Path, wallet: pd.Series, trades: pd.DataFrame, stats: dict[str, Any], datadir: Path | None
) -> pd.Series:
    """The marked equity: from the candles, and then kept beside the zip; without candles read from there."""
    import pandas as pd

    path = zipped.with_suffix(".equity.parquet")
    if datadir is not None:
        equity = _marked(wallet, trades, stats, datadir)
        with atomic_file(path) as aside:
            equity.to_frame().to_parquet(aside)
        return equity
    if not path.is_file():
        raise BridgeError(
            "freqtrade's wallet record leaves positions out",
            where=str(zipped),
            remedy="pass datadir, so that they can be valued from the candles",
        )
    kept: pd.Series = pd.read_parquet(path)["equity"]
    return kept


def _marked(wallet: pd.Series, trades: pd.DataFrame, stats: dict[str, Any], datadir: Path) -> pd.Series:
    """The marked equity at the wallet's times, with prices of the candles on disk."""
    import pandas as pd

    times = pd.DatetimeIndex(wallet.index)
    kind = "futures" if stats["trading_mode"] == "futures" else ""

    def candles(pair: str) -> pd.DataFrame:
        bar = Timeframe.parse(stats["timeframe"])
        path = datafiles.file(datadir, Instrument.parse(pair), bar, kind)
        return pd.read_feather(path, columns=["date", "open", "close"])

    return marked(times, _number(stats["starting_balance"]), trades, candles)


def marked(
    times: pd.DatetimeIndex, start: float, trades: pd.DataFrame, candles: Callable[[str], pd.DataFrame]
) -> pd.Series:
    """Starting balance + profit of closed trades + profit of open ones at each candle's open.

    A position in an instrument that trades no more keeps its last price. At its exit a trade counts as
    closed, at its entry not yet as open, as in freqtrade's spot record. A position that was changed while it
    was open is worth what it held at each time, order by order: the trade list tells its last size only.
    Funding counts when a trade is closed.

    Args:
        times: candle opens, UTC.
        start: balance before the first trade.
        trades: freqtrade's trade list, with its ``orders`` where positions were changed.
        candles: pair → its candles (``date``, ``open``, ``close``).
    """
    import pandas as pd

    value = np.full(len(times), start)
    stamps = times.as_unit("ms").asi8
    for pair, group in trades.groupby("pair"):
        frame = candles(str(pair)).set_index("date")
        # a missing candle has no open: the last close holds, as freqtrade fills it
        known = frame["open"].reindex(times)
        price = known.fillna(frame["close"].reindex(times, method="ffill")).to_numpy()
        entered = times.searchsorted(pd.DatetimeIndex(group["open_date"])) + 1
        left = times.searchsorted(pd.DatetimeIndex(group["close_date"]))
        numbers = group[["amount", "open_rate", "fee_open", "profit_abs"]].to_numpy(np.float64)
        sides = np.where(group["is_short"].to_numpy(np.bool_), -1.0, 1.0)
        for first, last, side, (amount, rate, fee, profit), changes in zip(
            entered, left, sides, numbers, changes_of(group), strict=True
        ):
            value[last:] += profit
            if not changes:
                value[first:last] += amount * (side * (price[first:last] - rate) - fee * rate)
                continue
            for since, until, held, paid in _stretches(changes, stamps, int(last), side):
                value[since:until] += side * held * price[since:until] + paid
    return pd.Series(value, times, name="equity")


@dataclass(frozen=True)
class Change:
    """A filled order of a position that was changed while it was open.

    Attributes:
        at: when it was filled, milliseconds since 1970.
        amount: base units, > 0.
        price: in the quote currency.
        entry: it opened or increased the position.
        fee: fraction of the value.
    """

    at: int
    amount: float
    price: float
    entry: bool
    fee: float


def changes_of(trades: pd.DataFrame) -> list[tuple[Change, ...]]:
    """The filled orders of each trade, oldest first; none of trades that were opened and closed in one go."""
    if "orders" not in trades:
        return [()] * len(trades)
    opening = trades["fee_open"].to_numpy(np.float64)
    closing = trades["fee_close"].to_numpy(np.float64)
    found = []
    for orders, fee_in, fee_out in zip(trades["orders"], opening, closing, strict=True):
        filled = [one for one in orders if one["order_filled_timestamp"]]
        found.append(
            tuple(
                Change(
                    int(one["order_filled_timestamp"]),
                    float(one["amount"]),
                    float(one["safe_price"]),
                    bool(one["ft_is_entry"]),
                    float(fee_in if one["ft_is_entry"] else fee_out),
                )
                for one in sorted(filled, key=lambda one: int(one["order_filled_timestamp"]))
            )
            if len(filled) > 2
            else ()
        )
    return found


def _stretches(
    changes: tuple[Change, ...], stamps: NDArray[np.int64], last: int, side: float
) -> Iterator[tuple[int, int, float, float]]:
    """Rows from and until, amount held, and cash gained or spent so far, between the orders of a trade."""
    places = np.searchsorted(stamps, [one.at for one in changes])
    # as for whole trades: an entry counts after its candle's open, an exit at it
    begins = np.maximum.accumulate([int(k) + one.entry for k, one in zip(places, changes, strict=True)])
    ends = [*begins[1:].tolist(), last]
    held = paid = 0.0
    for one, since, until in zip(changes, begins.tolist(), ends, strict=True):
        sign = 1.0 if one.entry else -1.0
        held += sign * one.amount
        paid -= (sign * side + one.fee) * one.amount * one.price
        yield since, min(until, last), held, paid


def risk_figures(equity: pd.Series) -> dict[str, float]:
    """``cagr, volatility, sharpe, sortino, max_drawdown, calmar`` of an equity curve."""
    nan = float("nan")
    days = (equity.index[-1] - equity.index[0]).total_seconds() / 86_400
    growth = float(equity.iloc[-1] / equity.iloc[0])
    cagr = growth ** (365 / days) - 1 if days > 0 and growth > 0 else nan
    drawdown = float((1 - equity / equity.cummax()).max())
    returns = equity.resample("1D").last().ffill().pct_change().dropna().to_numpy()
    year = float(np.sqrt(365))
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else nan
    downside = float(np.sqrt(np.mean(np.minimum(returns, 0) ** 2))) if len(returns) else nan
    mean = float(returns.mean()) if len(returns) else nan
    return {
        "cagr": cagr,
        "volatility": deviation * year,
        "sharpe": mean / deviation * year if deviation > 0 else nan,
        "sortino": mean / downside * year if downside > 0 else nan,
        "max_drawdown": drawdown,
        "calmar": cagr / drawdown if drawdown > 0 else nan,
    }


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
