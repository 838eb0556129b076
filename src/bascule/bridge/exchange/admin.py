"""The rehearsal's own endpoints, which no real exchange has: the clock, the books, the faults.

=====================================  ==================================================================
``GET  /admin/clock``                  time, and what kind of clock
``POST /admin/clock?advance=3600``     a stepped clock moves on by seconds
``POST /admin/clock?to=2024-03-01``    … or to a moment
``GET  /admin/reconcile``              differences (none, if every unit is accounted for), balances
``GET  /admin/orders``                 every order that ever was, with its fills
``GET  /admin/ledger?from=1``          the ledger's entries from a number on (at most 1,000)
``GET  /admin/faults``                 how often each fault of the plan struck
=====================================  ==================================================================
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.bridge.exchange.clock import SteppedClock
from bascule.bridge.exchange.query import Query, integer
from bascule.bridge.exchange.wire import Json, Refusal, plain
from bascule.core import ConfigError

if TYPE_CHECKING:
    from bascule.bridge.exchange.service import Service

PREFIX = "/admin/"
_PAGE = 1_000


def answer(service: Service, method: str, path: str, query: Query) -> Json:
    """Answer an admin request.

    Raises:
        Refusal: no such endpoint, or it cannot be done.
    """
    name = path.removeprefix(PREFIX).rstrip("/")
    if (method, name) == ("POST", "clock"):
        _move(service, query)
        return _clock(service)
    reading = {"clock": _clock, "reconcile": _reconcile, "orders": _orders, "faults": _faults}
    if method == "GET" and name in reading:
        service.engine.advance()
        return reading[name](service)
    if (method, name) == ("GET", "ledger"):
        service.engine.advance()
        first = integer(query, "from") or 1
        found = service.engine.account.ledger.entries[max(first, 1) - 1 :][:_PAGE]
        return [json.loads(entry.model_dump_json()) for entry in found]
    raise Refusal(-5000, f"Path {path}, Method {method} is invalid", 404)


def _move(service: Service, query: Query) -> None:
    clock = service.market.clock
    if not isinstance(clock, SteppedClock):
        raise Refusal(-1, "this exchange's clock runs by itself: only a stepped clock can be moved")
    try:
        if query.get("to"):
            clock.set(query["to"])
        else:
            clock.advance(float(query.get("advance", "")))
    except (ConfigError, ValueError) as error:
        raise Refusal(-1, f"advance=<seconds> or to=<UTC time>: {error}") from None
    service.engine.advance()


def _clock(service: Service) -> Json:
    now = service.market.now_ms()
    clock = service.market.clock
    return {
        "time": now,
        "utc": str(np.datetime64(now, "ms")),
        "kind": getattr(clock, "__name__", type(clock).__name__),
        "server": service.server_ms(),
    }


def _reconcile(service: Service) -> Json:
    account = service.engine.account
    balances = [
        {"account": name, "asset": asset, "amount": plain(amount)}
        for (name, asset), amount in sorted(account.ledger.balances().items())
    ]
    positions = [
        {"symbol": p.symbol, "amount": plain(p.amount), "cost": plain(p.cost), "isolated": p.isolated}
        for p in account.positions.values()
        if p.amount
    ]
    return {
        "time": service.engine.at,
        "differences": account.differences(),
        "entries": len(account.ledger.entries),
        "balances": balances,
        "positions": positions,
    }


def _orders(service: Service) -> Json:
    account = service.engine.account
    fills: dict[int, list[Any]] = {}
    for trade in account.trades:
        fills.setdefault(trade.order, []).append(json.loads(trade.model_dump_json()))
    return [
        json.loads(order.model_dump_json()) | {"fills": fills.get(order.id, [])}
        for order in account.orders.values()
    ]


def _faults(service: Service) -> Json:
    return [
        {"place": place, "kind": fault.kind, "struck": service.chaos.counts[place]}
        for place, fault in enumerate(service.chaos.plan.faults)
    ]
