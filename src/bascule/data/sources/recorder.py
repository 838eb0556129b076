"""Recording liquidations from the exchanges' websockets, for their REST interfaces keep none (or days only).

1. `LiquidationRecorder` connects, subscribes (`feeds`), and keeps what comes with the spans of time in which
   the connection stood.
2. Every few minutes, and whenever a connection ends, that becomes one part on disk (`recordings`), written
   aside and renamed.
3. A lost connection is opened again after a growing pause.

Binance pushes at most one liquidation a symbol and second: its sums are a floor. OKX counts contracts.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from bascule.core import DataError
from bascule.data.sources.context import Context
from bascule.data.sources.feeds import FEEDS, Event
from bascule.data.sources.recordings import Span, write_part
from bascule.data.sources.retry import RetrySettings


class RecorderSettings(RetrySettings):
    """What to record, and where to."""

    venue: Literal["binance", "bybit", "okx"] = Field("binance", description="exchange")
    folder: Path = Field(description="recordings; one folder a venue and day below it")
    instruments: tuple[str, ...] = Field((), description="store ids; Bybit needs them named, others send all")
    url: str | None = Field(None, description="websocket URL, None = the exchange's")
    flush_seconds: float = Field(300.0, gt=0, le=3_600, description="longest time until a part is written")
    silence_seconds: float = Field(
        60.0, gt=0, le=600, description="a connection without any message (pings count) for so long is dead"
    )


@dataclass
class _Buffer:
    """What is not written yet."""

    events: list[Event] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


class LiquidationRecorder:
    """Records one venue until told to stop.

    Args:
        settings: venue, folder.
        context: time, pause, dice.

    Attributes:
        events: liquidations written so far.
        connections: connections opened so far.
    """

    def __init__(self, settings: RecorderSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._feed = FEEDS[settings.venue]
        if self._feed.needs_instruments and not settings.instruments:
            raise DataError(
                f"{settings.venue} sends only what is named",
                where="liquidations.instruments",
                remedy="name the perpetuals to record, e.g. BTC_USDT_USDT",
            )
        self._buffer = _Buffer()
        self.events = 0
        self.connections = 0

    def run(self, stop: Callable[[], bool]) -> None:
        """Record until ``stop()`` is true once; it is asked at least once a second.

        Raises:
            DataError: ``attempts`` connections in a row brought no message at all.
        """
        from websockets.exceptions import WebSocketException

        stop = _latched(stop)
        failures = 0
        while not stop():
            before = self.events
            try:
                heard = self._listen(stop)
                fault = "the connection ended"
            except (OSError, WebSocketException, TimeoutError) as error:
                heard, fault = self.events > before, f"{type(error).__name__}: {error}"
            finally:
                self.flush()
            if stop():
                return
            failures = 0 if heard else failures + 1
            settings = self._settings
            if failures >= settings.attempts:
                raise DataError(
                    f"{fault} ({failures} tries)",
                    where=f"liquidations {settings.venue}",
                    remedy="check the connection and the URL; what was recorded is kept",
                )
            full = min(settings.max_seconds, settings.base_seconds * 2.0**failures)
            self._context.sleep(full * (1 - settings.jitter * float(self._context.random.random())))

    def _listen(self, stop: Callable[[], bool]) -> bool:
        """One connection until it ends; True if it brought a message."""
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect

        settings, clock = self._settings, self._context.clock
        silence = np.timedelta64(round(settings.silence_seconds * 1e9), "ns")
        flush = np.timedelta64(round(settings.flush_seconds * 1e9), "ns")
        ping = np.timedelta64(20, "s")
        heard = False
        with connect(settings.url or self._feed.url, open_timeout=settings.timeout_seconds) as socket:
            self.connections += 1
            for wish in self._feed.subscriptions(settings.instruments):
                socket.send(wish)
            since = last = pinged = flushed = clock()
            try:
                while not stop():
                    now = clock()
                    if self._feed.ping and now - pinged >= ping:
                        socket.send(self._feed.ping)
                        pinged = now
                    if now - flushed >= flush:
                        self._span(since, last)
                        self.flush()
                        since, flushed = last, now
                    try:
                        message = socket.recv(timeout=1.0)
                    except TimeoutError:
                        if clock() - last > silence and self._feed.ping:
                            return heard
                        if not self._feed.ping:
                            last = clock()  # the library's own pings watch this connection
                        continue
                    last, heard = clock(), True
                    self._take(message)
            except ConnectionClosed:
                return heard
            finally:
                self._span(since, last)
        return heard

    def _span(self, since: np.datetime64, until: np.datetime64) -> None:
        if until > since:
            self._buffer.spans.append((since, until))

    def _take(self, message: str | bytes) -> None:
        text = message if isinstance(message, str) else message.decode("utf-8", "replace")
        received = self._context.clock()
        wanted = set(self._settings.instruments)
        for one in self._feed.read(text, received):
            if not wanted or one.instrument in wanted:
                self._buffer.events.append(one)

    def flush(self) -> None:
        """Write what is in memory as one part."""
        buffer, self._buffer = self._buffer, _Buffer()
        if not buffer.events and not buffer.spans:
            return
        first = min([s for s, _ in buffer.spans] + [e.received for e in buffer.events])
        stamp = str(first.astype("datetime64[ms]")).replace(":", "").replace("-", "")
        day = self._settings.folder / self._settings.venue / str(first.astype("datetime64[D]"))
        write_part(day / f"part-{stamp}-{uuid.uuid4().hex[:8]}.parquet", buffer.events, buffer.spans)
        self.events += len(buffer.events)


def _latched(stop: Callable[[], bool]) -> Callable[[], bool]:
    """The same question; once it was answered with yes, the answer stays."""
    answers = [False]

    def ask() -> bool:
        answers[0] = answers[0] or stop()
        return answers[0]

    return ask
