"""A small exchange on a stepped clock, and clients configured as freqtrade configures them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from bascule.bridge.exchange import (
    AccountSettings,
    FaultPlan,
    Keys,
    ReplayExchange,
    SteppedClock,
    exchange_config,
)
from bascule.bridge.exchange.market import MarketKind
from bascule.core import Panel, Timeframe

HOUR = 3_600
START = np.datetime64("2024-03-01T00:00", "ns")
UNCHECKED = Keys(check_time=False)


def panel(
    candles: list[tuple[float, float, float, float, float]],
    *,
    names: tuple[str, ...] = ("BTC_USDT",),
    **fields: list[float],
) -> Panel:
    """Hourly candles (open, high, low, close, volume), the same for every name."""
    values = np.array(candles, np.float32)
    shape = (len(candles), len(names))
    table = {
        name: np.ascontiguousarray(np.broadcast_to(values[:, i : i + 1], shape))
        for i, name in enumerate(("open", "high", "low", "close", "volume"))
    }
    for name, column in fields.items():
        table[name] = np.ascontiguousarray(np.broadcast_to(np.array(column, np.float32)[:, None], shape))
    time = Timeframe(HOUR).axis(START, START + np.timedelta64(len(candles) - 1, "h"))
    return Panel(Timeframe(HOUR), time, tuple(sorted(names)), table, np.full(len(names), START))


def flat(hours: int, price: float = 100.0, volume: float = 1_000.0) -> list[tuple[float, ...]]:
    """Candles that do not move."""
    return [(price, price, price, price, volume)] * hours


def rig(
    source: Panel,
    *,
    kind: MarketKind = "spot",
    at: str = "2024-03-01T00:30",
    account: AccountSettings | None = None,
    faults: FaultPlan | None = None,
    state: Path | None = None,
    keys: Keys = UNCHECKED,
    **options: Any,
) -> ReplayExchange:
    """An exchange on a stepped clock, its path walked, its spread 2 basis points."""
    options = {"path": "walk", **options}
    clock = options.pop("clock", None) or SteppedClock(at)
    return ReplayExchange(
        source, clock=clock, market=kind, account=account, faults=faults, state=state, keys=keys, **options
    )


@contextmanager
def client(exchange: ReplayExchange, kind: MarketKind = "spot", keys: Keys = UNCHECKED) -> Iterator[Any]:
    """A ccxt client that trades."""
    import ccxt

    block = exchange_config(exchange.url, kind, keys=keys)
    api = ccxt.binance({**block["ccxt_config"], "apiKey": block["key"], "secret": block["secret"]})
    api.options["fetchMarkets"] = {"types": ["spot" if kind == "spot" else "linear"]}
    api.options["fetchCurrencies"] = api.options["fetchMargins"] = False
    if kind == "futures":
        api.options["defaultType"] = "swap"
    try:
        api.load_markets()
        yield api
    finally:
        api.session.close()


def funds(exchange: ReplayExchange, account: str = "free", asset: str = "USDT") -> Decimal:
    """A balance, exactly."""
    return exchange.account.ledger.balance(account, asset)
