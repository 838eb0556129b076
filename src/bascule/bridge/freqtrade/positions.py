"""The strategy's hands: sizes, leverage, stops, changes of open positions.

1. A new position is its target weight of the wallet, times the ladder's first share and the book guard's
   share, as far as the limits of the whole book let it (`trading/sizing.py`, `guard.py`, `limits.py`).
2. Open positions are looked at once a candle: the ladder's next step, else back into the no-trade band around
   the target, else the balance of long and short (`trading/neutral.py`).
3. The stop is the most protective of several levels, all in units of the stop distance at entry
   (`trading/stops.py`).

Everything is computed from the trade, the wallet and candles that were closed: the same numbers in a backtest
and live.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime
from typing import Any

from freqtrade.strategy import DecimalParameter, stoploss_from_absolute

from bascule.bridge.freqtrade.book import INITIAL_STOP, BookStrategy
from bascule.bridge.freqtrade.trading import gearing, neutral, sizing, stops
from bascule.bridge.freqtrade.trading.closed import fails_with
from bascule.bridge.freqtrade.trading.guard import Guard
from bascule.bridge.freqtrade.trading.untouched import untouched


class PositionStrategy(BookStrategy):
    """Sizes, stops and changes. See `FactorStrategy` for its attributes."""

    no_trade_band = DecimalParameter(0.0, 0.1, default=0.01, decimals=3, space="buy", optimize=False)
    volatility_target = DecimalParameter(0.2, 4.0, default=1.0, decimals=2, space="buy", optimize=False)
    break_even = DecimalParameter(0.2, 3.0, default=1.0, decimals=2, space="sell", optimize=False)
    trail_distance = DecimalParameter(0.2, 3.0, default=1.0, decimals=2, space="sell", optimize=False)

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        options = dict(config.get("bascule") or {})
        self._leverage = float(options.get("leverage", 1.0))
        gear = self._trading.gear
        # a hard floor below every stop that the signals can ask for
        most = self._leverage if gear is None else gear.most
        self.stoploss = -min(0.99, self._bundle.spec.stop.cap * most)
        self.position_adjustment_enable = self._trading.adjusts
        self._guard = None if self._trading.guard is None else Guard(self._trading.guard)
        self._adjusted: dict[int, int] = {}
        self._stops_before: dict[int, float] = {}
        self._adopt_parameters()

    def _adopt_parameters(self) -> None:
        """Parameters of parts that are on can be hyper-optimised, and start at the settings' values."""
        trading = self._trading
        levels = trading.stops
        values = {
            "no_trade_band": trading.rebalance.band if trading.rebalance else None,
            "volatility_target": trading.gear.volatility if trading.gear else None,
            "break_even": levels.levels[0].after if levels and levels.levels else None,
            "trail_distance": levels.trail.distance if levels and levels.trail else None,
        }
        for name, value in values.items():
            declared = getattr(type(self), name)
            if value is not None and declared is getattr(PositionStrategy, name):
                parameter = deepcopy(declared)
                parameter.default = parameter.value = value
                parameter.optimize = True
                setattr(self, name, parameter)

    # -- sizes -------------------------------------------------------------------------------------------

    def leverage(
        self,
        pair: str,
        current_time: datetime,
        current_rate: float,
        proposed_leverage: float,
        max_leverage: float,
        entry_tag: str | None,
        side: str,
        **kwargs: Any,
    ) -> float:
        """The configured leverage, or by risk, as far as the exchange gives it."""
        gear = self._trading.gear
        if gear is None:
            return min(self._leverage, max_leverage)
        volatility = self._latest(pair, "volatility", current_time) if gear.volatility is not None else 0.0
        return gearing.leverage(
            self._latest(pair, "stop_distance", current_time),
            volatility,
            max_leverage,
            gear,
            liquidation_buffer=float(self.config.get("liquidation_buffer", 0.05)),
            target=self.volatility_target.value,
        )

    @fails_with(0.0)
    def custom_stake_amount(
        self,
        pair: str,
        current_time: datetime,
        current_rate: float,
        proposed_stake: float,
        min_stake: float | None,
        max_stake: float,
        leverage: float,
        entry_tag: str | None,
        side: str,
        **kwargs: Any,
    ) -> float:
        """|target weight| of the wallet; 0, which is no trade, where the exchange's minimum is larger."""
        sign = 1 if side == "long" else -1
        equity = self._equity()
        if entry_tag == neutral.HEDGE:
            value = sign * self._hedge_need(current_time)
            if value <= self._hedge_band() * equity:
                return 0.0
        else:
            weight = sign * self._latest(pair, "target_weight", current_time)
            if not weight > 0.0 or not equity > 0.0:
                return 0.0
            value = weight * equity * sizing.first_share(self._trading.ladder) * self._share()
            value = self._granted(pair, sign, value, equity, current_time)
        stake = min(value / leverage, max_stake)
        return 0.0 if min_stake and stake < min_stake else float(stake)

    def _share(self) -> float:
        """Size of positions that the book guard leaves."""
        return self._guard.share if self._guard is not None else 1.0

    # -- changes of open positions -----------------------------------------------------------------------

    def order_filled(self, pair: str, trade: Any, order: Any, current_time: datetime, **kwargs: Any) -> None:
        """Keep the stop distance at entry with a live trade."""
        if self._live and order.ft_order_side == trade.entry_side and trade.nr_of_successful_entries <= 1:
            distance = self._initial(trade, current_time)
            if distance > 0.0:
                trade.set_custom_data(INITIAL_STOP, distance)

    @untouched
    def adjust_trade_position(
        self,
        trade: Any,
        current_time: datetime,
        current_rate: float,
        current_profit: float,
        min_stake: float | None,
        max_stake: float,
        current_entry_rate: float,
        current_exit_rate: float,
        current_entry_profit: float,
        current_exit_profit: float,
        **kwargs: Any,
    ) -> float | tuple[float, str] | None:
        """Once a candle: the change of a position's stake, with its reason, or None."""
        candle = self._candle(current_time)
        if not self._trading.adjusts or trade.has_open_orders or self._adjusted.get(trade.id) == candle:
            return None
        self._adjusted[trade.id] = candle
        equity = self._equity()
        held = self._holding(trade, current_rate, current_time)
        if not equity > 0.0 or not held.value > 0.0:
            return None
        change = self._change(trade, held, equity, current_time)
        if change is None:
            return None
        if change.value < 0.0:
            share = -change.value / held.value
            stake = trade.stake_amount * (1.0 if share > 0.999 else share)
            return (-stake, change.tag) if not min_stake or stake >= min_stake or share > 0.999 else None
        if not self._may_increase(trade, current_time):
            return None
        value = change.value
        if trade.pair != self._hedge_pair:
            value = self._granted(trade.pair, held.side, value, equity, current_time)
        stake = min(value / trade.leverage, max_stake)
        return (stake, change.tag) if stake > 0.0 and (not min_stake or stake >= min_stake) else None

    def _may_increase(self, trade: Any, now: datetime) -> bool:
        """Whether a position may grow; see `FactorStrategy`."""
        return self._guard is None or not self._guard.stopped or trade.pair == self._hedge_pair

    def _change(self, trade: Any, held: sizing.Holding, equity: float, now: datetime) -> sizing.Change | None:
        """The change of value that is due, if any."""
        if trade.pair == self._hedge_pair:
            gap = held.side * self._hedge_need(now) - held.value
            return sizing.Change(gap, neutral.HEDGE) if abs(gap) > self._hedge_band() * equity else None
        trading = self._trading
        weight = held.side * self._latest(trade.pair, "target_weight", now)
        if trading.ladder is not None:
            due = sizing.step(held, weight * self._share(), equity, trading.ladder)
            if due is not None:
                return due
        long, short = self._scales(now)
        scale = long if held.side > 0 else short
        if trading.rebalance is not None:
            weight *= self._share() * scale * sizing.opened(held, trading.ladder)
            return sizing.rebalance(held, weight, equity, trading.rebalance, band=self.no_trade_band.value)
        return sizing.Change(-held.value * (1.0 - scale), sizing.BALANCE) if scale < 1.0 else None

    # -- leaving -----------------------------------------------------------------------------------------

    @untouched
    def custom_stoploss(
        self,
        pair: str,
        trade: Any,
        current_time: datetime,
        current_rate: float,
        current_profit: float,
        after_fill: bool,
        **kwargs: Any,
    ) -> float | None:
        """The most protective stop, from the entry price. freqtrade keeps the tightest so far."""
        if not after_fill and not self._live:
            self._stops_before[trade.id] = trade.stop_loss
        if pair == self._hedge_pair:
            return None  # what it loses the others win; freqtrade's hard stop remains
        distance = self._latest(pair, "stop_distance", current_time)
        if not distance > 0:
            return None
        levels = self._trading.stops
        side = -1 if trade.is_short else 1
        if levels is None:
            # a price, not a loss: stoploss_from_open would count the fees in and stop earlier
            stop = trade.open_rate * (1 - side * distance)
        else:
            peak = trade.min_rate if trade.is_short else trade.max_rate
            best = current_rate if not peak else side * max(side * peak, side * current_rate)
            stop = stops.stop_price(
                side,
                trade.open_rate,
                best,
                distance,
                self._initial(trade, current_time),
                levels,
                portfolio_risk=self._latest(pair, "portfolio_risk", current_time),
                break_even=self.break_even.value,
                trail=self.trail_distance.value,
            )
        if not after_fill and trade.stop_loss and side * stop <= side * trade.stop_loss:
            return None  # freqtrade would come to the same, by many decimal numbers
        return float(stoploss_from_absolute(stop, current_rate, trade.is_short, trade.leverage))

    def custom_exit(
        self,
        pair: str,
        trade: Any,
        current_time: datetime,
        current_rate: float,
        current_profit: float,
        **kwargs: Any,
    ) -> str | None:
        """A reason to close now, beyond the signals' own."""
        if self._guard is not None and self._guard.level == "flat":
            return sizing.TRIMMED
        side = -1 if trade.is_short else 1
        if pair == self._hedge_pair:
            done = side * self._hedge_need(current_time) <= self._hedge_band() * self._equity() / 2.0
            return "hedge_done" if done else None
        if self._overtaken(trade, current_rate, current_time):
            return stops.OVERTAKEN
        time = self._trading.stops.time if self._trading.stops is not None else None
        if time is not None:
            age, initial = self._age(trade, current_time), self._initial(trade, current_time)
            if stops.too_slow(side, trade.open_rate, current_rate, age, initial, time):
                return "time_stop"
        return None

    def _overtaken(self, trade: Any, rate: float, now: datetime) -> bool:
        """Whether risk has risen so far that the position is past its stop; see `stops`."""
        # a backtest has moved the stop by the candle's best price, which the open does not know yet
        held = trade.stop_loss if self._live else self._stops_before.pop(trade.id, trade.stop_loss)
        levels, portfolio_risk = self._trading.stops, 0.0
        if levels is not None and levels.tighten:
            portfolio_risk = self._latest(trade.pair, "portfolio_risk", now)
        distance = self._latest(trade.pair, "stop_distance", now)
        if not held or not distance > 0.0:
            return False
        side = -1 if trade.is_short else 1
        distance = stops.tightened(distance, levels, portfolio_risk)
        return stops.overtaken(side, trade.open_rate, rate, distance, held)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the memory of a run."""
        return {**super().__getstate__(), "_adjusted": {}, "_stops_before": {}}
