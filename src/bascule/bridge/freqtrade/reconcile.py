"""The venue's orders and positions against the bot's own books: when it starts, and every few minutes.

A bot that is killed between the exchange's answer and its own database leaves an order that nobody watches:
a position without a stop, a stop without a position. `onceonly.py` finds it when the same order is wanted
again; nobody may ever want it again. So a live bot looks (`Reconciler`):

1. What orders are there? Those written down before they left (`OnceOnly.intents`), and all that are open at
   the venue, conditional ones too.
2. Those that the database knows are fine. The others join a trade, become one, are cancelled, forgotten or
   told (`strays.fate`).
3. Futures: does the venue hold what the open trades say, to the last lot? Spot: does it hold at least that?
   The account may own more coins. A difference that is there in two looks in a row is an alarm; pairs with
   orders on their way are left out (`strays.gaps`).
4. An alarm is logged and sent once; where so chosen it also halts the bot (`emergency.py`).

What the venue does not answer is asked again in the next loop.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bascule.bridge.freqtrade import emergency
from bascule.bridge.freqtrade.onceonly import PREFIX, OnceOnly
from bascule.bridge.freqtrade.strays import FINISHED, GRACE, Fate, ReconcileSettings, Stray, fate, gaps

log = logging.getLogger(__name__)
ADOPTED = "adopted"  # tag of orders and trades that were found at the venue
# freqtrade's own allowance for fees that were paid in coins
_SHORT_OF_COINS = 1.019


def known_order(order_id: str, pair: str) -> bool:
    """Whether freqtrade's database has an order of this exchange id; exchanges count by pair."""
    from freqtrade.persistence import Order

    return Order.order_by_id(order_id, pair) is not None


class Reconciler:
    """Looks after one live bot.

    Args:
        bot: freqtrade's `FreqtradeBot`.
        once: what places its orders.
        settings: what is done.
        folder: user folder, for a halt.
    """

    def __init__(self, bot: Any, once: OnceOnly, settings: ReconcileSettings, folder: Path) -> None:
        self.settings = settings
        self._bot, self._once, self._folder = bot, once, folder
        self._next = float("-inf")
        self._told: set[str] = set()
        self._doubts: dict[str, tuple[float, float]] = {}

    def look(self, now: datetime, *, starting: bool = False) -> None:
        """Look, if it is time to.

        Args:
            now: the bot's time, aware.
            starting: the bot has just started: nothing is on its way anywhere.
        """
        import ccxt
        from freqtrade.exceptions import FreqtradeException

        seconds = now.timestamp()
        # further ahead than it can be: the clock was set back
        if not starting and seconds < self._next <= seconds + self.settings.every:
            return
        self._next = seconds + self.settings.every
        again = True
        try:
            with self._bot._exit_lock:
                # all of them, also where one fails
                strays = self._strays(now, 0.0 if starting else GRACE)
                done = [self._tried(stray, now) for stray in strays]
                self._compare_positions(now)
                # a doubt is settled in the next loop
                again = not all(done) or bool(self._doubts)
        except (ccxt.BaseError, FreqtradeException) as error:
            log.warning("orders and positions cannot be compared now: %.200s", error)
        if again:
            self._next = seconds

    # -- orders ------------------------------------------------------------------------------------------

    def _strays(self, now: datetime, grace: float) -> list[Stray]:
        """Orders that the database does not know, oldest first."""
        found: dict[tuple[str, str], Stray] = {}
        for intent in self._once.intents():
            if 0.0 <= now.timestamp() - intent.at < grace:
                continue
            order = self._once.ask(intent)
            if order is None or _known(order):
                self._once.forget(intent)
                continue
            stray = self._stray(order, True, intent.conditional, intent.at, intent.leverage)
            if fate(stray, None, self.settings) is Fate.FORGET:
                self._once.forget(intent)
                continue
            found[stray.pair, stray.id] = stray
        for conditional, order in self._open_orders():
            at = float(order.get("timestamp") or 0.0) / 1_000
            if not 0.0 <= now.timestamp() - at < grace and not _known(order):
                ours = str(order.get("clientOrderId") or "").startswith(PREFIX)
                stray = self._stray(order, ours, conditional, at)
                found.setdefault((stray.pair, stray.id), stray)
        return sorted(found.values(), key=lambda one: (one.at, one.id))

    def _open_orders(self) -> list[tuple[bool, dict[str, Any]]]:
        """All open orders of the account, and whether they are conditional."""
        api = self._bot.exchange._api
        # one question for all pairs: ccxt asks to be told that this is meant
        options = {**(api.options.get("fetchOpenOrders") or {}), "warnWithoutSymbol": False}
        api.options["fetchOpenOrders"] = options
        if not self._futures:
            return [(_is_stop(order), order) for order in api.fetch_open_orders()]
        kind = {"type": "swap", "subType": "linear"}
        plain = api.fetch_open_orders(None, None, None, kind)
        waiting = api.fetch_open_orders(None, None, None, {**kind, "trigger": True})
        return [(False, order) for order in plain] + [(True, order) for order in waiting]

    @property
    def _futures(self) -> bool:
        return str(self._bot.config.get("trading_mode", "spot")).rsplit(".", 1)[-1].lower() == "futures"

    def _stray(
        self,
        order: Mapping[str, Any],
        ours: bool,
        conditional: bool,
        at: float,
        leverage: float | None = None,
    ) -> Stray:
        return Stray(
            id=str(order["id"]),
            pair=str(order["symbol"]),
            side=str(order["side"]),
            ours=ours,
            conditional=conditional,
            reduce=bool(order.get("reduceOnly")),
            futures=self._futures,
            status=str(order["status"]),
            filled=float(order.get("filled") or 0.0),
            at=at,
            leverage=leverage,
        )

    def _tried(self, stray: Stray, now: datetime) -> bool:
        """Deal with an order; False if it has to be tried again."""
        import ccxt
        from freqtrade.exceptions import FreqtradeException
        from freqtrade.persistence import Trade

        try:
            self._deal_with(stray, now)
        except (ccxt.BaseError, FreqtradeException) as error:
            Trade.rollback()
            log.warning("%s cannot be dealt with now: %.200s", stray, error)
            return False
        return True

    def _deal_with(self, stray: Stray, now: datetime) -> None:
        from freqtrade.persistence import Trade

        trades = Trade.get_trades_proxy(pair=stray.pair, is_open=True)
        trade = trades[0] if trades else None
        if trade is None:
            what = fate(stray, None, self.settings)
        else:
            since = trade.open_date_utc.timestamp()
            what = fate(stray, str(trade.trade_direction), self.settings, since=since)
        if what is Fate.ALARM:
            whose = "is of no trade" if stray.ours else "was not placed by this bot and is left alone"
            self._alarm(f"{stray.pair} {stray.id}", f"{stray} {whose}", now)
        elif what is Fate.CANCEL:
            self._say(f"{stray} is of no trade and is cancelled")
            self._once.cancel_order(
                stray.id, stray.pair, {"stop": True} if stray.conditional and stray.futures else {}
            )
        elif what is not Fate.FORGET:
            self._say(f"{stray} was found at the exchange: {what}")
            if what is Fate.JOIN:
                self._join(trade, stray)
            else:
                self._adopt(stray)

    def _order(self, stray: Stray) -> dict[str, Any]:
        """As freqtrade reads it."""
        found: dict[str, Any] = self._bot.exchange.fetch_order_or_stoploss_order(
            stray.id, stray.pair, stray.conditional
        )
        return found

    def _join(self, trade: Any, stray: Stray) -> None:
        """Make it an order of an open trade, as freqtrade's `execute_entry` and `execute_trade_exit` do."""
        from freqtrade.persistence import Order, Trade

        order = self._order(stray)
        price = order.get("average") or order.get("price") or order.get("stopPrice")
        side = "stoploss" if stray.conditional else stray.side
        row = Order.parse_from_ccxt_object(order, stray.pair, side, order.get("amount"), price)
        row.ft_order_tag = ADOPTED
        trade.orders.append(row)
        if not stray.is_entry and not stray.conditional:
            trade.exit_order_status = ""
            trade.close_rate_requested = price
            trade.exit_reason = ADOPTED
        Trade.commit()
        self._update(trade, order, stray)

    def _adopt(self, stray: Stray) -> None:
        """Make a trade of an entry, as freqtrade's `execute_entry` does after the exchange's answer."""
        from freqtrade.exchange import timeframe_to_minutes
        from freqtrade.persistence import Order, Trade

        bot, exchange, pair = self._bot, self._bot.exchange, stray.pair
        order = self._order(stray)
        short = stray.side == "sell"
        price = order.get("average") or order.get("price")
        if not price:
            price = exchange.get_rate(pair, side="entry", is_short=short, refresh=True)
        amount, fee = float(order["amount"]), exchange.get_fee(symbol=pair, taker_or_maker="maker")
        leverage = stray.leverage or self._leverage(pair)
        trade = Trade(
            pair=pair,
            base_currency=exchange.get_pair_base_currency(pair),
            stake_currency=bot.config["stake_currency"],
            stake_amount=amount * price / leverage,
            amount=0,
            is_open=True,
            amount_requested=amount,
            fee_open=fee,
            fee_close=fee,
            open_rate=price,
            open_rate_requested=price,
            open_date=datetime.fromtimestamp(float(order["timestamp"]) / 1_000, UTC),
            exchange=exchange.id,
            strategy=bot.strategy.get_strategy_name(),
            enter_tag=ADOPTED,
            timeframe=timeframe_to_minutes(bot.config["timeframe"]),
            leverage=leverage,
            is_short=short,
            trading_mode=bot.trading_mode,
            funding_fees=0,
            amount_precision=exchange.get_precision_amount(pair),
            price_precision=exchange.get_precision_price(pair),
            precision_mode=exchange.precisionMode,
            precision_mode_price=exchange.precision_mode_price,
            contract_size=exchange.get_contract_size(pair),
        )
        trade.adjust_stop_loss(trade.open_rate, bot.strategy.stoploss, initial=True)
        row = Order.parse_from_ccxt_object(order, pair, stray.side, amount, price)
        row.ft_order_tag = ADOPTED
        trade.orders.append(row)
        trade.recalc_trade_from_orders()
        Trade.session.add(trade)
        Trade.commit()
        self._update(trade, order, stray)

    def _update(self, trade: Any, order: dict[str, Any], stray: Stray) -> None:
        """Let freqtrade book what has filled."""
        self._bot.wallets.update()
        if order.get("status") in FINISHED:
            self._bot.update_trade_state(trade, stray.id, order, stoploss_order=stray.conditional)

    def _leverage(self, pair: str) -> float:
        position = self._bot.wallets.get_all_positions().get(pair)
        return float(position.leverage) if position is not None and position.leverage else 1.0

    # -- positions ---------------------------------------------------------------------------------------

    def _compare_positions(self, now: datetime) -> None:
        from freqtrade.persistence import Trade

        bot, trades = self._bot, Trade.get_open_trades()
        bot.wallets.update()
        moving = {trade.pair for trade in trades if trade.has_open_orders}
        ours: dict[str, float] = {}
        for trade in trades:
            ours[trade.pair] = ours.get(trade.pair, 0.0) + (-1 if trade.is_short else 1) * trade.amount
        if self._futures:
            held = bot.wallets.get_all_positions()
            theirs = {p: (-1 if one.side == "short" else 1) * one.position for p, one in held.items()}
            steps = {pair: float(bot.exchange.get_precision_amount(pair) or 0.0) for pair in {*theirs, *ours}}
            found = gaps(theirs, ours, steps, moving)
        else:
            coins = {trade.pair: bot.wallets.get_total(trade.safe_base_currency) for trade in trades}
            short = {pair for pair, amount in ours.items() if coins[pair] * _SHORT_OF_COINS < amount}
            found = gaps(coins, ours, {}, {*moving, *(set(ours) - short)})
        doubts, self._doubts = self._doubts, {}
        for pair, both in found.items():
            words = f"{pair}: the exchange holds {both[0]:.10g}, the bot's trades {both[1]:.10g}"
            if doubts.get(pair) == both:
                self._alarm(words, words, now)
            elif words not in self._told:
                self._doubts[pair] = both

    # -- telling -----------------------------------------------------------------------------------------

    def _say(self, words: str) -> None:
        log.warning(words)
        self._bot.dataprovider.send_msg(words, always_send=True)

    def _alarm(self, what: str, words: str, now: datetime) -> None:
        if what in self._told:
            return
        self._told.add(what)
        self._say(words)
        if self.settings.alarm == "halt":
            emergency.command(self._folder, emergency.State.HALT, reason=words, by="reconcile", now=now)


def _known(order: Mapping[str, Any]) -> bool:
    return known_order(str(order["id"]), str(order["symbol"]))


def _is_stop(order: Mapping[str, Any]) -> bool:
    return str(order.get("type") or "").lower().startswith(("stop", "take_profit"))
