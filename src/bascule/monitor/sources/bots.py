"""freqtrade bots by their REST API: state, equity, fills, and what their books are exposed to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bascule.bridge.freqtrade import emergency
from bascule.core import BasculeError, BridgeError, DataError, Instrument, Timeframe
from bascule.monitor.botapi import BotApi
from bascule.monitor.samples import Sample, sample
from bascule.monitor.sources.research import Research, grid

_CANCELLED = frozenset({"canceled", "cancelled", "expired", "rejected"})
_TRADES = 500  # newest trades that are looked at


class Bot:
    """One bot.

    Args:
        api: of the bot.
        every: seconds between readings.
        fill_days: days whose fills are measured.
        userdir: its user_data folder, for the emergency state.
        store: candles to hold fills against; None = against the price that was asked for.
    """

    def __init__(
        self,
        api: BotApi,
        every: float,
        fill_days: float,
        userdir: Path | None = None,
        store: Path | None = None,
    ) -> None:
        self.api, self.every, self.fill_days = api, every, fill_days
        self.name = f"bot:{api.name}"
        self._userdir, self._store = userdir, store
        self._peak = 0.0

    def read(self, since: datetime | None, now: datetime) -> list[Sample]:
        """State and fills. A bot that does not answer is a sample, not an error."""
        bot = self.api.name
        found: list[Sample] = []
        if self._userdir is not None:
            held = emergency.in_force(self._userdir)
            found += sample("bot.emergency", bot, now, float(held.state.severity))
        try:
            config, health = _mapping(self.api.get("/show_config")), _mapping(self.api.get("/health"))
            profit, balance = _mapping(self.api.get("/profit")), _mapping(self.api.get("/balance"))
            open_trades = _rows(self.api.get("/status"))
            trades = _rows(_mapping(self.api.get("/trades", limit=_TRADES)).get("trades", []))
        except BridgeError:
            return found + sample("bot.up", bot, now, 0.0)
        found += sample("bot.up", bot, now, 1.0)
        found += sample("bot.running", bot, now, float(config.get("state") == "running"))
        found += sample("bot.open_trades", bot, now, float(len(open_trades)))
        found += sample("bot.profit_ratio", bot, now, float(profit.get("profit_all_ratio") or 0.0))
        if health.get("last_process_ts"):
            found += sample(
                "bot.loop_age_seconds", bot, now, now.timestamp() - float(health["last_process_ts"])
            )
        equity = float(balance.get("total_bot") or balance.get("total") or 0.0)
        if equity > 0.0:
            self._peak = max(self._peak, equity)
            found += sample("bot.equity", bot, now, equity)
            found += sample("bot.drawdown", bot, now, 1.0 - equity / self._peak)
        return found + self._fills([*open_trades, *trades], str(config.get("timeframe", "")), now)

    def remember(self, peak: float | None) -> None:
        """Take over the highest equity that was seen before a restart."""
        self._peak = max(self._peak, peak or 0.0)

    def _fills(self, trades: Sequence[Mapping[str, Any]], timeframe: str, now: datetime) -> list[Sample]:
        """Cost, completeness and speed of the orders of the last days."""
        begin = (now - timedelta(days=self.fill_days)).timestamp() * 1_000.0
        orders = {
            str(order.get("order_id")): (order, trade)
            for trade in trades
            for order in trade.get("orders", ())
            if float(order.get("order_timestamp") or 0.0) >= begin and not order.get("is_open")
        }
        if not orders:
            return []
        bot = self.api.name
        asked = sum(float(order.get("amount") or 0.0) * _price(order) for order, _ in orders.values())
        got = sum(float(order.get("filled") or 0.0) * _price(order) for order, _ in orders.values())
        cancelled = sum(str(order.get("status")) in _CANCELLED for order, _ in orders.values())
        found = sample("fills.cancelled", bot, now, cancelled / len(orders))
        if asked > 0.0:
            found += sample("fills.filled", bot, now, min(1.0, got / asked))
        waits = [
            (float(order["order_filled_timestamp"]) - float(order["order_timestamp"])) / 1_000.0
            for order, _ in orders.values()
            if order.get("order_filled_timestamp")
        ]
        if waits:
            found += sample("fills.seconds", bot, now, float(np.median(waits)))
        return found + sample(
            "fills.slippage_bps", bot, now, self._slippage(list(orders.values()), timeframe)
        )

    def _slippage(
        self, orders: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], timeframe: str
    ) -> float:
        """Mean cost of fills, weighted by value, in basis points; positive = worse than expected."""
        filled = [(o, t) for o, t in orders if float(o.get("filled") or 0.0) > 0.0 and _price(o) > 0.0]
        opens = self._opens([order for order, _ in filled], timeframe)
        total = weight = 0.0
        for order, trade in filled:
            expected = opens.get(str(order["order_id"])) or float(order.get("price") or 0.0)
            if expected <= 0.0:
                continue
            kind = order.get("ft_order_side")
            bought = kind == "buy" or (kind == "stoploss" and trade.get("is_short"))
            side = 1.0 if bought else -1.0
            paid = _price(order)
            value = float(order["filled"]) * paid
            total += value * side * (paid / expected - 1.0) * 1e4
            weight += value
        return total / weight if weight > 0.0 else float("nan")

    def _opens(self, orders: Sequence[Mapping[str, Any]], timeframe: str) -> dict[str, float]:
        """Order id → open of the candle that it was placed in, which a backtest would have paid."""
        if self._store is None or not orders or not timeframe:
            return {}
        from bascule.data.store import Store

        try:
            bar = Timeframe.parse(timeframe)
            times = {
                str(order["order_id"]): bar.floor(np.datetime64(int(order["order_timestamp"]), "ms"))
                for order in orders
            }
            ids = {str(order["order_id"]): Instrument.parse(str(order["pair"])).id for order in orders}
            store = Store.open(self._store)
            known = set(store.instruments(bar))
            wanted = sorted(set(ids.values()) & known)
            if not wanted:
                return {}
            frame = store.frame(
                bar, start=min(times.values()), end=max(times.values()) + bar.delta, instruments=wanted
            )
        except BasculeError:  # candles of these hours are not there yet: the price asked for must do
            return {}
        stamps = frame["time"].dt.tz_localize(None).to_numpy("datetime64[ns]")
        prices = dict(
            zip(zip(frame["instrument"].astype(str), stamps, strict=True), frame["open"], strict=True)
        )
        found = {name: prices.get((ids[name], times[name])) for name in times}
        return {name: float(price) for name, price in found.items() if price is not None}


class Books:
    """What the bots' open trades are exposed to and can lose.

    Args:
        apis: the bots.
        research: candles, bundle and windows.
        every: seconds between readings.
    """

    name = "books"

    def __init__(self, apis: Sequence[BotApi], research: Research, every: float) -> None:
        self.apis, self.research, self.every = apis, research, every

    def read(self, since: datetime | None, now: datetime) -> list[Sample]:
        """Samples of each bot that answers.

        Raises:
            BasculeError: candles or bundle cannot be read.
        """
        if not grid(since, now, self.every):
            return []
        view = self.research.view(now, now)
        row = len(view.panel.time) - 1
        found: list[Sample] = []
        for api in self.apis:
            try:
                trades, balance = _rows(api.get("/status")), _mapping(api.get("/balance"))
            except BridgeError:
                continue  # the bot's own source says so
            weights = weights_of(trades, balance, view.panel.instruments)
            found += view.book(api.name, weights, row, now)
        return found


def weights_of(
    trades: Sequence[Mapping[str, Any]], balance: Mapping[str, Any], instruments: Sequence[str]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Signed shares of equity ``[N]`` of open trades; pairs that are no instrument are left out."""
    equity = float(balance.get("total_bot") or balance.get("total") or 0.0)
    found = np.zeros(len(instruments))
    place = {name: n for n, name in enumerate(instruments)}
    for trade in trades:
        try:
            name = Instrument.parse(str(trade["pair"])).id
        except DataError:
            continue
        if name in place and equity > 0.0:
            value = float(trade["amount"]) * float(trade.get("current_rate") or trade["open_rate"])
            found[place[name]] += (-value if trade.get("is_short") else value) / equity
    return found


def _price(order: Mapping[str, Any]) -> float:
    """What was paid; a dry run gives no average."""
    return float(order.get("average") or order.get("safe_price") or order.get("price") or 0.0)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BridgeError("an answer is not what freqtrade sends", where="bot", remedy="check its version")
    return value


def _rows(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise BridgeError("an answer is not what freqtrade sends", where="bot", remedy="check its version")
    return value
