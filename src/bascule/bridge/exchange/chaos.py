"""The fault plan at work: what happens to this request."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from bascule.bridge.exchange.faults import (
    ClockSkew,
    Disconnect,
    DuplicateCandles,
    FaultPlan,
    HttpStatus,
    Latency,
    LostReply,
    Outage,
    Reject,
    RequestFault,
    StaleCandles,
)
from bascule.bridge.exchange.wire import Refusal

ORDER_PATHS = ("/order", "/algoOrder")


@dataclass
class Verdict:
    """What happens to one request.

    Attributes:
        delay: seconds to wait before anything else.
        cut: close the connection, carrying nothing out.
        status, retry_after: answer this instead.
        lost: carry it out, then ``close`` or ``504``.
        refusal: refuse the order.
        stale: candles missing at the end.
        doubled: the last candle comes twice.
    """

    delay: float = 0.0
    cut: bool = False
    status: int | None = None
    retry_after: int | None = None
    lost: str | None = None
    refusal: Refusal | None = None
    stale: int = 0
    doubled: bool = False


@dataclass
class Chaos:
    """Draws a plan's chances.

    Attributes:
        plan: the plan.
        counts: how often each fault (by its place) struck, for the curious and for tests.
    """

    plan: FaultPlan
    counts: Counter[int] = field(default_factory=Counter)
    _asked: Counter[str] = field(default_factory=Counter)

    def judge(self, method: str, path: str, symbol: str | None, now: int) -> Verdict:
        """The verdict on a request at Unix milliseconds ``now``."""
        verdict = Verdict()
        for place, fault in self._matching(method, path, symbol, now):
            # disconnects are drawn for websockets only
            if isinstance(fault, Disconnect) or not self._apt(fault, method, path):
                continue
            key = f"{method} {path} {symbol}"
            if self._strikes(place, fault, key):
                self.counts[place] += 1
                self._apply(verdict, fault, place, key)
        return verdict

    def _matching(
        self, method: str, path: str, symbol: str | None, now: int
    ) -> Iterator[tuple[int, RequestFault]]:
        for place, fault in enumerate(self.plan.faults):
            if not isinstance(fault, RequestFault) or not fault.covers(now, symbol):
                continue
            if fault.methods and method not in fault.methods:
                continue
            if fault.paths and not any(fnmatchcase(path, pattern) for pattern in fault.paths):
                continue
            yield place, fault

    @staticmethod
    def _apt(fault: RequestFault, method: str, path: str) -> bool:
        """Some faults only concern some requests."""
        if isinstance(fault, Reject):
            return method == "POST" and path.endswith(ORDER_PATHS)
        if isinstance(fault, StaleCandles | DuplicateCandles):
            return path.lower().endswith(("klines", "/kline"))
        return True

    def _draw(self, place: int, key: str, extra: str = "") -> float:
        """A number in [0, 1) that depends on the seed, the fault, the key and how often it was asked."""
        count = self._asked[f"{place} {key} {extra}"]
        self._asked[f"{place} {key} {extra}"] += 1
        text = f"{self.plan.seed}|{place}|{key}|{extra}|{count}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) / 2**56

    def _strikes(self, place: int, fault: RequestFault, key: str) -> bool:
        return fault.probability >= 1 or self._draw(place, key) < fault.probability

    def _apply(self, verdict: Verdict, fault: RequestFault, place: int, key: str) -> None:
        if isinstance(fault, Outage):
            verdict.cut = True
        elif isinstance(fault, Latency):
            verdict.delay += fault.seconds
            if fault.jitter:
                verdict.delay += fault.jitter * self._draw(place, key, "jitter")
        elif isinstance(fault, HttpStatus):
            verdict.status = fault.status
            limited = fault.status in (418, 429)
            verdict.retry_after = (
                fault.retry_after if fault.retry_after is not None else 1 if limited else None
            )
        elif isinstance(fault, LostReply):
            verdict.lost = fault.answer
        elif isinstance(fault, Reject):
            verdict.refusal = Refusal(fault.code, fault.message)
        elif isinstance(fault, StaleCandles):
            verdict.stale = max(verdict.stale, fault.candles)
        elif isinstance(fault, DuplicateCandles):
            verdict.doubled = True

    def skew_ms(self, now: int) -> int:
        """What the exchange's own time is off by, in milliseconds."""
        faults = [f for f in self.plan.faults if isinstance(f, ClockSkew) and f.covers(now)]
        return round(sum(f.seconds for f in faults) * 1_000)

    def disconnects(self, connection: int, path: str, now: int) -> bool:
        """Whether this websocket (numbered) is closed in this round."""
        for place, fault in self._matching("GET", path, None, now):
            if isinstance(fault, Disconnect | Outage) and self._strikes(place, fault, f"ws {connection}"):
                self.counts[place] += 1
                return True
        return False
