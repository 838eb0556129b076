"""Losses for freqtrade's hyper-optimisation; smaller is better.

All judge the equity marked to market at every candle (`results.marked`), not the profit of closed trades,
which hides what open positions lose.

1. `DeflatedSharpeLoss`: how many standard errors the daily Sharpe ratio lies above what the best of so many
   worthless tries is expected to have (Bailey & López de Prado 2014, "The Deflated Sharpe Ratio"). The number
   of tries is known before the first: those that the ledger counts on these candles, and the epochs to come;
   worthless tries are taken to differ by the error of a Sharpe ratio of 0 over so many days. The probability
   itself would be 0 or 1 to the last digit nearly everywhere, and no guide to an optimiser.
2. `CalmarTurnoverLoss`: simple annual return over the largest drawdown, after a further cost on all that is
   traded: who trades much must earn it.
3. `WorstRegimeLoss`: the mean daily return less one standard error, of the market regime where that is least.

Settings are in the configuration, key ``bascule.hyperopt`` (`LossSettings`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from freqtrade.exceptions import OperationalException
from freqtrade.optimize.hyperopt_loss.hyperopt_loss_interface import IHyperOptLoss
from pydantic import Field

from bascule.bridge.freqtrade.results import changes_of, marked
from bascule.core import ConfigError, Settings, Timeframe
from bascule.evaluate import SharpeStatistics, expected_best_sharpe
from bascule.evaluate.rows import Float64Array

KEY = "bascule.hyperopt"
HOPELESS = 1_000.0  # where a figure is not defined; freqtrade's own mark for too few trades is 100,000
_DAYS = 365.0
_LEAST_DRAWDOWN = 0.01  # a handful of lucky trades has none, and would have an endless ratio


class LossSettings(Settings):
    """What the losses need to know."""

    trials: int | None = Field(
        default=None,
        ge=1,
        description="sets of parameters that these candles will have seen; None: epochs",
    )
    turnover_cost: float = Field(
        default=0.0005, ge=0, le=0.05, description="further cost of what is traded, fraction of its value"
    )
    regime_days: int = Field(default=10, ge=2, description="fewest days of a regime that is judged by itself")

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> LossSettings:
        """Read a freqtrade configuration; without a number of trials its epochs are taken."""
        given = dict((config.get("bascule") or {}).get("hyperopt") or {})
        if given.get("trials") is None:
            given["trials"] = max(1, int(config.get("epochs") or 1))
        try:
            return cls.read(given, where=KEY)
        except ConfigError as error:
            raise OperationalException(str(error)) from None


def equity(
    trades: pd.DataFrame,
    processed: Mapping[str, pd.DataFrame],
    bar: Timeframe,
    first: datetime,
    last: datetime,
    balance: float,
    *,
    cost: float = 0.0,
) -> pd.Series:
    """Marked equity at each candle's open, UTC.

    Args:
        trades: freqtrade's.
        processed: pair → its candles.
        bar: candle length.
        first: first candle.
        last: last candle.
        balance: at the start.
        cost: taken off the value of every entry and exit, on top of the fees.
    """
    times = pd.date_range(first, last + pd.Timedelta(seconds=bar.seconds), freq=f"{bar.seconds}s", tz="UTC")
    found = marked(times, balance, trades, lambda pair: processed[pair][["date", "open", "close"]])
    if cost and len(trades):
        paid = np.zeros(len(times) + 1)
        changes = changes_of(trades)
        plain = trades[[not one for one in changes]]
        for when, rate in (("open_date", "open_rate"), ("close_date", "close_rate")):
            place = times.searchsorted(pd.DatetimeIndex(plain[when]))
            np.add.at(paid, place, cost * (plain["amount"] * plain[rate]).to_numpy(np.float64))
        orders = [order for one in changes for order in one]
        place = np.searchsorted(times.as_unit("ms").asi8, [order.at for order in orders])
        np.add.at(paid, place, [cost * order.amount * order.price for order in orders])
        found = found - np.cumsum(paid)[:-1]
    return found


def daily(curve: pd.Series) -> pd.Series:
    """Returns of whole days; −1 on the day of ruin, 0 after it."""
    days = curve.resample("1D").last().ffill()
    days = days.where(days.cummin() > 0, 0.0)
    before = days.shift()
    return (days / before.where(before > 0) - 1).fillna(0.0).iloc[1:]


def standard_errors_above_luck(returns: Float64Array, trials: int) -> float:
    """Standard errors of the Sharpe ratio above that of the best of ``trials`` worthless ones; NaN undefined.

    The deflated Sharpe ratio is the normal distribution of this.
    """
    found = SharpeStatistics.of(returns)
    ratio = found.sharpe
    spread = 1.0 - found.skew * ratio + (found.kurtosis - 1.0) / 4.0 * ratio**2
    if not found.n > 1 or not spread > 0.0:
        return math.nan
    luck = expected_best_sharpe(trials, 1.0 / (found.n - 1.0))
    return (ratio - luck) * math.sqrt(found.n - 1.0) / math.sqrt(spread)


def calmar(curve: pd.Series) -> float:
    """Simple annual return over the largest drawdown (at least 1 %); NaN for less than a day."""
    days = float((curve.index[-1] - curve.index[0]).total_seconds()) / 86_400
    if not days >= 1:
        return math.nan
    drawdown = float((1 - curve / curve.cummax()).max())
    annual = float(curve.iloc[-1] / curve.iloc[0] - 1) * _DAYS / days
    return annual / max(drawdown, _LEAST_DRAWDOWN)


def worst_regime(returns: pd.Series, regimes: pd.Series, least: int) -> float:
    """Annual mean return less one standard error, of the worst regime; of all days if none is long enough.

    Args:
        returns: of days.
        regimes: of the same days, as known when they began; NaN or negative: unknown.
        least: days that a regime must have.
    """
    parts = [part for name, part in returns.groupby(regimes) if name >= 0 and len(part) >= least]
    bounds = [float(part.mean() - part.std(ddof=1) / math.sqrt(len(part))) for part in parts or [returns]]
    return _DAYS * min(bounds)


def regimes(processed: Mapping[str, pd.DataFrame], days: pd.DatetimeIndex) -> pd.Series:
    """The market regime at the beginning of each day: that of the last candle before it.

    Raises:
        OperationalException: the strategy gives no column ``regime``.
    """
    for frame in processed.values():
        if "regime" in frame:
            known = frame.set_index("date")["regime"]
            known = known[~known.index.duplicated(keep="last")]
            place = known.index.searchsorted(days) - 1
            values = known.to_numpy(np.float64)
            return pd.Series(np.where(place >= 0, values[np.maximum(place, 0)], np.nan), days)
    raise OperationalException(
        f"{KEY}: the strategy gives no column 'regime'\n  remedy: use FactorStrategy, or another loss"
    )


def _curve(cost: float, given: Mapping[str, Any]) -> pd.Series:
    bar = Timeframe.parse(str(given["config"]["timeframe"]))
    return equity(
        given["results"],
        given["processed"],
        bar,
        given["min_date"],
        given["max_date"],
        float(given["starting_balance"]),
        cost=cost,
    )


def _finite(value: float) -> float:
    return -value if math.isfinite(value) else HOPELESS


class DeflatedSharpeLoss(IHyperOptLoss):
    """Standard errors above luck, negative."""

    @staticmethod
    def hyperopt_loss_function(**given: Any) -> float:
        """See the module; arguments are freqtrade's."""
        settings = LossSettings.of(given["config"])
        returns = daily(_curve(0.0, given)).to_numpy(np.float64)
        return _finite(standard_errors_above_luck(returns, settings.trials or 1))


class CalmarTurnoverLoss(IHyperOptLoss):
    """Calmar ratio after a further cost of turnover, negative."""

    @staticmethod
    def hyperopt_loss_function(**given: Any) -> float:
        """See the module; arguments are freqtrade's."""
        return _finite(calmar(_curve(LossSettings.of(given["config"]).turnover_cost, given)))


class WorstRegimeLoss(IHyperOptLoss):
    """Cautious annual return of the worst market regime, negative."""

    @staticmethod
    def hyperopt_loss_function(**given: Any) -> float:
        """See the module; arguments are freqtrade's."""
        settings = LossSettings.of(given["config"])
        returns = daily(_curve(0.0, given))
        known = regimes(given["processed"], pd.DatetimeIndex(returns.index))
        return _finite(worst_regime(returns, known, settings.regime_days))
