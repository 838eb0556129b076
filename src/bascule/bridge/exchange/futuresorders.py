"""Orders of USDT futures, in Binance's words: plain and conditional ones, and their fills."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from bascule.bridge.exchange import intake, wire
from bascule.bridge.exchange.engine import Engine
from bascule.bridge.exchange.orders import Order, Trade
from bascule.bridge.exchange.query import Query, integer, listing_of, symbol_of
from bascule.bridge.exchange.spotroutes import Private, cancellable, chosen_orders, chosen_trades, find_order
from bascule.bridge.exchange.wire import Json, Refusal, plain, price_text

ZERO = Decimal(0)


def order_json(order: Order) -> dict[str, Any]:
    """An order, as queries answer it."""
    average = order.turnover / order.executed if order.executed else ZERO
    return {
        "orderId": order.id,
        "symbol": order.symbol,
        "status": order.public_status,
        "clientOrderId": order.client_id,
        "price": plain(order.price or ZERO),
        "avgPrice": price_text(average),
        "origQty": plain(order.quantity),
        "executedQty": plain(order.executed),
        "cumQty": plain(order.executed),
        "cumQuote": plain(order.turnover),
        "timeInForce": "GTC" if order.type == "MARKET" else order.lifetime,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side,
        "positionSide": "BOTH",
        "stopPrice": plain(order.stop or ZERO),
        "workingType": order.working_type,
        "priceProtect": False,
        "origType": order.type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "NONE",
        "goodTillDate": 0,
        "time": order.created,
        "updateTime": order.updated,
    }


def algo_json(engine: Engine, order: Order) -> dict[str, Any]:
    """A conditional order."""
    working = engine.account.orders.get(order.actual) if order.actual else None
    average = working.turnover / working.executed if working and working.executed else ZERO
    return {
        "algoId": order.id,
        "clientAlgoId": order.client_id,
        "algoType": "CONDITIONAL",
        "orderType": order.type,
        "symbol": order.symbol,
        "side": order.side,
        "positionSide": "BOTH",
        "timeInForce": order.lifetime,
        "quantity": plain(order.quantity),
        "algoStatus": order.algo_status,
        "actualOrderId": str(order.actual) if order.actual else "",
        "actualPrice": price_text(average),
        "triggerPrice": plain(order.stop or ZERO),
        "price": plain(order.price or ZERO),
        "icebergQuantity": None,
        "selfTradePreventionMode": "NONE",
        "workingType": order.working_type,
        "priceMatch": "NONE",
        "closePosition": order.close_position,
        "priceProtect": False,
        "reduceOnly": order.reduce_only,
        "createTime": order.created,
        "updateTime": order.updated,
        "triggerTime": order.triggered or 0,
        "goodTillDate": 0,
    }


def trade_json(trade: Trade) -> dict[str, Any]:
    """A fill, as ``userTrades`` answers it."""
    return {
        "symbol": trade.symbol,
        "id": trade.id,
        "orderId": trade.order,
        "side": trade.side,
        "price": plain(trade.price),
        "qty": plain(trade.quantity),
        "quoteQty": plain(trade.turnover),
        "realizedPnl": plain(trade.realised),
        "marginAsset": trade.fee_asset,
        "commission": plain(trade.fee),
        "commissionAsset": trade.fee_asset,
        "positionSide": "BOTH",
        "buyer": trade.side == "BUY",
        "maker": trade.maker,
        "time": trade.ms,
    }


def place(engine: Engine, query: Query) -> Json:
    """``POST /fapi/v1/order``."""
    listing = listing_of(engine.market, query)
    return order_json(engine.place(intake.read(query, listing, "futures"), listing))


def place_batch(engine: Engine, query: Query) -> Json:
    """``POST /fapi/v1/batchOrders``: up to five, each on its own."""
    try:
        wishes = json.loads(query.get("batchOrders") or "")
    except json.JSONDecodeError:
        raise wire.illegal("batchOrders", "a JSON list") from None
    orders = isinstance(wishes, list) and all(isinstance(wish, dict) for wish in wishes)
    if not orders or not 1 <= len(wishes) <= 5:
        raise wire.illegal("batchOrders", "a JSON list of one to five orders")
    answers: list[Any] = []
    for wish in wishes:
        try:
            answers.append(place(engine, {name: str(value) for name, value in wish.items()}))
        except Refusal as refusal:
            answers.append(refusal.to_json())
    return answers


def get_order(engine: Engine, query: Query) -> Json:
    """``GET /fapi/v1/order``."""
    return order_json(find_order(engine, query))


def open_order(engine: Engine, query: Query) -> Json:
    """``GET /fapi/v1/openOrder``."""
    order = find_order(engine, query)
    if not order.is_open:
        raise Refusal(-2013, "Order does not exist.")
    return order_json(order)


def open_orders(engine: Engine, query: Query) -> Json:
    """``GET /fapi/v1/openOrders``."""
    return [order_json(o) for o in _open(engine, query, algo=False)]


def _open(engine: Engine, query: Query, *, algo: bool) -> list[Order]:
    return [o for o in engine.account.open_orders(symbol_of(engine.market, query)) if o.algo == algo]


def cancel(engine: Engine, query: Query) -> Json:
    """``DELETE /fapi/v1/order``."""
    return order_json(engine.cancel(cancellable(engine, query)))


def cancel_all(engine: Engine, query: Query) -> Json:
    """``DELETE /fapi/v1/allOpenOrders``."""
    listing_of(engine.market, query)
    for order in _open(engine, query, algo=False):
        engine.cancel(order)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def all_orders(engine: Engine, query: Query) -> Json:
    """``GET /fapi/v1/allOrders``."""
    return [order_json(o) for o in chosen_orders(engine, query)]


def user_trades(engine: Engine, query: Query) -> Json:
    """``GET /fapi/v1/userTrades``."""
    return [trade_json(t) for t in chosen_trades(engine, query)]


def place_algo(engine: Engine, query: Query) -> Json:
    """``POST /fapi/v1/algoOrder``."""
    if query.get("algoType") != "CONDITIONAL":
        raise wire.mandatory("algoType")
    listing = listing_of(engine.market, query)
    return algo_json(engine, engine.place(intake.read(query, listing, "futures", algo=True), listing))


def get_algo(engine: Engine, query: Query) -> Json:
    """``GET /fapi/v1/algoOrder``."""
    found = _algo(reversed(engine.account.orders.values()), query)
    if found is None:
        raise Refusal(-2013, "Order does not exist.")
    return algo_json(engine, found)


def _algo(orders: Iterable[Order], query: Query) -> Order | None:
    """The first conditional order that a query names: by number or client's name, without a symbol."""
    number, client = integer(query, "algoId"), query.get("clientAlgoId")
    for order in orders:
        if order.algo and (order.id == number or (number is None and order.client_id == client)):
            return order
    return None


def cancel_algo(engine: Engine, query: Query) -> Json:
    """``DELETE /fapi/v1/algoOrder``."""
    found = _algo(engine.account.open_orders(), query)
    if found is None:
        raise Refusal(-2011, "Unknown order sent.")
    engine.cancel(found)
    return {"algoId": found.id, "clientAlgoId": found.client_id, "code": "200", "msg": "success"}


def open_algos(engine: Engine, query: Query) -> Json:
    """``GET /fapi/v1/openAlgoOrders``."""
    return [algo_json(engine, o) for o in _open(engine, query, algo=True)]


def all_algos(engine: Engine, query: Query) -> Json:
    """``GET /fapi/v1/allAlgoOrders``."""
    return [algo_json(engine, o) for o in chosen_orders(engine, query, algo=True)]


def cancel_algos(engine: Engine, query: Query) -> Json:
    """``DELETE /fapi/v1/algoOpenOrders``."""
    listing_of(engine.market, query)
    for order in _open(engine, query, algo=True):
        engine.cancel(order)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


_V1 = "/fapi/v1/"
FUTURES_ORDERS: Mapping[tuple[str, str], Private] = {
    ("POST", _V1 + "order"): place,
    ("POST", _V1 + "batchOrders"): place_batch,
    ("GET", _V1 + "order"): get_order,
    ("GET", _V1 + "openOrder"): open_order,
    ("GET", _V1 + "openOrders"): open_orders,
    ("DELETE", _V1 + "order"): cancel,
    ("DELETE", _V1 + "allOpenOrders"): cancel_all,
    ("GET", _V1 + "allOrders"): all_orders,
    ("GET", _V1 + "userTrades"): user_trades,
    ("POST", _V1 + "algoOrder"): place_algo,
    ("GET", _V1 + "algoOrder"): get_algo,
    ("DELETE", _V1 + "algoOrder"): cancel_algo,
    ("GET", _V1 + "openAlgoOrders"): open_algos,
    ("GET", _V1 + "allAlgoOrders"): all_algos,
    ("DELETE", _V1 + "algoOpenOrders"): cancel_algos,
}
