"""A small vectorised portfolio simulation, for reports and for comparing with doing nothing.

1. Weights of row t are known at its close and traded at the open of row t + 1, on the rebalancing grid.
2. Between trades positions drift with opens; where an open is missing, positions are valued, and if need be
   traded, at the last open known.
3. Costs: ``cost`` · traded notional / equity, where the trade goes from drifted to target weights.
4. Equity is marked at opens: point k of the curve is the open of row k + 1, point 0 is 1. Equity that falls
   to 0 stays there.

It knows nothing of order types, funding, lot sizes or partial fills: that is freqtrade's part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bascule.core import ConfigError, DataError, Panel, UniverseError
from bascule.core.panel import BoolArray, FloatArray
from bascule.core.timeframe import TimeArray
from bascule.evaluate.rows import Float64Array


@dataclass(frozen=True, eq=False)
class Simulation:
    """What became of 1 unit of equity.

    Attributes:
        time: when each point of the curve is marked (candle opens) ``[M]``.
        equity: after costs ``[M]``, first point 1.
        returns: after costs, from point to point ``[M − 1]``.
        costs: share of equity paid per step ``[M − 1]``.
        turnover: Σ|Δw| traded at the beginning of each step ``[M − 1]``.
        exposure: Σ|w| after trading, per step ``[M − 1]``.
        bars_a_year: of the panel, for annualising (365 days).
    """

    time: TimeArray
    equity: Float64Array
    returns: Float64Array
    costs: Float64Array
    turnover: Float64Array
    exposure: Float64Array
    bars_a_year: float

    @property
    def drawdown(self) -> Float64Array:
        """Fall from the highest equity so far, ≥ 0 ``[M]``."""
        peak = np.maximum.accumulate(self.equity)
        return 1.0 - self.equity / peak

    @property
    def max_drawdown(self) -> float:
        """Largest of `drawdown`."""
        return float(self.drawdown.max())

    @property
    def total_return(self) -> float:
        """Last equity − 1."""
        return float(self.equity[-1] - 1.0)

    @property
    def annual_return(self) -> float:
        """Compound growth a year; −1 after ruin, NaN without a step."""
        if not len(self.returns):
            return float("nan")
        return float(max(self.equity[-1], 0.0) ** (self.bars_a_year / len(self.returns)) - 1.0)

    @property
    def annual_volatility(self) -> float:
        """Deviation of returns, annualised; NaN for fewer than 2 steps."""
        if len(self.returns) < 2:
            return float("nan")
        return float(self.returns.std(ddof=1) * np.sqrt(self.bars_a_year))

    @property
    def sharpe(self) -> float:
        """Mean return / deviation, annualised, no risk-free rate; NaN where returns do not vary."""
        deviation = self.annual_volatility
        if not deviation > 0.0:
            return float("nan")
        return float(self.returns.mean() * self.bars_a_year / deviation)

    @property
    def turnover_a_day(self) -> float:
        """Mean Σ|Δw| a day; NaN without a step."""
        if not len(self.returns):
            return float("nan")
        return float(self.turnover.mean() * self.bars_a_year / 365.0)

    def summary(self) -> dict[str, float]:
        """The figures of a report."""
        return {
            "total_return": self.total_return,
            "annual_return": self.annual_return,
            "annual_volatility": self.annual_volatility,
            "sharpe": self.sharpe,
            "max_drawdown": self.max_drawdown,
            "turnover_a_day": self.turnover_a_day,
            "cost": float(self.costs.sum()),
            "exposure": float(self.exposure.mean()) if len(self.exposure) else 0.0,
        }


def simulate(weights: FloatArray, panel: Panel, cost: float = 0.001, *, every: int = 1) -> Simulation:
    """Follow target weights through a panel's opens.

    Args:
        weights: shares of equity ``[T, N]``; NaN and instruments without any price so far count 0.
        panel: needs ``open``.
        cost: of one unit of notional traded (0.001 = 10 basis points: fee, spread and slippage together).
        every: rebalance only at rows on the absolute grid of this many bars; between, positions drift.

    Raises:
        DataError: shapes do not fit, or fewer than 3 rows.
    """
    if weights.shape != panel.shape or len(weights) < 3:
        raise DataError(
            f"weights {list(weights.shape)} do not fit panel {list(panel.shape)} of at least 3 rows",
            where="simulate",
        )
    if every < 1 or not cost >= 0.0:
        raise ConfigError(f"every {every}, cost {cost}", where="simulate", remedy="every ≥ 1 and cost ≥ 0")
    price = _known_price(panel)
    target = np.where(np.isfinite(weights) & np.isfinite(_entry_price(price)), weights, 0.0)
    tick = panel.time.astype(np.int64) // panel.timeframe.delta.astype(np.int64)
    return _run(target.astype(np.float64), price, tick % every == 0, panel, cost)


def equal_hold(panel: Panel, cost: float = 0.001) -> Simulation:
    """Buy all members of the first row that has any, in equal parts, and hold them."""
    rows = np.flatnonzero(panel.members.any(axis=1))
    if not len(rows) or rows[0] > len(panel.time) - 3:
        raise UniverseError(
            "no members to hold", where="equal_hold", remedy="widen the universe or the dates"
        )
    members = panel.members[rows[0]]
    return _hold(panel, int(rows[0]), np.where(members, 1.0 / members.sum(), 0.0), cost)


def leader_hold(panel: Panel, leader: str, cost: float = 0.001) -> Simulation:
    """Buy one instrument, e.g. ``BTC_USDT``, at its first candle and hold it."""
    if leader not in panel.instruments:
        raise UniverseError(
            f"{leader} is not in the panel",
            where="leader_hold",
            remedy=f"choose one of {', '.join(panel.instruments[:8])}, …",
        )
    n = panel.instruments.index(leader)
    rows = np.flatnonzero(panel.traded[:, n])
    if not len(rows) or rows[0] > len(panel.time) - 3:
        raise UniverseError(f"{leader} has no candles to hold", where="leader_hold", remedy="widen the dates")
    weight = np.zeros(len(panel.instruments))
    weight[n] = 1.0
    return _hold(panel, int(rows[0]), weight, cost)


def _entry_price(price: Float64Array) -> Float64Array:
    """Price at which weights of row t are traded: row t + 1's; NaN for the last row ``[T, N]``."""
    entry = np.full(price.shape, np.nan)
    entry[:-1] = price[1:]
    return entry


def _known_price(panel: Panel) -> Float64Array:
    """Opens, a missing one replaced by the last one known ``[T, N]``."""
    opens = panel["open"].astype(np.float64)
    rows = np.arange(len(opens))[:, None]
    last = np.maximum.accumulate(np.where(np.isfinite(opens), rows, -1), axis=0)
    held = np.take_along_axis(opens, np.maximum(last, 0), axis=0)
    return np.where(last >= 0, held, np.nan)


def _hold(panel: Panel, row: int, weight: Float64Array, cost: float) -> Simulation:
    """Trade once, at ``row``; flat before."""
    target = np.zeros(panel.shape)
    target[row] = weight
    trades = np.zeros(len(panel.time), bool)
    trades[row] = True
    price = _known_price(panel)
    target = np.where(np.isfinite(_entry_price(price)), target, 0.0)
    return _run(target, price, trades, panel, cost)


def _run(
    target: Float64Array, price: Float64Array, trades: BoolArray, panel: Panel, cost: float
) -> Simulation:
    """Rows of ``trades`` set positions at the next open; a loop over trades, vectorised between them."""
    steps = len(price) - 2
    equity = np.ones(steps + 1)
    costs, turnover, exposure = np.zeros(steps), np.zeros(steps), np.zeros(steps)
    drifted = np.zeros(price.shape[1])
    starts = np.flatnonzero(trades[:steps])
    for start, stop in zip(starts, [*starts[1:], steps], strict=True):
        wanted = target[start]
        turnover[start] = np.abs(wanted - drifted).sum()
        costs[start] = min(1.0, cost * turnover[start])
        paid = equity[start] * (1.0 - costs[start])
        # positions, then all equity, per unit paid in, at each open up to the next trade
        growth = price[start + 1 : stop + 2] / price[start + 1]
        value = np.where(wanted != 0.0, wanted * growth, 0.0)
        whole = 1.0 - wanted.sum() + value.sum(axis=1)
        ruined = np.logical_or.accumulate(whole <= 0.0)
        whole[ruined] = 0.0
        equity[start + 1 : stop + 1] = paid * whole[1:]
        alive = np.where(ruined, 1.0, whole)
        exposure[start:stop] = np.where(ruined, 0.0, np.abs(value).sum(axis=1) / alive)[:-1]
        if ruined[-1] or paid == 0.0:
            equity[stop + 1 :] = 0.0
            break
        drifted = value[-1] / whole[-1]
    returns = np.zeros(steps)
    np.divide(equity[1:] - equity[:-1], equity[:-1], out=returns, where=equity[:-1] > 0.0)
    return Simulation(panel.time[1:], equity, returns, costs, turnover, exposure, panel.timeframe.bars_a_year)
