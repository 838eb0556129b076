"""Websocket streams of the user's data: what happened to his orders and his money, in Binance's words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from bascule.bridge.exchange.engine import Engine
from bascule.bridge.exchange.futures import FuturesAccount
from bascule.bridge.exchange.ledger import FREE, LOCKED, isolated
from bascule.bridge.exchange.orders import Event, Order, Trade
from bascule.bridge.exchange.wire import eight, plain, price_text

ZERO = Decimal(0)


def message(engine: Engine, event: Event) -> dict[str, Any]:
    """The message of one event."""
    if event.kind == "order":
        assert event.order is not None
        if not isinstance(engine.account, FuturesAccount):
            return _spot_order(event.order, event.trade, event.ms)
        if event.order.algo:
            return _algo(event.order, event.ms)
        return _futures_order(event.order, event.trade, event.ms)
    if isinstance(engine.account, FuturesAccount):
        return _futures_account(engine.account, event)
    return _spot_account(engine, event)


def _what(order: Order, trade: Trade | None) -> str:
    if trade is not None:
        return "TRADE"
    return order.status if order.status not in ("PENDING", "PARTIALLY_FILLED", "FILLED") else "NEW"


def _spot_order(order: Order, trade: Trade | None, ms: int) -> dict[str, Any]:
    return {
        "e": "executionReport",
        "E": ms,
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": order.type,
        "f": order.lifetime,
        "q": plain(order.quantity),
        "p": plain(order.price or ZERO),
        "P": plain(order.stop or ZERO),
        "F": "0",
        "g": -1,
        "C": "",
        "x": _what(order, trade),
        "X": order.public_status,
        "r": "NONE",
        "i": order.id,
        "l": plain(trade.quantity if trade else ZERO),
        "z": plain(order.executed),
        "L": plain(trade.price if trade else ZERO),
        "n": plain(trade.fee if trade else ZERO),
        "N": trade.fee_asset if trade else None,
        "T": ms,
        "t": trade.id if trade else -1,
        "w": order.is_open and order.status != "PENDING",
        "m": bool(trade and trade.maker),
        "O": order.created,
        "Z": plain(order.turnover),
        "Y": plain(trade.turnover if trade else ZERO),
        "Q": plain(order.budget or ZERO),
    }


def _spot_account(engine: Engine, event: Event) -> dict[str, Any]:
    asset = engine.market.listings[event.detail["symbol"]].instrument
    ledger = engine.account.ledger
    rows = [
        {"a": name, "f": plain(ledger.balance(FREE, name)), "l": plain(ledger.balance(LOCKED, name))}
        for name in (asset.base, asset.quote)
    ]
    return {"e": "outboundAccountPosition", "E": event.ms, "u": event.ms, "B": rows}


def _futures_order(order: Order, trade: Trade | None, ms: int) -> dict[str, Any]:
    average = order.turnover / order.executed if order.executed else ZERO
    details = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": order.type,
        "f": order.lifetime,
        "q": plain(order.quantity),
        "p": plain(order.price or ZERO),
        "ap": price_text(average),
        "sp": plain(order.stop or ZERO),
        "x": _what(order, trade),
        "X": order.public_status,
        "i": order.id,
        "l": plain(trade.quantity if trade else ZERO),
        "z": plain(order.executed),
        "L": plain(trade.price if trade else ZERO),
        "n": plain(trade.fee if trade else ZERO),
        "N": trade.fee_asset if trade else None,
        "T": ms,
        "t": trade.id if trade else 0,
        "m": bool(trade and trade.maker),
        "R": order.reduce_only,
        "wt": order.working_type,
        "ot": order.type,
        "ps": "BOTH",
        "cp": order.close_position,
        "rp": plain(trade.realised if trade else ZERO),
    }
    return {"e": "ORDER_TRADE_UPDATE", "E": ms, "T": ms, "o": details}


def _algo(order: Order, ms: int) -> dict[str, Any]:
    details = {
        "caid": order.client_id,
        "aid": order.id,
        "at": "CONDITIONAL",
        "o": order.type,
        "s": order.symbol,
        "S": order.side,
        "ps": "BOTH",
        "f": order.lifetime,
        "q": plain(order.quantity),
        "X": order.algo_status,
        "ai": str(order.actual or ""),
        "tp": plain(order.stop or ZERO),
        "p": plain(order.price or ZERO),
        "wt": order.working_type,
        "cp": order.close_position,
        "R": order.reduce_only,
        "tt": order.triggered or 0,
    }
    return {"e": "ALGO_UPDATE", "E": ms, "T": ms, "o": details}


def _futures_account(account: FuturesAccount, event: Event) -> dict[str, Any]:
    symbol = event.detail["symbol"]
    if event.detail["reason"] == "LEVERAGE":
        terms = {"s": symbol, "l": account.position(symbol).leverage}
        return {"e": "ACCOUNT_CONFIG_UPDATE", "E": event.ms, "T": event.ms, "ac": terms}
    position, asset = account.position(symbol), account.asset(symbol)
    cross = account.ledger.balance(FREE, asset)
    whole = cross + sum((account.ledger.balance(isolated(s), asset) for s in account.positions), ZERO)
    row = {
        "s": symbol,
        "pa": plain(position.amount),
        "ep": price_text(position.entry),
        "up": eight(account.profit(symbol)),
        "mt": "isolated" if position.isolated else "cross",
        "iw": plain(account.margin(symbol)),
        "ps": "BOTH",
    }
    body = {
        "m": event.detail["reason"],
        "B": [{"a": asset, "wb": plain(whole), "cw": plain(cross)}],
        "P": [row],
    }
    return {"e": "ACCOUNT_UPDATE", "E": event.ms, "T": event.ms, "a": body}
