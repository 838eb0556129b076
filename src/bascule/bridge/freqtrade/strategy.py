"""The strategy: trades what the signals say, as far as market, limits and people allow.

1. `SignalStrategy` reads signals and marks entries and exits (``signalled.py``).
2. `PositionStrategy` sizes positions, changes them, moves their stops (``positions.py``).
   Both know the book (``book.py``).
3. `SupervisedStrategy` obeys commands, takes up new bundles and watches the drawdown of the book
   (``supervised.py``).
4. `FactorStrategy`, here, stands between these and the exchange. An entry is confirmed last of all: no
   emergency, no halted book, an order book and volume that can take it (`trading/gates.py`). What cannot be
   checked is not confirmed.
5. Limit orders are priced, and priced anew until they cross (`trading/pricing.py`).

Settings: configuration key ``bascule.trading`` (`TradingSettings`), or ``trading`` of the class. With none of
them the strategy enters, holds and leaves by the signals alone.

No module-level state: hyper-optimisation pickles these classes by value.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from freqtrade.enums import SignalDirection
from freqtrade.exceptions import OperationalException

from bascule.bridge.freqtrade.emergency import State
from bascule.bridge.freqtrade.signalled import LIVE_MODES
from bascule.bridge.freqtrade.supervised import SupervisedStrategy
from bascule.bridge.freqtrade.trading import gates, neutral, pricing, sizing, stops
from bascule.bridge.freqtrade.trading.closed import fails_with
from bascule.bridge.freqtrade.trading.untouched import untouched
from bascule.core import BridgeError, SetupError

__all__ = ["LIVE_MODES", "FactorStrategy"]

FLATTENED = "emergency_flatten"
# exits that do not wait for a price
_URGENT = frozenset(
    {
        FLATTENED,
        sizing.TRIMMED,
        stops.OVERTAKEN,
        "stop_loss",
        "trailing_stop_loss",
        "liquidation",
        "emergency_exit",
    }
)


class FactorStrategy(SupervisedStrategy):
    """Base of user strategies; see the package's docstring for the three lines that a file needs.

    Attributes:
        bundle: path of a bundle or of a folder with a ``current`` one; default: configuration key
            ``bascule.bundle``. A live bot takes up a new ``current`` without a restart.
        trading: settings as in `TradingSettings`; the configuration key ``bascule.trading`` goes before them.
        entry_rank, exit_rank, risk_limit, portfolio_limit, critical_risk, critical_portfolio: thresholds,
            hyper-optimisable (spaces buy and sell); defaults are the bundle's rules.
        no_trade_band, volatility_target, break_even, trail_distance: hyper-optimisable where the part that
            they belong to is on; defaults are its settings.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        try:
            self._set_orders(config)
        except BridgeError as error:
            raise OperationalException(str(error)) from None
        self._tries: dict[tuple[str, bool], tuple[int, int]] = {}
        if self._trading.protections is not None:
            self.protections = self._trading.protections.rules()

    def _forget(self) -> None:
        """Start a backtest without the memory of the one before."""
        super()._forget()
        self._tries = {}

    def _set_orders(self, config: dict[str, Any]) -> None:
        """Order types that the settings ask for; a live configuration that says otherwise is refused."""
        wanted, given = self._trading.order_types(), config.get("order_types")
        if given is None:
            self.order_types = wanted
            return
        keys = ["entry", "exit"] if self._trading.pricing is not None else []
        if self._trading.stops is not None and self._trading.stops.on_exchange:
            keys.append("stoploss_on_exchange")
        wrong = [key for key in keys if given.get(key) != wanted[key]]
        # freqtrade's own analyses change the order types: prices just do not count there
        if wrong and self._live:
            key = wrong[0]
            raise SetupError(
                f"{key} is {given.get(key)!r}, but bascule.trading needs {wanted[key]!r}",
                where=f"order_types.{key}",
                remedy="correct it, or leave order_types out",
            )

    # -- entries -----------------------------------------------------------------------------------------

    def get_entry_signal(self, pair: str, timeframe: str, dataframe: Any) -> tuple[Any, str | None]:
        """freqtrade's signal of a live loop; the hedge leg does not wait for a candle."""
        if self._live and pair == self._hedge_pair and len(dataframe):
            now = dataframe["date"].iat[-1].to_pydatetime()
            need = self._hedge_need(now)
            if abs(need) <= self._hedge_band() * self._equity():
                return None, None
            return (SignalDirection.LONG if need > 0 else SignalDirection.SHORT), neutral.HEDGE
        found: tuple[Any, str | None] = super().get_entry_signal(pair, timeframe, dataframe)
        return found

    @fails_with(False)
    def confirm_trade_entry(
        self,
        pair: str,
        order_type: str,
        amount: float,
        rate: float,
        time_in_force: str,
        current_time: datetime,
        entry_tag: str | None,
        side: str,
        **kwargs: Any,
    ) -> bool:
        """The last question before an entry order: may it go out?"""
        state = self._state()
        hedging = entry_tag == neutral.HEDGE
        if state is not State.RUN and not (hedging and state is State.HEDGE):
            self._tell_order(pair, f"refused: {state}")
            return False
        if self._guard is not None and self._guard.stopped and not hedging:
            self._tell_order(pair, f"refused: the book is {self._guard.level}")
            return False
        why = self._refused_by_market(pair, 1 if side == "long" else -1, amount * rate, current_time)
        if why is not None:
            self._tell_order(pair, f"refused: {why}")
        return why is None

    def _refused_by_market(self, pair: str, side: int, value: float, now: datetime) -> str | None:
        settings = self._trading.gates
        if settings is None:
            return None
        if settings.asks_volume:
            volume = self._quote_volume(pair, settings.volume_days, now)
            why = gates.refuse_volume(volume, self._bundle.spec.bar.bars_a_day, value, settings)
            if why is not None:
                return why
        if self._live and settings.asks_book:
            return gates.refuse_book(self.dp.orderbook(pair, settings.levels), side, value, settings)
        return None

    def _may_increase(self, trade: Any, now: datetime) -> bool:
        """No increase in an emergency, of a halted book, or of a pair whose candles are unhealthy."""
        state = self._state()
        if trade.pair == self._hedge_pair:
            return state in (State.RUN, State.HEDGE)
        unhealthy = self._watch is not None and self._latest(trade.pair, "untradable", now) > 0
        return state is State.RUN and not unhealthy and super()._may_increase(trade, now)

    # -- prices ------------------------------------------------------------------------------------------

    def custom_entry_price(
        self,
        pair: str,
        trade: Any,
        current_time: datetime,
        proposed_rate: float,
        entry_tag: str | None,
        side: str,
        **kwargs: Any,
    ) -> float:
        """A passive price first."""
        return self._price(pair, side == "long", proposed_rate, self._tried(pair, True, current_time))

    @untouched
    def custom_exit_price(
        self,
        pair: str,
        trade: Any,
        current_time: datetime,
        proposed_rate: float,
        current_profit: float,
        exit_tag: str | None,
        **kwargs: Any,
    ) -> float:
        """A passive price first; an urgent exit crosses at once."""
        settings = self._trading.pricing
        tried = self._tried(pair, False, current_time)
        if settings is not None and exit_tag in _URGENT:
            tried = settings.tries
        return self._price(pair, bool(trade.is_short), proposed_rate, tried)

    def adjust_order_price(
        self,
        trade: Any,
        order: Any,
        pair: str,
        current_time: datetime,
        proposed_rate: float,
        current_order_rate: float,
        entry_tag: str | None,
        side: str,
        is_entry: bool,
        **kwargs: Any,
    ) -> float | None:
        """An unfilled order at a new candle: nearer, and in the end across. None withdraws it."""
        if is_entry and not self._may_increase(trade, current_time):
            return None
        if self._trading.pricing is None:
            return current_order_rate
        tried = self._try_again(pair, is_entry, current_time)
        return self._price(pair, is_entry != bool(trade.is_short), proposed_rate, tried)

    def check_entry_timeout(
        self, pair: str, trade: Any, order: Any, current_time: datetime, **kwargs: Any
    ) -> bool:
        """Withdraw an entry in an emergency, or to place it anew at a better price."""
        if not self._may_increase(trade, current_time):
            return True
        return self._try_is_over(pair, True, order, current_time)

    def check_exit_timeout(
        self, pair: str, trade: Any, order: Any, current_time: datetime, **kwargs: Any
    ) -> bool:
        """Withdraw an exit to place it anew at a better price; at once when all is to be closed."""
        settings = self._trading.pricing
        if settings is not None and self._state() is State.FLATTEN and order.ft_order_tag != FLATTENED:
            return True
        return self._try_is_over(pair, False, order, current_time)

    def _try_is_over(self, pair: str, entry: bool, order: Any, now: datetime) -> bool:
        settings = self._trading.pricing
        if not self._live or settings is None or settings.seconds is None:
            return False
        if (now - order.order_date_utc).total_seconds() < settings.seconds:
            return False
        self._try_again(pair, entry, now)
        return True

    def _tried(self, pair: str, entry: bool, now: datetime) -> int:
        """Tries of this intent that did not fill; an intent of another candle is a new one."""
        candle, count = self._tries.get((pair, entry), (-1, 0))
        return count if candle == self._candle(now) else 0

    def _try_again(self, pair: str, entry: bool, now: datetime) -> int:
        _, count = self._tries.get((pair, entry), (-1, 0))
        self._tries[pair, entry] = (self._candle(now), count + 1)
        return count + 1

    def _price(self, pair: str, buy: bool, proposed: float, tried: int) -> float:
        settings = self._trading.pricing
        if settings is None:
            return proposed
        far: float | None = None
        if self._live and tried >= settings.tries:
            book = self.dp.orderbook(pair, 5)
            side = book["asks"] if buy else book["bids"]
            far = float(side[0][0]) if side else proposed
        return pricing.limit_price(buy, proposed, tried, settings, far=far)

    @untouched
    def order_filled(self, pair: str, trade: Any, order: Any, current_time: datetime, **kwargs: Any) -> None:
        """The next order is a new intent."""
        self._tries.pop((pair, order.ft_order_side == trade.entry_side), None)
        super().order_filled(pair, trade, order, current_time, **kwargs)

    # -- leaving -----------------------------------------------------------------------------------------

    @untouched
    def custom_exit(
        self,
        pair: str,
        trade: Any,
        current_time: datetime,
        current_rate: float,
        current_profit: float,
        **kwargs: Any,
    ) -> str | None:
        """Close everything when told so."""
        if self._state() is State.FLATTEN:
            return FLATTENED
        return super().custom_exit(pair, trade, current_time, current_rate, current_profit, **kwargs)
