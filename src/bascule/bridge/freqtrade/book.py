"""The book: what is held, what it is exposed to, what its limits let through.

1. A position is worth its amount at the newest close, entries on their way counted.
2. The balance of long and short, and the need of the hedge leg, follow from all positions
   (`trading/neutral.py`); the hedge pair's entries go against what the signals want in all.
3. An increase passes the limits of the whole book, or part of it does (`trading/limits.py`).
4. R of a trade is the stop distance that was known at its entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from freqtrade.exceptions import OperationalException
from freqtrade.persistence import Trade

from bascule.bridge.freqtrade import feed
from bascule.bridge.freqtrade.signalled import SignalStrategy
from bascule.bridge.freqtrade.trading import limits, neutral, sizing
from bascule.core import Instrument, SetupError

# where a live trade keeps its stop distance at entry: candles of that time may be gone after a restart
INITIAL_STOP = "bascule_stop"


class BookStrategy(SignalStrategy):
    """Knows the book. See `FactorStrategy` for its attributes."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._hedge_pair = None if self._trading.neutral is None else self._trading.neutral.hedge
        self._initials: dict[tuple[str, datetime], float] = {}
        self._balance: tuple[Any, tuple[float, float]] | None = None

    def bot_start(self, **kwargs: Any) -> None:
        """Check the hedge pair too."""
        super().bot_start(**kwargs)
        pair = self._hedge_pair
        if pair is not None and pair not in self.dp.current_whitelist():
            error = SetupError(
                f"the hedge pair {pair} is not traded",
                where="bascule.trading: neutral.hedge",
                remedy="add it to the pair_whitelist",
            )
            raise OperationalException(str(error))

    # -- what is held ------------------------------------------------------------------------------------

    def _equity(self) -> float:
        """The wallet that weights are shares of, in the stake currency; open gains are not counted."""
        return float(self.wallets.get_total_stake_amount()) if self.wallets is not None else 0.0

    def _worth(self, trade: Any, now: datetime) -> float:
        """Value of a position at the newest close, entries on their way counted."""
        price = self._latest(trade.pair, "close", now)
        if not price > 0.0:
            price = float(trade.open_rate)
        coming = sum(o.safe_remaining for o in trade.open_orders if o.ft_order_side == trade.entry_side)
        return float(trade.amount + coming) * price

    def _others(self) -> Iterator[Any]:
        """Open trades but the hedge leg."""
        for trade in Trade.get_trades_proxy(is_open=True):
            if trade.pair != self._hedge_pair:
                yield trade

    def _leg(self, trade: Any, value: float, now: datetime) -> neutral.Leg:
        beta = self._latest(trade.pair, "beta", now) if self._trading.reads_risk else 1.0
        return neutral.Leg(-1 if trade.is_short else 1, value, beta)

    def _scales(self, now: datetime) -> tuple[float, float]:
        """Factors that balance long and short, once a candle and set of trades."""
        settings = self._trading.neutral
        if settings is None or settings.hedge is not None:
            return 1.0, 1.0
        trades = list(self._others())
        key = (self._candle(now), tuple(trade.id for trade in trades))
        if self._balance is None or self._balance[0] != key:
            equity = self._equity()
            legs = [self._leg(trade, self._wanted(trade, equity, now), now) for trade in trades]
            self._balance = (key, neutral.scales(legs, equity, settings))
        return self._balance[1]

    def _wanted(self, trade: Any, equity: float, now: datetime) -> float:
        """Value that a position should have: by its target where it is rebalanced, else what it has."""
        if self._trading.rebalance is not None:
            weight = self._latest(trade.pair, "target_weight", now) * (-1 if trade.is_short else 1)
            if weight > 0.0:
                return (
                    weight
                    * equity
                    * sizing.opened(self._holding(trade, trade.open_rate, now), self._trading.ladder)
                )
        return self._worth(trade, now)

    def _hedge_need(self, now: datetime) -> float:
        """Signed value of the hedge leg that is wanted now."""
        settings = self._trading.neutral
        if settings is None or settings.hedge is None:
            return 0.0
        legs = [self._leg(trade, self._worth(trade, now), now) for trade in self._others()]
        beta = self._latest(settings.hedge, "beta", now) if self._trading.reads_risk else 1.0
        return neutral.hedge_value(legs, beta, settings.by)

    def _hedge_band(self) -> float:
        settings = self._trading.neutral
        return settings.band if settings is not None else 0.0

    def _initial(self, trade: Any, now: datetime) -> float:
        """R: the stop distance that was known when the trade was opened, fraction of the price."""
        key = (trade.pair, trade.open_date_utc)
        if key not in self._initials:
            rows = self._rows.get(trade.pair)
            found = float("nan")
            if rows is not None:
                found = rows.value("stop_distance", trade.open_date_utc.timestamp(), past=True)
            if not found > 0.0 and self._live:
                found = float(trade.get_custom_data(INITIAL_STOP, default=float("nan")))
            if not found > 0.0:
                return self._latest(trade.pair, "stop_distance", now)
            self._initials[key] = found
        return self._initials[key]

    def _candle(self, moment: datetime) -> int:
        """Number of the candle that is open at a moment, counted from 1970."""
        return int(moment.timestamp()) // self._bundle.spec.bar.seconds

    def _age(self, trade: Any, now: datetime) -> int:
        """Candles since a trade was opened."""
        return self._candle(now) - self._candle(trade.open_date_utc)

    def _holding(self, trade: Any, rate: float, now: datetime) -> sizing.Holding:
        side = -1 if trade.is_short else 1
        filled = [str(o.ft_order_tag or "") for o in trade.orders if not o.ft_is_open and (o.filled or 0) > 0]
        return sizing.Holding(
            side=side,
            value=float(trade.amount) * rate,
            gain=side * (rate / trade.open_rate - 1.0),
            initial=self._initial(trade, now),
            candles=self._age(trade, now),
            entered=1 + sum(tag.startswith(sizing.IN) for tag in filled),
            taken=sum(tag.startswith(sizing.OUT) for tag in filled),
        )

    # -- limits ------------------------------------------------------------------------------------------

    def _granted(self, pair: str, sign: int, value: float, equity: float, now: datetime) -> float:
        """How much of an increase the limits of the whole book let through, in the stake currency."""
        settings = self._trading.limits
        if settings is None or not value > 0.0:
            return value
        own = Instrument.parse(pair).id
        held, pairs = {own: 0.0}, {own: pair}
        for trade in Trade.get_trades_proxy(is_open=True):
            name = Instrument.parse(trade.pair).id
            pairs[name] = trade.pair
            side = -1 if trade.is_short else 1
            held[name] = held.get(name, 0.0) + side * self._worth(trade, now) / equity
        known = {name: self._known(one, now) for name, one in pairs.items()}
        bar = self._bundle.spec.bar
        volume: dict[str, float] = {}
        if settings.trade_share is not None:
            volume = {name: self._quote_volume(one, 1.0, now) * bar.bars_a_day for name, one in pairs.items()}
        granted, why = limits.allowed(
            own,
            sign * value / equity,
            held,
            limits.risk_model(known, bar.bars_a_year),
            settings,
            equity=equity,
            volume=volume,
        )
        if why:
            self._tell_order(pair, f"{abs(granted) * equity:.6g} of {value:.6g} by {why}")
        return abs(granted) * equity

    def _known(self, pair: str, now: datetime) -> limits.Known:
        values = [self._latest(pair, name, now) for name in ("volatility", "beta", "market_volatility")]
        return limits.Known(*values)

    def _quote_volume(self, pair: str, days: float, now: datetime) -> float:
        """Mean quote volume of a candle over the last days; NaN = unknown."""
        rows = self._rows.get(pair)
        if rows is None:
            return float("nan")
        count, seconds = self._bundle.spec.bar.bars(days), now.timestamp()
        traded = rows.tail("close", seconds, count) * rows.tail("volume", seconds, count)
        return float(traded.mean()) if len(traded) else float("nan")

    def _tell_order(self, pair: str, words: str) -> None:
        """An order was cut or refused; see `FactorStrategy`."""

    # -- entries of the hedge pair -----------------------------------------------------------------------

    def populate_entry_trend(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        """Mark entries; the hedge pair's go against the book that the signals want."""
        if metadata["pair"] != self._hedge_pair:
            return super().populate_entry_trend(dataframe, metadata)
        traded = dataframe["volume"] > 0
        dataframe.loc[traded & (dataframe["lean"] > 0), ["enter_short", "enter_tag"]] = (1, neutral.HEDGE)
        dataframe.loc[traded & (dataframe["lean"] < 0), ["enter_long", "enter_tag"]] = (1, neutral.HEDGE)
        return dataframe

    def populate_exit_trend(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        """Mark exits; the hedge pair leaves when nothing is left to hedge (`custom_exit`)."""
        if metadata["pair"] != self._hedge_pair:
            return super().populate_exit_trend(dataframe, metadata)
        return dataframe

    def _columns(self, pair: str, dates: pd.Series) -> dict[str, Any]:
        columns = super()._columns(pair, dates)
        if pair == self._hedge_pair:
            columns["lean"] = self._lean(dates)
        return columns

    def _lean(self, dates: pd.Series) -> Any:
        """Net exposure of the book that the signals would hold, at each candle; 0 = none known."""
        frame, settings = self._signals(), self._trading.neutral
        assert settings is not None and self._hedge_pair is not None
        rank, weight = frame.alpha_rank, np.nan_to_num(frame.target_weight)
        with np.errstate(invalid="ignore"):
            held = np.where(weight > 0, rank >= self.exit_rank.value, rank <= 1 - self.exit_rank.value)
        exposure = np.where(held | self._bundle.spec.by_weight, weight, 0.0)
        own = Instrument.parse(self._hedge_pair).id
        if own in frame.instruments:
            exposure[:, frame.instruments.index(own)] = 0.0
        total = exposure.sum(axis=1)
        hit, row = feed.rows_at(frame.time, feed.utc(dates))
        lean = np.zeros(len(dates), np.float32)
        lean[hit] = total[row]
        return lean

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the memory of a run."""
        return {**super().__getstate__(), "_initials": {}, "_balance": None}
