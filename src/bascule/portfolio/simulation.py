"""What target weights would have earned: a vectorised portfolio simulation for research.

1. Weights of row t are known at its close and traded at the open of row t + 1, on the rebalancing grid; other
   fill prices can be given, and their difference to the open is booked.
2. Between trades positions drift with opens; where an open is missing, positions are valued, and if need be
   traded, at the last open known.
3. Costs: ``cost`` · traded notional / equity, where the trade goes from drifted to target weights.
4. Frictions, each 0 unless asked for: funding of perpetuals, paid at the open of the row of its rate by what
   is held into that open; interest on shorts and on borrowed cash, each bar; liquidation, when equity at a
   candle's worst prices (longs at the low, shorts at the high) is below the maintenance margin: all is closed
   there, for a fee, and nothing is held until the next trade.
5. Equity is marked at opens: point k of the curve is the open of row k + 1, point 0 is 1. Equity that falls
   to 0 stays there.

Everything between two trades is linear in the equity after the first, so the rows of a whole block are
computed at once and segments between trades are joined by one cumulative product (`ledger.py`). It knows
nothing of order types, lot sizes or partial fills: that is freqtrade's part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from bascule.core import ConfigError, DataError, Panel, Settings, UniverseError
from bascule.core.panel import BoolArray, FloatArray
from bascule.core.timeframe import TimeArray
from bascule.evaluate.rows import Float64Array
from bascule.portfolio.ledger import Book, run


class Frictions(Settings):
    """Costs of holding positions, and what happens when they go too far."""

    funding: bool = Field(default=False, description="perpetuals: pay the panel's funding_rate")
    borrow: float = Field(
        default=0.0, ge=0, le=10, description="interest a year on shorts and on borrowed cash"
    )
    maintenance: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="maintenance margin, share of gross positions; 0 = no liquidation",
    )
    liquidation_fee: float = Field(
        default=0.005, ge=0, lt=1, description="share of the positions closed by force"
    )


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
        funding: share of equity paid per step, negative = received ``[M − 1]``.
        interest: share of equity paid per step ``[M − 1]``.
        liquidated: steps in which all was closed by force ``[M − 1]``.
    """

    time: TimeArray
    equity: Float64Array
    returns: Float64Array
    costs: Float64Array
    turnover: Float64Array
    exposure: Float64Array
    bars_a_year: float
    funding: Float64Array
    interest: Float64Array
    liquidated: BoolArray

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
            "funding": float(self.funding.sum()),
            "interest": float(self.interest.sum()),
            "liquidations": float(self.liquidated.sum()),
            "exposure": float(self.exposure.mean()) if len(self.exposure) else 0.0,
        }


def simulate(
    weights: FloatArray,
    panel: Panel,
    cost: float = 0.001,
    *,
    every: int = 1,
    frictions: Frictions | None = None,
    fills: FloatArray | None = None,
) -> Simulation:
    """Follow target weights through a panel's opens.

    Args:
        weights: shares of equity ``[T, N]``; NaN and instruments without any price so far count 0.
        panel: needs ``open``; ``funding_rate`` for funding, ``high`` and ``low`` for liquidation.
        cost: of one unit of notional traded (0.001 = 10 basis points: fee, spread and slippage together).
        every: rebalance only at rows on the absolute grid of this many bars; between, positions drift.
        frictions: funding, interest, liquidation; default none.
        fills: prices at which the trades of row t are done ``[T, N]``; NaN = the open of row t + 1.

    Raises:
        DataError: shapes do not fit, a field is missing, or fewer than 3 rows.
    """
    if weights.shape != panel.shape or len(weights) < 3 or (fills is not None and fills.shape != panel.shape):
        raise DataError(
            f"weights {list(weights.shape)} do not fit panel {list(panel.shape)} of at least 3 rows",
            where="simulate",
        )
    if every < 1 or not cost >= 0.0:
        raise ConfigError(f"every {every}, cost {cost}", where="simulate", remedy="every ≥ 1 and cost ≥ 0")
    tick = panel.time.astype(np.int64) // panel.timeframe.delta.astype(np.int64)
    return _run(weights, panel, tick % every == 0, cost, frictions or Frictions(), fills)


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


def _known_price(panel: Panel) -> Float64Array:
    """Opens, a missing one replaced by the last one known ``[T, N]``."""
    opens = panel["open"].astype(np.float64)
    holes = np.flatnonzero(np.isnan(opens).any(axis=0))
    if len(holes):
        part = opens[:, holes]
        rows = np.arange(len(opens))[:, None]
        last = np.maximum.accumulate(np.where(np.isfinite(part), rows, -1), axis=0)
        held = np.take_along_axis(part, np.maximum(last, 0), axis=0)
        opens[:, holes] = np.where(last >= 0, held, np.nan)
    return opens


def _hold(panel: Panel, row: int, weight: Float64Array, cost: float) -> Simulation:
    """Trade once, at ``row``; flat before."""
    target = np.zeros(panel.shape, np.float32)
    target[row] = weight
    trades = np.zeros(len(panel.time), bool)
    trades[row] = True
    return _run(target, panel, trades, cost, Frictions(), None)


def _run(
    weights: FloatArray,
    panel: Panel,
    trades: BoolArray,
    cost: float,
    frictions: Frictions,
    fills: FloatArray | None,
) -> Simulation:
    """Rows of ``trades`` set positions at the next open."""
    book = Book(
        price=_known_price(panel),
        cost=cost,
        fills=fills,
        funding=panel["funding_rate"] if frictions.funding else None,
        worst=(panel["low"], panel["high"]) if frictions.maintenance > 0.0 else None,
        borrow=frictions.borrow / panel.timeframe.bars_a_year,
        maintenance=frictions.maintenance,
        fee=frictions.liquidation_fee,
    )
    found = run(weights, np.flatnonzero(trades[: len(trades) - 2]), book)
    equity = found.equity
    returns = np.zeros(len(equity) - 1)
    np.divide(equity[1:] - equity[:-1], equity[:-1], out=returns, where=equity[:-1] > 0.0)
    return Simulation(
        panel.time[1:],
        equity,
        returns,
        found.costs,
        found.turnover,
        found.exposure,
        panel.timeframe.bars_a_year,
        found.funding,
        found.interest,
        found.liquidated,
    )
