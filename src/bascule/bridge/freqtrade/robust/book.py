"""The strategy's rules without freqtrade: what would have been held, for many scenarios at once.

Time runs once, row by row; all scenarios and instruments are one array ``[C, N]``:

1. A position whose stop lies within candle *t* is closed there: at the stop, or at the open if the candle
   opened beyond it.
2. Signals of row *t* (less the delay) close positions at the open of *t + 1* and open others there, as
   `FactorStrategy` does: thresholds on rank and risks, size by target weight of the equity, never more than
   the cash at hand. What was stopped is entered again one candle later at the earliest.
3. Stops begin at the entry row's distance from the entry price and only tighten. One that tightens past the
   price closes at the next open.
4. Between, positions keep their number of units: nothing is rebalanced.

The result is weights and fill prices for `portfolio.simulate`, which does the accounting. Not modelled:
minimum order sizes, partial fills, pairs that left the exchange; freqtrade's own backtests of the key points
show what that amounts to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bascule.core import DataError, Panel
from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate.rows import Float64Array
from bascule.signals import RuleSettings, SignalFrame


@dataclass(frozen=True)
class Scenario:
    """One way in which things could have gone.

    Attributes:
        test: which test it belongs to.
        name: unique within the test.
        rules: thresholds.
        fee: a side, fraction of the value.
        slippage: a side, fraction of the value.
        delay: candles by which signals come late.
        start: rows left out at the beginning.
        stop: factor on all stop distances.
        size: factor on all target weights.
        without: an instrument that is not traded.
        tradable: share of the equity that is used.
    """

    test: str
    name: str
    rules: RuleSettings
    fee: float
    slippage: float
    delay: int = 0
    start: int = 0
    stop: float = 1.0
    size: float = 1.0
    without: str | None = None
    tradable: float = 0.99

    @property
    def cost(self) -> float:
        """Of one unit of value traded."""
        return self.fee + self.slippage


@dataclass(frozen=True, eq=False)
class Trades:
    """Closed trades of one scenario, by time of exit.

    Attributes:
        instrument: column ``[K]``.
        entered: row whose signal opened it ``[K]``.
        left: row whose candle or signal closed it ``[K]``.
        earned: gain after costs, share of the equity at the exit ``[K]``.
    """

    instrument: NDArray[np.int64]
    entered: NDArray[np.int64]
    left: NDArray[np.int64]
    earned: Float64Array


@dataclass(frozen=True, eq=False)
class Held:
    """What one scenario held.

    Attributes:
        weights: shares of equity after the trades of each row ``[T, N]``.
        fills: prices of stopped positions ``[T, N]``, NaN = the next open.
        trades: the closed ones.
    """

    weights: FloatArray
    fills: FloatArray
    trades: Trades


@dataclass(frozen=True, eq=False)
class Market:
    """Signals and candles on the same axes.

    Attributes:
        signals: rows ``[T]``.
        panel: rows ``[T]`` and one more where there is one.
        price: opens, a missing one replaced by the last close known ``[T, N]``.
        after: the price at which trades of each row are done: the next row's ``[T, N]``.
        by_weight: positions follow the target weights, not the ranks.
    """

    signals: SignalFrame
    panel: Panel
    price: Float64Array
    after: Float64Array
    by_weight: bool = False

    @classmethod
    def join(cls, signals: SignalFrame, panel: Panel, *, by_weight: bool = False) -> Market:
        """Bring candles to the axes of the signals.

        Raises:
            DataError: the candles do not cover the signals, or a field is missing.
        """
        first = int(np.searchsorted(panel.time, signals.time[0])) if len(signals.time) else 0
        last = first + len(signals.time)
        if not len(signals.time) or last > len(panel.time) or panel.time[first] != signals.time[0]:
            raise DataError(
                f"candles from {panel.time[0]} to {panel.time[-1]} do not cover the signals",
                where="robustness",
                remedy="give the candles that the signals were made from",
            )
        column = {name: i for i, name in enumerate(panel.instruments)}
        shared = [name for name in signals.instruments if name in column]
        if not shared:
            raise DataError("candles and signals share no instrument", where="robustness")
        window = panel.rows(first, last)
        fields: dict[str, FloatArray] = {}
        for name in ("open", "high", "low", "close", "volume", "funding_rate"):
            if name == "funding_rate" and name not in panel.fields:
                continue
            values = np.full((last - first, len(signals.instruments)), np.nan, np.float32)
            for i, instrument in enumerate(signals.instruments):
                if instrument in column:
                    values[:, i] = window[name][:, column[instrument]]
            fields[name] = values
        listed = np.array(
            [
                panel.listed[column[n]] if n in column else np.datetime64("NaT", "ns")
                for n in signals.instruments
            ],
            "datetime64[ns]",
        )
        whole = Panel(panel.timeframe, window.time, signals.instruments, fields, listed)
        price = _filled(whole)
        return cls(signals, whole, price, np.vstack([price[1:], price[-1:]]), by_weight)


def _filled(panel: Panel) -> Float64Array:
    """Opens; a missing one is the last close before it."""
    opens, close = (panel[name].astype(np.float64) for name in ("open", "close"))
    rows = np.arange(len(opens))[:, None]
    known = np.maximum.accumulate(np.where(np.isfinite(close), rows, -1), axis=0)
    before = np.vstack([np.full((1, close.shape[1]), -1), known[:-1]])
    last = np.take_along_axis(close, np.maximum(before, 0), axis=0)
    filled: Float64Array = np.where(np.isfinite(opens), opens, np.where(before >= 0, last, np.nan))
    return filled


def hold(market: Market, scenarios: Sequence[Scenario], *, shorts: bool) -> list[Held]:
    """Follow the rules through time.

    Args:
        market: signals and candles.
        scenarios: run side by side; the memory needed grows with their number.
        shorts: False = only the long side is traded.
    """
    wishes = [_wishes(market, one, shorts=shorts) for one in scenarios]
    run = _Run(market, scenarios, np.stack([w[0] for w in wishes]), np.stack([w[1] for w in wishes]))
    for row in range(len(market.price) - 1):
        run.step(row)
    return run.finish()


def _wishes(market: Market, one: Scenario, *, shorts: bool) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Side to enter (1, -1, 0) and sides to leave (1 long, 2 short, 3 both) by row ``[T, N]``."""
    frame, rules = market.signals, one.rules
    late = one.delay
    rows = np.arange(len(frame.time)) - late
    past = np.maximum(rows, 0)
    known = (rows >= 0)[:, None]
    rank, weight, risk = frame.alpha_rank[past], frame.target_weight[past], frame.risk_score[past]
    portfolio = frame.portfolio_risk[past][:, None]
    traded = np.nan_to_num(market.panel["volume"][past]) > 0
    with np.errstate(invalid="ignore"):
        allowed = known & traded & (risk < rules.risk_limit) & (portfolio < rules.portfolio_limit)
        by_weight = market.by_weight
        long = allowed & (by_weight | (rank >= rules.entry_rank)) & (weight > 0)
        short = allowed & (by_weight | (rank <= 1 - rules.entry_rank)) & (weight < 0)
        gone = frame.covered[past][:, None] & traded & np.isnan(rank)
        critical = (risk >= rules.critical_risk) | (portfolio >= rules.critical_portfolio)
        if by_weight:
            there = frame.covered[past][:, None] & traded
            spent, risen = there & ~(weight > 0), there & ~(weight < 0)
        else:
            spent, risen = rank < rules.exit_rank, rank > 1 - rules.exit_rank
        leave_long = known & (gone | critical | spent)
        leave_short = known & (gone | critical | risen)
    open_ = np.zeros(rank.shape, np.int8)
    open_[long] = 1
    if shorts:
        open_[short] = -1
    # freqtrade refuses an entry that comes with its own exit
    open_[(open_ == 1) & leave_long] = 0
    open_[(open_ == -1) & leave_short] = 0
    open_[: one.start] = 0
    if one.without is not None:
        open_[:, frame.instruments.index(one.without)] = 0
    return open_, (leave_long + 2 * leave_short).astype(np.int8)


class _Run:
    """State of all scenarios at a row."""

    def __init__(
        self,
        market: Market,
        scenarios: Sequence[Scenario],
        entries: NDArray[np.int8],
        exits: NDArray[np.int8],
    ) -> None:
        rows, width = market.price.shape
        shape = (len(scenarios), width)
        self.market, self.scenarios = market, scenarios
        self.entries, self.exits = entries, exits
        self.cost = np.array([one.cost for one in scenarios])[:, None]
        self.tradable = np.array([one.tradable for one in scenarios])[:, None]
        self.late = np.array([one.delay for one in scenarios])
        distance = market.signals.stop_distance.astype(np.float64)
        self.distance = np.where(np.isfinite(distance), distance, np.inf)
        self.stop_scale = np.array([one.stop for one in scenarios])[:, None]
        self.weight = np.nan_to_num(np.abs(market.signals.target_weight).astype(np.float64))
        self.size = np.array([one.size for one in scenarios])[:, None]
        self.units = np.zeros(shape)  # signed
        self.entry = np.ones(shape)
        self.gap = np.full(shape, np.inf)  # tightest stop distance so far
        self.since = np.zeros(shape, np.int64)
        self.cash = np.ones((len(scenarios), 1))
        self.kept_units = np.zeros((shape[0], rows, width))
        self.kept_cash = np.ones((shape[0], rows))
        self.fills = np.full((shape[0], rows, width), np.nan, np.float32)
        self.closed: list[list[tuple[NDArray[np.int64], ...]]] = [[] for _ in scenarios]

    def step(self, row: int) -> None:
        """Stops within candle ``row``, then the orders for the next open."""
        held = self.units != 0.0
        stopped = np.zeros(held.shape, bool)
        if held.any():
            stopped = self._stops(row, held)
            held &= ~stopped
        wanted = self.exits[:, row]
        leaving: BoolArray = held & (
            ((self.units > 0) & ((wanted & 1) > 0)) | ((self.units < 0) & ((wanted & 2) > 0))
        )
        if leaving.any():
            self._close(row, leaving, np.broadcast_to(self.market.after[row], held.shape))
            held &= ~leaving
        entering = (self.entries[:, row] != 0) & ~held & ~stopped & ~leaving
        if entering.any():
            self._open(row, entering)
        past = np.maximum(row - self.late, 0)
        np.minimum(self.gap, self.distance[past] * self.stop_scale, out=self.gap, where=self.units != 0.0)
        self.kept_units[:, row] = self.units
        self.kept_cash[:, row] = self.cash[:, 0]

    def _stops(self, row: int, held: BoolArray) -> BoolArray:
        panel = self.market.panel
        low, high, opened = (panel[name][row].astype(np.float64) for name in ("low", "high", "open"))
        long = self.units > 0
        level = self.entry * np.where(long, 1.0 - self.gap, 1.0 + self.gap)
        with np.errstate(invalid="ignore"):
            hit: BoolArray = held & np.where(long, low <= level, high >= level)
            price = np.where(long, np.minimum(level, opened), np.maximum(level, opened))
        if hit.any():
            self.fills[:, row][hit] = price[hit]
            self._close(row, hit, price)
        return hit

    def _close(self, row: int, which: BoolArray, price: Float64Array) -> None:
        price = np.where(which, price, 0.0)
        moved = self.units * price
        equity = self._equity(row)
        paid = self.cost * np.abs(moved)
        entered = self.cost * np.abs(self.units * self.entry)
        gain = self.units * (price - self.entry) - paid - entered
        self.cash += (moved - paid).sum(axis=1, keepdims=True)
        for c, n in zip(*np.nonzero(which), strict=True):
            self.closed[c].append((n, self.since[c, n], row, gain[c, n] / equity[c, 0]))
        self.units[which] = 0.0
        self.gap[which] = np.inf

    def _equity(self, row: int) -> Float64Array:
        value = np.where(self.units != 0.0, self.units * self.market.after[row], 0.0)
        total: Float64Array = np.maximum(self.cash + value.sum(axis=1, keepdims=True), 1e-12)
        return total

    def _open(self, row: int, which: BoolArray) -> None:
        price = np.broadcast_to(self.market.after[row], which.shape)
        past = np.maximum(row - self.late, 0)
        which = which & np.isfinite(price)
        base = self._equity(row) * self.tradable
        stake = np.where(which, self.weight[past] * self.size * base, 0.0)
        used = np.where(self.units != 0.0, np.abs(self.units * self.entry), 0.0).sum(axis=1, keepdims=True)
        total = stake.sum(axis=1, keepdims=True)
        room = np.maximum(base - used, 0.0)
        stake *= np.minimum(1.0, np.divide(room, total, out=np.ones_like(total), where=total > 0.0))
        which = which & (stake > 0.0)
        units = np.where(which, self.entries[:, row] * stake / np.where(which, price, 1.0), 0.0)
        self.cash -= (np.where(which, units * price, 0.0) + self.cost * stake).sum(axis=1, keepdims=True)
        self.units += units
        self.entry[which] = price[which]
        self.gap[which] = (self.distance[past] * self.stop_scale)[which]
        self.since[which] = row

    def finish(self) -> list[Held]:
        """Weights, fills and trades of each scenario; what is still open is no trade yet."""
        after = np.nan_to_num(self.market.after)
        result = []
        for c in range(len(self.scenarios)):
            value = self.kept_units[c] * after
            equity = self.kept_cash[c] + value.sum(axis=1)
            weights = np.divide(value, equity[:, None], out=np.zeros_like(value), where=equity[:, None] > 0.0)
            weights[-1] = weights[-2]
            rows = self.closed[c]
            columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
            numbers = [np.array(one, np.int64) for one in columns[:3]]
            trades = Trades(numbers[0], numbers[1], numbers[2], np.array(columns[3], np.float64))
            result.append(Held(weights.astype(np.float32), self.fills[c], trades))
        return result
