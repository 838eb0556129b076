"""Request weights: what each call costs of the minute's budget, as Binance counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bascule.bridge.exchange.market import MarketKind

LIMITS: Mapping[MarketKind, int] = {"spot": 6_000, "futures": 2_400}
MINUTE_MS = 60_000
# last part of the path → weight with a symbol, and without one
_SPOT = {
    "exchangeInfo": (20, 20),
    "klines": (2, 2),
    "24hr": (2, 80),
    "price": (2, 4),
    "bookTicker": (2, 4),
    "aggTrades": (4, 4),
    "trades": (25, 25),
    "historicalTrades": (25, 25),
    "account": (20, 20),
    "openOrders": (6, 80),
    "allOrders": (20, 20),
    "myTrades": (20, 20),
    "order": (4, 4),
}
_FUTURES = {
    "24hr": (1, 40),
    "price": (1, 2),
    "bookTicker": (2, 5),
    "aggTrades": (20, 20),
    "trades": (5, 5),
    "historicalTrades": (20, 20),
    "premiumIndex": (1, 10),
    "account": (5, 5),
    "balance": (5, 5),
    "positionRisk": (5, 5),
    "openOrders": (1, 40),
    "openAlgoOrders": (1, 40),
    "allOrders": (5, 5),
    "userTrades": (5, 5),
    "income": (30, 30),
}
_DEPTH = {"spot": ((100, 5), (500, 25), (1_000, 50)), "futures": ((50, 2), (100, 5), (500, 10))}
_DEPTH_MOST = {"spot": 250, "futures": 20}
_KLINES = ((99, 1), (499, 2), (1_000, 5))


def weight(kind: MarketKind, method: str, path: str, query: Mapping[str, str]) -> int:
    """What a request costs."""
    name = path.rstrip("/").rsplit("/", 1)[-1]
    given = query.get("limit", "")
    # what is no number is refused by the endpoint
    limit = int(given) if re.fullmatch(r"[0-9]{1,20}", given) else 0
    if name == "depth":
        return next((cost for most, cost in _DEPTH[kind] if limit <= most), _DEPTH_MOST[kind])
    if kind == "futures" and name.lower().endswith("klines"):
        return next((cost for most, cost in _KLINES if (limit or 500) <= most), 10)
    if name == "order" and method == "POST":
        return 1 if kind == "spot" else 0
    table = _SPOT if kind == "spot" else _FUTURES
    return table.get(name, (1, 1))[0 if query.get("symbol") else 1]


@dataclass
class Meter:
    """The minute's account of weights.

    Attributes:
        kind: of market.
        enforce: answer 429 beyond the limit; else only count.
    """

    kind: MarketKind
    enforce: bool = False
    _minute: int = field(default=-1)
    _used: int = field(default=0)

    def spend(self, cost: int, now: int) -> tuple[int, int | None]:
        """Weight used this minute, and seconds to wait where the limit is passed and enforced."""
        minute = now // MINUTE_MS
        if minute != self._minute:
            self._minute, self._used = minute, 0
        self._used += cost
        if self.enforce and self._used > LIMITS[self.kind]:
            return self._used, max(1, -(-((minute + 1) * MINUTE_MS - now) // 1_000))
        return self._used, None
