"""The replay exchange: a whole venue on the loopback, where bots can be run and broken offline.

Python::

    with ReplayExchange(panel, clock=SteppedClock("2024-03-01"), market="futures", path="walk",
                        account=AccountSettings(balances={"USDT": 5_000}),
                        faults=FaultPlan.load(Path("faults.yaml")),
                        state=Path("exchange.sqlite")) as exchange:
        block = exchange_config(exchange.url, "futures", keys=Keys())   # freqtrade's "exchange" block
        exchange.step(300)            # a stepped clock moves; orders meet the market
        exchange.account              # orders, trades, positions, ledger
        exchange.differences()        # [] when every unit is accounted for

Shell: ``bascule exchange serve STORE --clock x60 --faults plan.yaml --state exchange.sqlite`` or
``python -m bascule.bridge.exchange``; over HTTP the clock and the books are under ``/admin/`` (`admin`).

How an answer comes about:

1. A `Panel` (or only a list of instruments, for runs that read candles from disk) becomes a `ReplayMarket`:
   symbols, tick sizes, and candles cut at *now* (``market.py``). *Now* is a clock: real, accelerated or
   stepped (``clock.py``). Nothing that closes later is ever served. Of the forming candle an observer sees
   its open only, or what was walked of its way from open over low and high to close (``path.py``).
2. Book and trades are made up from the candles (``book.py``, ``trades.py``).
3. Orders go through filters (``intake.py``) into the matching engine (``engine.py``, ``matching.py``), which
   fills them against that way into a spot (``spot.py``) or futures account (``futures.py``) on a double-entry
   ledger of exact decimals (``ledger.py``). Each request's changes are on disk before it is answered
   (``state.py``).
4. A fault plan says what goes wrong (``faults.py``, ``chaos.py``); the service puts keys, weights, faults and
   routes together without any network (``service.py``, ``auth.py``, ``weights.py``).
5. Wire formats: Binance's public (``routes.py``) and private endpoints (``spotroutes.py``,
   ``futuresroutes.py``), its streams (``feeds.py``, ``userdata.py``), and Bybit's public data (``bybit.py``).
6. One event loop serves REST and websockets on a free loopback port (``server.py``, ``hub.py``);
   `exchange_config` gives the freqtrade configuration block that leads there.

Same panel, same clock, same requests: same bytes, same fills, also after a restart.
"""

from bascule.bridge.exchange.auth import Keys
from bascule.bridge.exchange.clock import AcceleratedClock, Clock, SteppedClock, clock_of, wall_clock
from bascule.bridge.exchange.faults import FaultPlan
from bascule.bridge.exchange.market import MarketKind, ReplayMarket
from bascule.bridge.exchange.orders import AccountSettings
from bascule.bridge.exchange.server import ReplayExchange, exchange_config, serve

__all__ = [
    "AcceleratedClock",
    "AccountSettings",
    "Clock",
    "FaultPlan",
    "Keys",
    "MarketKind",
    "ReplayExchange",
    "ReplayMarket",
    "SteppedClock",
    "clock_of",
    "exchange_config",
    "serve",
    "wall_clock",
]
