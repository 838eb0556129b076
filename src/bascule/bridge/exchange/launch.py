"""An exchange as a process of its own: what the command line and ``python -m`` share."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from bascule.bridge.exchange.auth import Keys
from bascule.bridge.exchange.clock import REAL_TIME, clock_of
from bascule.bridge.exchange.faults import FaultPlan
from bascule.bridge.exchange.market import MarketKind
from bascule.bridge.exchange.orders import AccountSettings
from bascule.bridge.exchange.path import PathMode
from bascule.bridge.exchange.server import ReplayExchange
from bascule.core import ConfigError, Panel, Timeframe


def source_of(
    store: Path | None, instruments: Sequence[str] | None, timeframe: str, market: MarketKind
) -> Panel | Sequence[str]:
    """The store's panel (only instruments of the market's kind), or bare instruments.

    Raises:
        ConfigError: neither or both were named, or the store holds none of that kind.
        StoreError: the store cannot be opened.
    """
    if (store is None) == (not instruments):
        raise ConfigError(
            "name a store or instruments, one of them", where="exchange", remedy="see --help for both"
        )
    if store is None:
        return list(instruments or ())
    from bascule.core import Instrument
    from bascule.data.store import Store

    panel = Store.open(store).panel(Timeframe.parse(timeframe, where="--timeframe"))
    fitting = [n for n in panel.instruments if Instrument.parse(n).is_future == (market == "futures")]
    if not fitting:
        raise ConfigError(
            f"the store holds no {market} instruments", where=str(store), remedy="choose the other --market"
        )
    return panel if len(fitting) == len(panel.instruments) else panel.select(fitting)


def balances_of(texts: Sequence[str]) -> dict[str, Decimal]:
    """Balances such as ``USDT=10000``.

    Raises:
        ConfigError: one is not of that form.
    """
    found = {}
    for text in texts:
        asset, _, amount = text.partition("=")
        try:
            value = Decimal(amount)
        except InvalidOperation:
            value = Decimal(-1)
        if not asset.isalnum() or not value.is_finite() or value < 0:
            raise ConfigError(f"{text!r} is no balance", where="--balance", remedy="write e.g. USDT=10000")
        found[asset.upper()] = value
    return found


def build(
    source: Panel | Sequence[str],
    *,
    market: MarketKind = "spot",
    port: int = 0,
    clock: str = REAL_TIME,
    start: str | None = None,
    path: PathMode = "walk",
    balances: Sequence[str] = (),
    faults: Path | None = None,
    state: Path | None = None,
    enforce_limits: bool = False,
) -> ReplayExchange:
    """An exchange, not yet running, from what a command line says.

    Signed requests are held to their time only on a real clock: no client's own clock follows another.

    Raises:
        ConfigError: an argument cannot be read.
        BridgeError: the state file does not fit.
    """
    return ReplayExchange(
        source,
        clock=clock_of(clock, start),
        market=market,
        port=port,
        account=AccountSettings(balances=balances_of(balances)) if balances else None,
        keys=Keys(check_time=clock == REAL_TIME),
        faults=None if faults is None else FaultPlan.load(faults),
        state=state,
        enforce_limits=enforce_limits,
        path=path,
    )


def forever(exchange: ReplayExchange, say: Callable[[str], None]) -> None:
    """Run until SIGINT or SIGTERM; ``say`` is told the URL once it answers.

    Raises:
        BridgeError: the port is taken.
    """
    stop = threading.Event()
    # before anybody knows the URL, so that who reads it may send the signal at once
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    with exchange:
        say(exchange.url)
        stop.wait()
