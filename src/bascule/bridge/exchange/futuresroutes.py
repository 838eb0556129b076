"""Private endpoints of USDT futures, in Binance's words: account, positions, orders, income."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

from bascule.bridge.exchange import intake, wire
from bascule.bridge.exchange.account import UNIT
from bascule.bridge.exchange.brackets import brackets
from bascule.bridge.exchange.engine import Engine
from bascule.bridge.exchange.futures import FuturesAccount
from bascule.bridge.exchange.ledger import EXACT, FREE, Entry, isolated
from bascule.bridge.exchange.orders import Order, Trade
from bascule.bridge.exchange.query import Query, integer, limit_of, listing_of
from bascule.bridge.exchange.spotroutes import (
    Private,
    chosen_orders,
    chosen_trades,
    coins,
    find_order,
    nothing,
)
from bascule.bridge.exchange.wire import Json, Refusal, plain

ZERO = Decimal(0)
_STATUS = {"PENDING": "NEW"}
# what the conditional service calls its states
_ALGO_STATUS = {"PENDING": "NEW", "FILLED": "FINISHED"}
_INCOME = {
    "pnl": "REALIZED_PNL",
    "fee": "COMMISSION",
    "funding": "FUNDING_FEE",
    "liquidation": "INSURANCE_CLEAR",
    "deposit": "TRANSFER",
}


def books_of(engine: Engine) -> FuturesAccount:
    """The account, known to be one of futures."""
    assert isinstance(engine.account, FuturesAccount)
    return engine.account


def eight(value: Decimal) -> str:
    """Eight decimals at most."""
    with localcontext(EXACT) as context:
        context.clear_traps()
        return plain(value.quantize(UNIT, ROUND_HALF_UP))


def price_text(value: Decimal) -> str:
    """A price that was divided: eighteen decimals at most."""
    with localcontext(EXACT) as context:
        context.clear_traps()
        return plain(value.quantize(Decimal(1).scaleb(-18), ROUND_HALF_UP))


def order_json(order: Order) -> dict[str, Any]:
    """An order, as queries answer it."""
    average = order.turnover / order.executed if order.executed else ZERO
    return {
        "orderId": order.id,
        "symbol": order.symbol,
        "status": _STATUS.get(order.status, order.status),
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
        "algoStatus": _ALGO_STATUS.get(order.status, order.status),
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


# -- account -----------------------------------------------------------------------------------------


def _asset_json(books: FuturesAccount, asset: str, now: int) -> dict[str, Any]:
    held = [p for p in books.positions.values() if p.amount and books.asset(p.symbol) == asset]
    crossed = books.crossed(asset)
    wallet = books.ledger.balance(FREE, asset)
    whole = wallet + sum((books.ledger.balance(isolated(s), asset) for s in books.positions), ZERO)
    profit = sum((books.profit(p.symbol) for p in held), ZERO)
    positions = sum((books.initial_margin(p.symbol) for p in held), ZERO)
    orders = books.order_margin(asset)
    return {
        "asset": asset,
        "walletBalance": plain(whole),
        "unrealizedProfit": eight(profit),
        "marginBalance": eight(whole + profit),
        "maintMargin": eight(sum((books.maintenance(p.symbol) for p in held), ZERO)),
        "initialMargin": eight(positions + orders),
        "positionInitialMargin": eight(positions),
        "openOrderInitialMargin": eight(orders),
        "crossWalletBalance": plain(wallet),
        "crossUnPnl": eight(sum((books.profit(p.symbol) for p in crossed), ZERO)),
        "availableBalance": plain(books.available(asset)),
        "maxWithdrawAmount": plain(books.available(asset)),
        "updateTime": now,
        "marginAvailable": True,
    }


def _margin_assets(engine: Engine) -> list[str]:
    books = books_of(engine)
    return sorted({books.asset(s) for s in books.listings} | set(books.ledger.assets()))


def account(engine: Engine, _query: Query) -> Json:
    """``GET /fapi/v3/account`` (and v2)."""
    books = books_of(engine)
    assets = [_asset_json(books, asset, engine.at) for asset in _margin_assets(engine)]
    totals = {
        "totalInitialMargin": "initialMargin",
        "totalMaintMargin": "maintMargin",
        "totalWalletBalance": "walletBalance",
        "totalUnrealizedProfit": "unrealizedProfit",
        "totalMarginBalance": "marginBalance",
        "totalPositionInitialMargin": "positionInitialMargin",
        "totalOpenOrderInitialMargin": "openOrderInitialMargin",
        "totalCrossWalletBalance": "crossWalletBalance",
        "totalCrossUnPnl": "crossUnPnl",
        "availableBalance": "availableBalance",
        "maxWithdrawAmount": "maxWithdrawAmount",
    }
    sums = {name: plain(sum((Decimal(a[key]) for a in assets), ZERO)) for name, key in totals.items()}
    positions = [
        {
            "symbol": symbol,
            "positionSide": "BOTH",
            "positionAmt": plain(position.amount),
            "unrealizedProfit": eight(books.profit(symbol)),
            "isolatedMargin": eight(_isolated_margin(books, symbol)),
            "notional": eight(position.amount * books.mark(symbol)),
            "isolatedWallet": plain(books.margin(symbol)),
            "initialMargin": eight(books.initial_margin(symbol)),
            "maintMargin": eight(books.maintenance(symbol)),
            "leverage": str(position.leverage),
            "isolated": position.isolated,
            "entryPrice": price_text(position.entry),
            "updateTime": position.updated,
        }
        for symbol, position in sorted(books.positions.items())
        if position.amount
    ]
    terms = {"feeTier": 0, "canTrade": True, "canDeposit": False, "canWithdraw": False}
    return {**terms, "updateTime": engine.at, **sums, "assets": assets, "positions": positions}


def _isolated_margin(books: FuturesAccount, symbol: str) -> Decimal:
    return books.margin(symbol) + books.profit(symbol) if books.position(symbol).isolated else ZERO


def balance(engine: Engine, _query: Query) -> Json:
    """``GET /fapi/v3/balance`` (and v2)."""
    wanted = ("asset", "crossWalletBalance", "crossUnPnl", "availableBalance", "maxWithdrawAmount")
    rows = [_asset_json(books_of(engine), asset, engine.at) for asset in _margin_assets(engine)]
    return [
        {name: row[name] for name in wanted}
        | {"accountAlias": "replay", "balance": row["walletBalance"], "marginAvailable": True}
        | {"updateTime": engine.at}
        for row in rows
    ]


def account_config(_engine: Engine, _query: Query) -> Json:
    """``GET /fapi/v1/accountConfig``."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": False,
        "canWithdraw": False,
        "dualSidePosition": False,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def commission_rate(engine: Engine, query: Query) -> Json:
    """``GET /fapi/v1/commissionRate``."""
    books = engine.account
    return {
        "symbol": listing_of(engine.market, query).instrument.symbol,
        "makerCommissionRate": plain(books.maker_fee),
        "takerCommissionRate": plain(books.taker_fee),
    }


def position_risk(engine: Engine, query: Query) -> Json:
    """``GET /fapi/v3/positionRisk``: open positions, with v2's fields beside v3's."""
    books = books_of(engine)
    wanted = listing_of(engine.market, query).instrument.symbol if query.get("symbol") else None
    rows = []
    for symbol, position in sorted(books.positions.items()):
        if not position.amount or wanted not in (None, symbol):
            continue
        notional = position.amount * books.mark(symbol)
        rows.append(
            {
                "symbol": symbol,
                "positionSide": "BOTH",
                "positionAmt": plain(position.amount),
                "entryPrice": price_text(position.entry),
                "breakEvenPrice": price_text(position.entry),
                "markPrice": plain(books.mark(symbol)),
                "unRealizedProfit": eight(books.profit(symbol)),
                "liquidationPrice": eight(books.liquidation_price(symbol)),
                "isolatedMargin": eight(_isolated_margin(books, symbol)),
                "notional": eight(notional),
                "marginAsset": books.asset(symbol),
                "isolatedWallet": plain(books.margin(symbol)),
                "initialMargin": eight(books.initial_margin(symbol)),
                "maintMargin": eight(books.maintenance(symbol)),
                "positionInitialMargin": eight(books.initial_margin(symbol)),
                "openOrderInitialMargin": "0",
                "adl": 0,
                "bidNotional": "0",
                "askNotional": "0",
                "leverage": str(position.leverage),
                "marginType": "isolated" if position.isolated else "cross",
                "isolated": position.isolated,
                "updateTime": position.updated,
            }
        )
    return rows


def leverage_brackets(engine: Engine, query: Query) -> Json:
    """``GET /fapi/v1/leverageBracket``."""
    books = books_of(engine)
    chosen = [listing_of(engine.market, query).instrument.symbol] if query.get("symbol") else books.listings
    return [
        {
            "symbol": symbol,
            "brackets": [
                {
                    "bracket": number,
                    "initialLeverage": step.leverage,
                    "notionalCap": float(step.cap),
                    "notionalFloor": float(step.floor),
                    "maintMarginRatio": float(step.ratio),
                    "cum": float(step.deduction),
                }
                for number, step in enumerate(brackets(books.pair(symbol)), start=1)
            ],
        }
        for symbol in chosen
    ]


def set_leverage(engine: Engine, query: Query) -> Json:
    """``POST /fapi/v1/leverage``."""
    symbol = listing_of(engine.market, query).instrument.symbol
    leverage = integer(query, "leverage")
    if leverage is None:
        raise wire.mandatory("leverage")
    cap = books_of(engine).set_leverage(symbol, leverage, engine.at)
    return {"leverage": leverage, "maxNotionalValue": plain(cap), "symbol": symbol}


def set_margin_type(engine: Engine, query: Query) -> Json:
    """``POST /fapi/v1/marginType``."""
    symbol, kind = listing_of(engine.market, query).instrument.symbol, query.get("marginType")
    if kind not in ("ISOLATED", "CROSSED"):
        raise wire.mandatory("marginType")
    books_of(engine).set_isolated(symbol, kind == "ISOLATED", engine.at)
    return {"code": 200, "msg": "success"}


def move_margin(engine: Engine, query: Query) -> Json:
    """``POST /fapi/v1/positionMargin``: type 1 adds, 2 takes away."""
    symbol = listing_of(engine.market, query).instrument.symbol
    amount, kind = intake.decimal(query, "amount"), query.get("type")
    if amount is None or amount <= 0 or amount != amount.quantize(UNIT):
        raise wire.mandatory("amount")
    if kind not in ("1", "2"):
        raise wire.mandatory("type")
    books_of(engine).move_margin(symbol, amount if kind == "1" else -amount, engine.at)
    return {
        "amount": float(amount),
        "code": 200,
        "msg": "Successfully modify position margin.",
        "type": int(kind),
    }


def position_side(_engine: Engine, _query: Query) -> Json:
    """``GET /fapi/v1/positionSide/dual``: one-way mode."""
    return {"dualSidePosition": False}


def set_position_side(_engine: Engine, query: Query) -> Json:
    """``POST /fapi/v1/positionSide/dual``: there is nothing else to choose."""
    if query.get("dualSidePosition", "").lower() == "true":
        raise Refusal(-4061, "This replay exchange only knows one-way mode.")
    raise Refusal(-4059, "No need to change position side.")


def multi_assets(_engine: Engine, _query: Query) -> Json:
    """``GET /fapi/v1/multiAssetsMargin``: single asset."""
    return {"multiAssetsMargin": False}


def income(engine: Engine, query: Query) -> Json:
    """``GET /fapi/v1/income``: what changed the wallet, oldest first."""
    books, kind = books_of(engine), query.get("incomeType")
    wanted = listing_of(engine.market, query).instrument.symbol if query.get("symbol") else None
    start, end = integer(query, "startTime"), integer(query, "endTime")
    rows = [
        row
        for entry in books.ledger.entries
        if (start is None or entry.ms >= start) and (end is None or entry.ms <= end)
        for row in _income_rows(entry)
        if kind in (None, "", row["incomeType"]) and wanted in (None, row["symbol"])
    ]
    limit = limit_of(query, 100, 1_000)
    return rows[:limit] if start is not None else rows[-limit:]


def _income_rows(entry: Entry) -> list[dict[str, Any]]:
    kind = _INCOME.get(entry.kind)
    if kind is None:
        return []
    own = [p for p in entry.postings if p.account == FREE or p.account.startswith("isolated:")]
    return [
        {
            "symbol": entry.symbol,
            "incomeType": kind,
            "income": plain(line.amount),
            "asset": line.asset,
            "info": kind,
            "time": entry.ms,
            "tranId": entry.number,
            "tradeId": entry.reference if kind in ("COMMISSION",) else "",
        }
        for line in own
    ]


# -- orders ------------------------------------------------------------------------------------------


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
    if not isinstance(wishes, list) or not 1 <= len(wishes) <= 5:
        raise wire.illegal("batchOrders", "a JSON list of one to five orders")
    answers: list[Any] = []
    for wish in wishes:
        try:
            answers.append(place(engine, {name: str(value) for name, value in dict(wish).items()}))
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
    symbol = listing_of(engine.market, query).instrument.symbol if query.get("symbol") else None
    return [o for o in engine.account.open_orders(symbol) if o.algo == algo]


def cancel(engine: Engine, query: Query) -> Json:
    """``DELETE /fapi/v1/order``."""
    return order_json(engine.cancel(_cancellable(engine, query, algo=False)))


def _cancellable(engine: Engine, query: Query, *, algo: bool) -> Order:
    try:
        return find_order(engine, query, number="algoId" if algo else "orderId", algo=algo)
    except Refusal as refusal:
        raise Refusal(-2011, "Unknown order sent.") if refusal.code == -2013 else refusal from None


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
    """``GET /fapi/v1/algoOrder``: by number, which needs no symbol."""
    number, client = integer(query, "algoId"), query.get("clientAlgoId")
    for order in reversed(engine.account.orders.values()):
        if order.algo and (order.id == number or (number is None and order.client_id == client)):
            return algo_json(engine, order)
    raise Refusal(-2013, "Order does not exist.")


def cancel_algo(engine: Engine, query: Query) -> Json:
    """``DELETE /fapi/v1/algoOrder``."""
    number, client = integer(query, "algoId"), query.get("clientAlgoId")
    for order in engine.account.open_orders():
        if order.algo and (order.id == number or (number is None and order.client_id == client)):
            engine.cancel(order)
            return {"algoId": order.id, "clientAlgoId": order.client_id, "code": "200", "msg": "success"}
    raise Refusal(-2011, "Unknown order sent.")


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
FUTURES_PRIVATE: Mapping[tuple[str, str], Private] = {
    **{("GET", f"/fapi/{v}/account"): account for v in ("v2", "v3")},
    **{("GET", f"/fapi/{v}/balance"): balance for v in ("v2", "v3")},
    **{("GET", f"/fapi/{v}/positionRisk"): position_risk for v in ("v2", "v3")},
    ("GET", "/sapi/v1/capital/config/getall"): coins,
    ("GET", "/sapi/v1/margin/allPairs"): nothing,
    ("GET", "/sapi/v1/margin/isolated/allPairs"): nothing,
    ("GET", _V1 + "accountConfig"): account_config,
    ("GET", _V1 + "commissionRate"): commission_rate,
    ("GET", _V1 + "leverageBracket"): leverage_brackets,
    ("POST", _V1 + "leverage"): set_leverage,
    ("POST", _V1 + "marginType"): set_margin_type,
    ("POST", _V1 + "positionMargin"): move_margin,
    ("GET", _V1 + "positionSide/dual"): position_side,
    ("POST", _V1 + "positionSide/dual"): set_position_side,
    ("GET", _V1 + "multiAssetsMargin"): multi_assets,
    ("GET", _V1 + "income"): income,
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
