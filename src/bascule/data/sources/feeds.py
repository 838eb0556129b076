"""What the exchanges' liquidation channels say: how to subscribe, and how to read a message.

=======  =====================================  ============================================================
venue    channel                                side and amount
=======  =====================================  ============================================================
binance  ``!forceOrder@arr``                    order side: SELL closes a long; coins
bybit    ``allLiquidation.<symbol>``            position side: Buy is a long; coins
okx      ``liquidation-orders``, SWAP           ``posSide``, or by order side in net mode; contracts
=======  =====================================  ============================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bascule.core import BasculeError, Instrument, moment

_PERPETUAL = re.compile(r"([A-Z0-9]+)(USDT|USDC)")


@dataclass(frozen=True)
class Event:
    """One liquidation.

    Attributes:
        time: when, by the venue's clock (UTC).
        received: when the message came, by our clock (UTC).
        instrument: store id of the perpetual.
        side: the position that was closed, ``long`` or ``short``.
        price: price of the order, in the quote currency.
        amount: coins, or contracts on OKX.
    """

    time: np.datetime64
    received: np.datetime64
    instrument: str
    side: str
    price: float
    amount: float


@dataclass(frozen=True)
class Feed:
    """One venue's channel.

    Attributes:
        url: public websocket.
        subscriptions: messages to send first, from the wanted instruments.
        parse: events of a decoded message.
        ping: text that keeps the connection alive, None = the protocol's own ping does.
        needs_instruments: the channel is one a symbol.
    """

    url: str
    subscriptions: Callable[[Sequence[str]], list[str]]
    parse: Callable[[Any, np.datetime64], Iterator[Event]]
    ping: str | None = None
    needs_instruments: bool = False

    def read(self, text: str, received: np.datetime64) -> list[Event]:
        """Events of a message; other messages (answers, pongs) and damaged ones give none."""
        try:
            return list(self.parse(json.loads(text), received))
        except (BasculeError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError):
            return []


def _id(symbol: str) -> str | None:
    """Store id of ``BTCUSDT``; None for dated and coin-margined contracts, which are not recorded."""
    match = _PERPETUAL.fullmatch(symbol)
    return Instrument(match[1], match[2], match[2]).id if match else None


def _time(ms: Any) -> np.datetime64:
    return moment(np.datetime64(int(ms), "ms"))


def _binance(message: Any, received: np.datetime64) -> Iterator[Event]:
    for one in message if isinstance(message, list) else [message]:
        if one.get("e") != "forceOrder":
            continue
        order = one["o"]
        name = _id(order["s"])
        if name:
            side = {"SELL": "long", "BUY": "short"}[order["S"]]
            price = float(order["ap"]) or float(order["p"])
            yield Event(_time(order["T"]), received, name, side, price, float(order["q"]))


def _bybit(message: Any, received: np.datetime64) -> Iterator[Event]:
    if not str(message.get("topic", "")).startswith("allLiquidation."):
        return
    for one in message["data"]:
        name = _id(one["s"])
        if name:
            side = {"Buy": "long", "Sell": "short"}[one["S"]]
            yield Event(_time(one["T"]), received, name, side, float(one["p"]), float(one["v"]))


def _okx(message: Any, received: np.datetime64) -> Iterator[Event]:
    if message.get("arg", {}).get("channel") != "liquidation-orders":
        return
    for one in message.get("data", []):
        base, quote, kind = one["instId"].split("-", 2)
        if kind != "SWAP" or quote not in ("USDT", "USDC"):
            continue
        for detail in one["details"]:
            side = detail.get("posSide")
            if side not in ("long", "short"):
                side = {"sell": "long", "buy": "short"}[detail["side"]]
            yield Event(
                _time(detail["ts"]),
                received,
                Instrument(base, quote, quote).id,
                side,
                float(detail["bkPx"]),
                float(detail["sz"]),
            )


def _bybit_topics(instruments: Sequence[str]) -> list[str]:
    topics = [f"allLiquidation.{Instrument.parse(name).symbol}" for name in instruments]
    # a subscription takes ten topics at most
    return [json.dumps({"op": "subscribe", "args": topics[i : i + 10]}) for i in range(0, len(topics), 10)]


FEEDS: dict[str, Feed] = {
    "binance": Feed("wss://fstream.binance.com/ws/!forceOrder@arr", lambda _: [], _binance),
    "bybit": Feed(
        "wss://stream.bybit.com/v5/public/linear",
        _bybit_topics,
        _bybit,
        ping='{"op":"ping"}',
        needs_instruments=True,
    ),
    "okx": Feed(
        "wss://ws.okx.com:8443/ws/v5/public",
        lambda _: [
            json.dumps({"op": "subscribe", "args": [{"channel": "liquidation-orders", "instType": "SWAP"}]})
        ],
        _okx,
        ping="ping",
    ),
}
