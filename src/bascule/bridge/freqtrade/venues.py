"""Candles straight from an exchange's public REST interface, for when freqtrade's own way to them is cut.

Two formats, Binance and Bybit v5; no key, no third library. Each call is timed, and what came of it goes into
the venue's `Health`.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np

from bascule.bridge.freqtrade.feed import CANDLE
from bascule.core import BridgeError, Instrument, SetupError, Timeframe

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
Format = Literal["binance", "bybit"]
State = Literal["good", "degraded", "down"]
PUBLIC: dict[tuple[Format, str], str] = {
    ("binance", "spot"): "https://api.binance.com",
    ("binance", "futures"): "https://fapi.binance.com",
    ("bybit", "spot"): "https://api.bybit.com",
    ("bybit", "futures"): "https://api.bybit.com",
}
# seconds between a venue's clock and ours: Binance refuses what is signed with a time further ahead
LARGEST_SKEW = 1.0
_BYBIT_DAY = 86_400
_YEAR_2100 = 4_102_444_800.0  # seconds since 1970
_MOST_BYTES = 16 << 20  # of an answer; a thousand candles are a hundredth of it
# what reading an answer of another shape ends in
_MISREAD = (TypeError, ValueError, LookupError, AttributeError, OverflowError)


@dataclass(frozen=True)
class Limits:
    """When a venue is not well.

    Attributes:
        slow: median seconds of a call at which it is degraded.
        errors: share of calls that fail at which it is degraded; at twice that, or 1, it is down.
        window: calls that are looked at.
        least: calls before there is an opinion.
    """

    slow: float = 3.0
    errors: float = 0.3
    window: int = 20
    least: int = 3


class Health:
    """Latency and errors of the last calls to one venue."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._calls: deque[tuple[float, bool]] = deque(maxlen=self.limits.window)

    def record(self, seconds: float, good: bool) -> None:
        """One call: how long it took and whether it brought what was asked for."""
        self._calls.append((seconds, good))

    @property
    def error_rate(self) -> float:
        """Share of failed calls; 0 before the first."""
        return sum(not good for _, good in self._calls) / len(self._calls) if self._calls else 0.0

    @property
    def latency(self) -> float:
        """Median seconds of a call; 0 before the first."""
        return float(np.median([seconds for seconds, _ in self._calls])) if self._calls else 0.0

    @property
    def state(self) -> State:
        """What the last calls say."""
        if len(self._calls) < self.limits.least:
            return "good"
        if self.error_rate >= min(1.0, 2.0 * self.limits.errors):
            return "down"
        slow = self.latency >= self.limits.slow
        return "degraded" if slow or self.error_rate >= self.limits.errors else "good"


class Venue(Protocol):
    """A source of candles."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def health(self) -> Health:
        """Of its last calls."""

    def candles(
        self, instrument: Instrument, timeframe: Timeframe, bars: int, *, now_ms: int
    ) -> pd.DataFrame:
        """The newest closed candles: ``date`` (UTC, open), ``open high low close volume``, oldest first.

        Raises:
            BridgeError: the venue does not answer, refuses, or answers nonsense.
        """

    def ping(self) -> float:
        """Seconds that the venue's clock is ahead of ours; raises as `candles`."""


def _seconds(since: float) -> float:
    """Seconds since 1970, if an exchange can mean them."""
    if not 0.0 <= since < _YEAR_2100:
        raise ValueError(f"{since:g} s since 1970")
    return since


class RestVenue:
    """A venue of one of the two formats.

    Args:
        form: Binance or Bybit v5.
        market: ``spot`` or ``futures`` (USDT-margined, linear).
        url: scheme and host; default the exchange's public ones.
        timeout: seconds for a call.
        clock: monotonic seconds, for latencies.
    """

    def __init__(
        self,
        form: Format,
        market: Literal["spot", "futures"],
        *,
        url: str | None = None,
        timeout: float = 5.0,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name: Format = form
        self.market = market
        self.url = (url or PUBLIC[form, market]).rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise SetupError(f"{self.url!r} is no http address", where="venue", remedy="write https://host")
        self.timeout = timeout
        self.health = Health(limits)
        self._clock = clock

    def candles(
        self, instrument: Instrument, timeframe: Timeframe, bars: int, *, now_ms: int
    ) -> pd.DataFrame:
        """See `Venue.candles`."""
        if self.name == "bybit":
            answer = self._bybit(
                "kline",
                category="spot" if self.market == "spot" else "linear",
                symbol=instrument.symbol,
                interval="D" if timeframe.seconds == _BYBIT_DAY else str(timeframe.seconds // 60),
                limit=min(bars + 1, 1_000),
            )
        else:
            path = "/api/v3/klines" if self.market == "spot" else "/fapi/v1/klines"
            answer = self._get(
                path, symbol=instrument.symbol, interval=str(timeframe), limit=min(bars + 1, 1_000)
            )
        return self._read(
            lambda: _frame(answer["list"] if self.name == "bybit" else answer, timeframe, bars, now_ms),
            f"{instrument.symbol}: not candles",
        )

    def ping(self) -> float:
        """See `Venue.ping`; the answer is taken to be as old as half of the way."""
        asked = time.time()
        if self.name == "bybit":
            answer = self._bybit("time")
            theirs = self._read(lambda: _seconds(int(answer["timeNano"]) / 1e9), "not a time")
        else:
            answer = self._get("/api/v3/time" if self.market == "spot" else "/fapi/v1/time")
            theirs = self._read(lambda: _seconds(int(answer["serverTime"]) / 1e3), "not a time")
        return theirs - (asked + time.time()) / 2.0

    def _read(self, reading: Callable[[], T], otherwise: str) -> T:
        """What an answer says; an answer of another shape is the venue's failure."""
        try:
            return reading()
        except _MISREAD as error:
            self.health.record(0.0, good=False)
            raise BridgeError(f"{otherwise}: {error}", where=self.name, remedy="use another venue") from None

    def _bybit(self, what: str, **query: object) -> dict[str, Any]:
        answer = self._get(f"/v5/market/{what}", **query)
        if not isinstance(answer, dict) or answer.get("retCode") != 0:
            self.health.record(0.0, good=False)
            said = answer.get("retMsg") if isinstance(answer, dict) else answer
            raise BridgeError(f"refused: {said}", where=f"{self.name} {what}", remedy="use another venue")
        found: dict[str, Any] = self._read(lambda: answer["result"], f"{what} without a result")
        return found

    def _get(self, path: str, **query: object) -> Any:
        begin = self._clock()
        address = f"{self.url}{path}?{urlencode(query)}"
        try:
            with urlopen(address, timeout=self.timeout) as answer:  # noqa: S310 - http(s) was checked
                found = json.loads(answer.read(_MOST_BYTES))
        except (URLError, OSError, HTTPException, ValueError, RecursionError) as error:
            self.health.record(self._clock() - begin, good=False)
            raise BridgeError(
                f"does not answer: {error}", where=f"{self.name} {path}", remedy="use another venue"
            ) from None
        self.health.record(self._clock() - begin, good=True)
        return found


def _frame(rows: Any, timeframe: Timeframe, bars: int, now_ms: int) -> pd.DataFrame:
    """Rows ``[open ms, o, h, l, c, volume, …]`` in any order to a frame of closed candles."""
    import pandas as pd

    values = np.array([[float(one) for one in row[:6]] for row in rows], np.float64).reshape(-1, 6)
    values = values[np.argsort(values[:, 0], kind="stable")]
    values = values[np.append(np.diff(values[:, 0]) > 0, True)]  # the last of doubled ones
    values = values[values[:, 0] + timeframe.seconds * 1_000 <= now_ms][-bars:]
    if not np.isfinite(values).all() or (values[:, 1:5] <= 0).any() or (values[:, 5] < 0).any():
        raise ValueError("a price is not above 0, or a volume is below it")
    if (values[:, 0] < 0).any():
        raise ValueError("a candle opened before 1970")
    frame = pd.DataFrame(values[:, 1:], columns=list(CANDLE))
    frame.insert(0, "date", pd.to_datetime(values[:, 0].astype(np.int64), unit="ms", utc=True))
    return frame
