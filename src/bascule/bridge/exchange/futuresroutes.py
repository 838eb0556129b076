"""Private endpoints of USDT futures, in Binance's words: account, positions, terms, income."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bascule.bridge.exchange import intake, wire
from bascule.bridge.exchange.account import UNIT
from bascule.bridge.exchange.brackets import brackets
from bascule.bridge.exchange.engine import Engine
from bascule.bridge.exchange.futures import FuturesAccount
from bascule.bridge.exchange.futuresorders import FUTURES_ORDERS
from bascule.bridge.exchange.ledger import FREE, Entry, isolated
from bascule.bridge.exchange.query import Query, integer, limit_of, listing_of, symbol_of
from bascule.bridge.exchange.spotroutes import Private, coins, nothing
from bascule.bridge.exchange.wire import Json, Refusal, eight, plain, price_text

ZERO = Decimal(0)
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
    wanted = symbol_of(engine.market, query)
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
    wanted = symbol_of(engine.market, query)
    chosen = books.listings if wanted is None else [wanted]
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
    wanted = symbol_of(engine.market, query)
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
            "tradeId": entry.reference if kind == "COMMISSION" else "",
        }
        for line in own
    ]


_V1 = "/fapi/v1/"
FUTURES_PRIVATE: Mapping[tuple[str, str], Private] = {
    **FUTURES_ORDERS,
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
}
