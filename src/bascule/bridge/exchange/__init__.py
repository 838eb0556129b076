"""The replay exchange: freqtrade has no offline mode, so we give it an exchange.

How an answer comes about:

1. A `Panel` (or only a list of instruments, for runs that read candles from disk) becomes a `ReplayMarket`:
   symbols, tick sizes, and candles cut at *now*. *Now* is an injected clock: nothing that closes later is
   ever served, and the forming candle shows its open only (``market.py``).
2. `wire` writes Binance's shapes: numbers as the shortest decimal text that gives the same float32 back,
   klines as arrays, refusals as ``{"code": …, "msg": …}`` (``wire.py``).
3. `routes` maps a path and its query to an answer: ``/api/v3`` for spot, ``/fapi/v1``, ``/fapi/v2`` and
   ``/futures/data`` for USDT futures. It is a pure function of market, query and clock (``routes.py``).
4. `ReplayExchange` serves the routes over HTTP on a free loopback port (``server.py``);
   ``python -m bascule.bridge.exchange`` does the same as a process of its own (``__main__.py``).
5. `exchange_config` gives the freqtrade configuration block that leads there (``server.py``).

Same panel, same clock, same question: same bytes, also after a restart.
"""

from bascule.bridge.exchange.market import Clock, MarketKind, ReplayMarket, wall_clock
from bascule.bridge.exchange.server import ReplayExchange, exchange_config, serve

__all__ = ["Clock", "MarketKind", "ReplayExchange", "ReplayMarket", "exchange_config", "serve", "wall_clock"]
