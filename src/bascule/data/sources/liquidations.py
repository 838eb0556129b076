"""Liquidations, recorded from the exchanges' websockets, for their REST interfaces keep none (or days only).

1. `LiquidationRecorder` connects, subscribes, and appends what comes to parquet parts, each written aside and
   renamed, one folder a UTC day. A part carries the spans of time in which the connection stood, so that "no
   liquidation" and "nobody listened" stay apart. A lost connection is opened again after a growing pause.
2. `compact` joins the parts of past days into one file a day.
3. `Liquidations` reads the parts as a `Source`: values by bucket, only for buckets that were listened to from
   their first to their last moment.

Binance pushes at most one liquidation a symbol and second: its sums are a floor. OKX counts contracts.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from bascule.core import DataError, Settings, Timeframe
from bascule.core.files import atomic_file
from bascule.data.sources.chunked import Chunk, ChunkedSource, Note
from bascule.data.sources.context import Context
from bascule.data.sources.feeds import FEEDS, Event
from bascule.data.sources.retry import RetrySettings
from bascule.data.sources.spec import FieldSpec, SourceSpec

if TYPE_CHECKING:
    import pandas as pd

_SPANS = b"bascule.spans"
_COLUMNS = ("time", "received", "instrument", "side", "price", "amount")
_DAY = np.timedelta64(1, "D")
_WHOLE = "day.parquet"


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
    spans: list[tuple[np.datetime64, np.datetime64]] = field(default_factory=list)


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


def compact(folder: Path, venue: str, today: np.datetime64) -> int:
    """Join the parts of days before ``today`` into one file a day; return how many parts that were.

    A kill between writing and removing leaves both: readers drop what they see twice.
    """
    count = 0
    for day in sorted((folder / venue).glob("[0-9]*-[0-9]*-[0-9]*")):
        parts = sorted(day.glob("part-*.parquet"))
        if not parts or np.datetime64(day.name, "D") >= today.astype("datetime64[D]"):
            continue
        events, spans = _read([*parts, *day.glob(_WHOLE)])
        rows = [Event(*row) for row in events.itertuples(index=False, name=None)]
        write_part(day / _WHOLE, rows, spans)
        for part in parts:
            part.unlink()
        count += len(parts)
    return count


def write_part(
    path: Path, events: Sequence[Event], spans: Sequence[tuple[np.datetime64, np.datetime64]]
) -> None:
    """Write one part: events (times UTC), and the spans in which the connection stood."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: [getattr(one, name) for one in events] for name in _COLUMNS}
    stamp = pa.timestamp("ns", tz="UTC")
    types = [stamp, stamp, pa.string(), pa.string(), pa.float64(), pa.float64()]
    arrays = [
        pa.array(np.array(columns[n], "datetime64[ns]") if t == stamp else columns[n], t)
        for n, t in zip(_COLUMNS, types, strict=True)
    ]
    note = json.dumps([[int(a.astype(np.int64)), int(b.astype(np.int64))] for a, b in spans]).encode()
    table = pa.Table.from_arrays(arrays, names=list(_COLUMNS)).replace_schema_metadata({_SPANS: note})
    with atomic_file(path) as aside:
        pq.write_table(table, aside, compression="zstd")


def _read(parts: Sequence[Path]) -> tuple[pd.DataFrame, list[tuple[np.datetime64, np.datetime64]]]:
    """Events of all parts without repetitions (times naive UTC), and the spans listened to, joined.

    Raises:
        DataError: a part cannot be read.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    frames, spans = [], []
    for part in parts:
        try:
            table = pq.read_table(part)
            told = json.loads((table.schema.metadata or {}).get(_SPANS, b"[]"))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(
                f"cannot be read: {str(error).splitlines()[0]}",
                where=str(part),
                remedy="move this recording away; its time then counts as not listened to",
            ) from error
        spans += [(np.datetime64(a, "ns"), np.datetime64(b, "ns")) for a, b in told]
        if table.num_rows:
            frames.append(table.to_pandas())
    if not frames:
        return pd.DataFrame(columns=_COLUMNS), joined(spans)
    events = pd.concat(frames, ignore_index=True).sort_values(["time", "received"], kind="stable")
    # after a new connection venues may repeat the last event
    events = events.drop_duplicates([c for c in _COLUMNS if c != "received"], ignore_index=True)
    for name in ("time", "received"):
        events[name] = events[name].dt.tz_localize(None)
    return events, joined(spans)


def joined(
    spans: Sequence[tuple[np.datetime64, np.datetime64]],
) -> list[tuple[np.datetime64, np.datetime64]]:
    """The same spans, sorted, with those that touch or overlap made one."""
    result: list[tuple[np.datetime64, np.datetime64]] = []
    for since, until in sorted(spans):
        if result and since <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], until))
        else:
            result.append((since, until))
    return result


class LiquidationSettings(Settings):
    """Reading recordings."""

    folder: Path = Field(description="where the recorder wrote")
    venue: Literal["binance", "bybit", "okx"] = Field("binance", description="exchange")
    timeframe: str = Field("1h", description="length of a bucket")
    contract_sizes: Mapping[str, float] = Field(
        {}, description="coins in one contract, a store id; needed for OKX, which counts contracts"
    )


class Liquidations(ChunkedSource):
    """Recorded liquidations by bucket; zeros mean that somebody listened and nothing came."""

    def __init__(self, settings: LiquidationSettings, context: Context) -> None:
        self._settings = settings
        self._timeframe = Timeframe.parse(settings.timeframe, where="liquidations.timeframe")
        super().__init__(
            SourceSpec(
                name=f"liquidations:{settings.venue}:{self._timeframe}",
                publisher=settings.venue,
                scope="instrument",
                frequency=str(self._timeframe),
                period=self._timeframe.delta,
                lag=np.timedelta64(1, "s"),
                lag_reason="pushed within a second of the order",
                fields=(
                    FieldSpec("liquidated_long", "quote", "value of long positions closed by force"),
                    FieldSpec("liquidated_short", "quote", "value of short positions closed by force"),
                    FieldSpec("liquidations", "1", "number of orders seen"),
                ),
            ),
            context.without_journal(),
        )

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        if not instruments:
            raise DataError(
                "no instruments were named",
                where=self.spec.name,
                remedy="name perpetuals, e.g. BTC_USDT_USDT",
            )
        return [Chunk(",".join(instruments), start, end)]

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        import pandas as pd

        events, spans = _read(self._parts(chunk.start, chunk.end))
        if not spans:
            note("nothing was recorded in this range")
        names = chunk.instrument.split(",")
        whole = list(self._whole_buckets(spans, chunk))
        grid = pd.MultiIndex.from_product([whole, names], names=["time", "instrument"])
        events = events[events["instrument"].isin(names)]
        value = events["price"].astype(float) * events["amount"].astype(float) * self._sizes(events)
        frame = pd.DataFrame(
            {
                "time": events["time"].astype("datetime64[ns]").dt.floor(pd.Timedelta(self._timeframe.delta)),
                "instrument": events["instrument"],
                "liquidated_long": value.where(events["side"] == "long", 0.0),
                "liquidated_short": value.where(events["side"] == "short", 0.0),
                "liquidations": 1.0,
            }
        )
        sums = frame.groupby(["time", "instrument"]).sum()
        return sums.reindex(grid, fill_value=0.0).reset_index()

    def _parts(self, start: np.datetime64, end: np.datetime64) -> list[Path]:
        # a part is filed under the day of its first moment and may reach into the next
        first = (start - _DAY).astype("datetime64[D]")
        days = np.arange(first, end.astype("datetime64[D]") + 1)
        root = self._settings.folder / self._settings.venue
        return [part for day in days for part in sorted((root / str(day)).glob("*.parquet"))]

    def _whole_buckets(
        self, spans: Sequence[tuple[np.datetime64, np.datetime64]], chunk: Chunk
    ) -> Iterator[np.datetime64]:
        step = self._timeframe.delta
        for since, until in spans:
            opens = self._timeframe.floor(max(since, chunk.start) - np.timedelta64(1, "ns")) + step
            while opens + step <= until and opens < chunk.end:
                yield opens
                opens = opens + step

    def _sizes(self, events: pd.DataFrame) -> pd.Series:
        """Coins in one unit of ``amount``."""
        import pandas as pd

        sizes = self._settings.contract_sizes
        if self._settings.venue != "okx":
            return pd.Series(1.0, index=events.index)
        unknown = sorted(set(events["instrument"]) - set(sizes))
        if unknown:
            raise DataError(
                f"the contract size of {', '.join(unknown)} is not known",
                where=f"{self.spec.name} contract_sizes",
                remedy="give the coins in one contract (ctVal of OKX's /api/v5/public/instruments)",
            )
        return events["instrument"].map(dict(sizes)).astype(float)
