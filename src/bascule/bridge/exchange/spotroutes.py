"""Private endpoints of spot, in Binance's words: account, orders, trades."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import takewhile
from typing import Any

from bascule.bridge.exchange import intake, wire
from bascule.bridge.exchange.engine import Engine
from bascule.bridge.exchange.ledger import FREE, LOCKED
from bascule.bridge.exchange.orders import Order, Trade
from bascule.bridge.exchange.query import Query, integer, limit_of, listing_of, symbol_of
from bascule.bridge.exchange.wire import Json, Refusal, plain

Private = Callable[[Engine, Query], Json]


def order_json(order: Order) -> dict[str, Any]:
    """An order, as queries answer it."""
    return {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "price": plain(order.price or Decimal(0)),
        "origQty": plain(order.quantity),
        "executedQty": plain(order.executed),
        "cummulativeQuoteQty": plain(order.turnover),
        "origQuoteOrderQty": plain(order.budget or Decimal(0)),
        "status": order.public_status,
        "timeInForce": "GTC" if order.type == "MARKET" else order.lifetime,
        "type": order.type,
        "side": order.side,
        "stopPrice": plain(order.stop or Decimal(0)),
        "icebergQty": "0",
        "time": order.created,
        "updateTime": order.updated,
        "isWorking": order.status != "PENDING",
        "workingTime": -1 if order.status == "PENDING" else order.triggered or order.created,
        "selfTradePreventionMode": "NONE",
    }


def trade_json(trade: Trade) -> dict[str, Any]:
    """A fill, as ``myTrades`` answers it."""
    return {
        "symbol": trade.symbol,
        "id": trade.id,
        "orderId": trade.order,
        "orderListId": -1,
        "price": plain(trade.price),
        "qty": plain(trade.quantity),
        "quoteQty": plain(trade.turnover),
        "commission": plain(trade.fee),
        "commissionAsset": trade.fee_asset,
        "time": trade.ms,
        "isBuyer": trade.side == "BUY",
        "isMaker": trade.maker,
        "isBestMatch": True,
    }


def find_order(engine: Engine, query: Query) -> Order:
    """The order that a query names.

    Raises:
        Refusal: it names none, or one that does not exist.
    """
    symbol = listing_of(engine.market, query).instrument.symbol
    number, client = integer(query, "orderId"), query.get("origClientOrderId")
    if number is None and not client:
        raise wire.mandatory("orderId")
    found = engine.find(symbol, number=number, client_id=client)
    if found is None:
        raise Refusal(-2013, "Order does not exist.")
    return found


def cancellable(engine: Engine, query: Query) -> Order:
    """The order that a cancellation names; Binance answers one that it does not know otherwise than a query.

    Raises:
        Refusal: as `find_order`.
    """
    try:
        return find_order(engine, query)
    except Refusal as refusal:
        raise Refusal(-2011, "Unknown order sent.") if refusal.code == -2013 else refusal from None


def chosen_orders(engine: Engine, query: Query, *, algo: bool = False) -> list[Order]:
    """``allOrders``: those of a symbol from a number or time on, oldest first, at most ``limit``."""
    symbol = listing_of(engine.market, query).instrument.symbol
    first, start, end = (integer(query, name) for name in ("orderId", "startTime", "endTime"))
    limit = limit_of(query, 500, 1_000)
    found = [
        o
        for o in engine.account.orders.values()
        if o.symbol == symbol and o.algo == algo and _within(o.created, start, end)
    ]
    if first is not None:
        found = [o for o in found if o.id >= first]
    return found[:limit] if first is not None or start is not None else found[-limit:]


def chosen_trades(engine: Engine, query: Query) -> list[Trade]:
    """``myTrades`` and ``userTrades``: cut as `chosen_orders` cuts."""
    symbol = listing_of(engine.market, query).instrument.symbol
    first, start, end, order = (integer(query, n) for n in ("fromId", "startTime", "endTime", "orderId"))
    limit = limit_of(query, 500, 1_000)
    found = [
        t
        for t in engine.account.trades
        if t.symbol == symbol and _within(t.ms, start, end) and order in (None, t.order)
    ]
    if first is not None:
        found = [t for t in found if t.id >= first]
    return found[:limit] if first is not None or start is not None else found[-limit:]


def _within(ms: int, start: int | None, end: int | None) -> bool:
    return (start is None or ms >= start) and (end is None or ms <= end)


def account(engine: Engine, query: Query) -> Json:
    """``GET /account``."""
    books = engine.account
    rows = [
        {
            "asset": asset,
            "free": plain(books.ledger.balance(FREE, asset)),
            "locked": plain(books.ledger.balance(LOCKED, asset)),
        }
        for asset in _assets(engine)
    ]
    if query.get("omitZeroBalances") == "true":
        rows = [row for row in rows if row["free"] != "0" or row["locked"] != "0"]
    rates = {"maker": plain(books.maker_fee), "taker": plain(books.taker_fee)}
    return {
        "makerCommission": int(books.maker_fee * 10_000),
        "takerCommission": int(books.taker_fee * 10_000),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {**rates, "buyer": "0", "seller": "0"},
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "updateTime": engine.at,
        "accountType": "SPOT",
        "balances": rows,
        "permissions": ["SPOT"],
        "uid": 1,
    }


def _assets(engine: Engine) -> list[str]:
    listed = [one.instrument for one in engine.market.listings.values()]
    names = {i.base for i in listed} | {i.quote for i in listed} | set(engine.account.ledger.assets())
    return sorted(names)


def place(engine: Engine, query: Query) -> Json:
    """``POST /order``: answers with the fills (FULL), without them (RESULT) or the number only (ACK)."""
    listing = listing_of(engine.market, query)
    kind = query.get("newOrderRespType") or ("FULL" if query.get("type") in ("MARKET", "LIMIT") else "ACK")
    if kind not in ("ACK", "RESULT", "FULL"):
        raise Refusal(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
    order = engine.place(intake.read(query, listing, "spot"), listing)
    answer = order_json(order) | {"transactTime": order.created}
    for name in ("time", "updateTime", "isWorking"):
        del answer[name]
    if kind == "ACK":
        wanted = ("symbol", "orderId", "orderListId", "clientOrderId", "transactTime")
        return {name: answer[name] for name in wanted}
    if kind == "FULL":
        # the newest trades are this order's
        mine = list(takewhile(lambda t: t.order == order.id, reversed(engine.account.trades)))
        answer["fills"] = [
            {
                "price": plain(t.price),
                "qty": plain(t.quantity),
                "commission": plain(t.fee),
                "commissionAsset": t.fee_asset,
                "tradeId": t.id,
            }
            for t in reversed(mine)
        ]
    return answer


def place_test(engine: Engine, query: Query) -> Json:
    """``POST /order/test``: read it, do nothing."""
    intake.read(query, listing_of(engine.market, query), "spot")
    return {}


def get_order(engine: Engine, query: Query) -> Json:
    """``GET /order``."""
    return order_json(find_order(engine, query))


def cancel(engine: Engine, query: Query) -> Json:
    """``DELETE /order``."""
    order = engine.cancel(cancellable(engine, query))
    return order_json(order) | {"origClientOrderId": order.client_id, "transactTime": order.updated}


def open_orders(engine: Engine, query: Query) -> Json:
    """``GET /openOrders``."""
    return [order_json(o) for o in engine.account.open_orders(symbol_of(engine.market, query))]


def cancel_all(engine: Engine, query: Query) -> Json:
    """``DELETE /openOrders``."""
    symbol = listing_of(engine.market, query).instrument.symbol
    found = engine.account.open_orders(symbol)
    if not found:
        raise Refusal(-2011, "Unknown order sent.")
    return [order_json(engine.cancel(o)) | {"origClientOrderId": o.client_id} for o in found]


def all_orders(engine: Engine, query: Query) -> Json:
    """``GET /allOrders``."""
    return [order_json(o) for o in chosen_orders(engine, query)]


def my_trades(engine: Engine, query: Query) -> Json:
    """``GET /myTrades``."""
    return [trade_json(t) for t in chosen_trades(engine, query)]


def commission(engine: Engine, query: Query) -> Json:
    """``GET /account/commission``."""
    books, zero = engine.account, {"maker": "0", "taker": "0", "buyer": "0", "seller": "0"}
    return {
        "symbol": listing_of(engine.market, query).instrument.symbol,
        "standardCommission": zero | {"maker": plain(books.maker_fee), "taker": plain(books.taker_fee)},
        "taxCommission": zero,
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "BNB",
            "discount": "0",
        },
    }


def trade_fees(engine: Engine, query: Query) -> Json:
    """``GET /sapi/v1/asset/tradeFee``."""
    books = engine.account
    wanted = query.get("symbol")
    return [
        {
            "symbol": symbol,
            "makerCommission": plain(books.maker_fee),
            "takerCommission": plain(books.taker_fee),
        }
        for symbol in engine.market.listings
        if wanted in (None, "", symbol)
    ]


def coins(engine: Engine, _query: Query) -> Json:
    """``GET /sapi/v1/capital/config/getall``: every asset, none of which can leave."""
    return [
        {
            "coin": asset,
            "name": asset,
            "depositAllEnable": False,
            "withdrawAllEnable": False,
            "free": plain(engine.account.ledger.balance(FREE, asset)),
            "locked": plain(engine.account.ledger.balance(LOCKED, asset)),
            "isLegalMoney": False,
            "trading": True,
            "networkList": [],
        }
        for asset in _assets(engine)
    ]


def delistings(engine: Engine, _query: Query) -> Json:
    """``GET /sapi/v1/spot/delist-schedule``: delistings that the fault plan has announced (a week ahead)."""
    week = 7 * 86_400_000
    soon = {s: ms for s, ms in engine.market.halts.items() if ms - week <= engine.at}
    return [
        {"delistTime": ms, "symbols": sorted(s for s, at in soon.items() if at == ms)}
        for ms in sorted(set(soon.values()))
    ]


def nothing(_engine: Engine, _query: Query) -> Json:
    """Margin lists: there is no margin trading here."""
    return []


_BASE = "/api/v3/"
SPOT_PRIVATE: Mapping[tuple[str, str], Private] = {
    ("GET", _BASE + "account"): account,
    ("GET", _BASE + "account/commission"): commission,
    ("POST", _BASE + "order"): place,
    ("POST", _BASE + "order/test"): place_test,
    ("GET", _BASE + "order"): get_order,
    ("DELETE", _BASE + "order"): cancel,
    ("GET", _BASE + "openOrders"): open_orders,
    ("DELETE", _BASE + "openOrders"): cancel_all,
    ("GET", _BASE + "allOrders"): all_orders,
    ("GET", _BASE + "myTrades"): my_trades,
    ("GET", "/sapi/v1/capital/config/getall"): coins,
    ("GET", "/sapi/v1/asset/tradeFee"): trade_fees,
    ("GET", "/sapi/v1/spot/delist-schedule"): delistings,
    ("GET", "/sapi/v1/margin/allPairs"): nothing,
    ("GET", "/sapi/v1/margin/isolated/allPairs"): nothing,
}
