"""The common way of all sources that fetch a range in pieces.

1. Cut the range into chunks, on a grid that does not depend on the range (`grid`), so that two fetches share
   their inner chunks.
2. Take each chunk from the journal, or pull it (the source's own work, with retries).
3. Keep a chunk in the journal once nothing in it can change any more: it ended, with the lag (and what an
   archive takes to publish), before the present of own clock and server clock.
4. Join the chunks and make the frame canonical: cut, sort, make unique, drop what was not available yet.
5. Report what was dropped, repeated and missing.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bascule.core import DataError, Moment, Progress, moment, silent
from bascule.core.files import fingerprint
from bascule.data.sources.canonical import empty, settle, typed
from bascule.data.sources.context import Context
from bascule.data.sources.journal import Journal
from bascule.data.sources.spec import Fetched, FetchReport, SourceSpec

if TYPE_CHECKING:
    import pandas as pd

Note = Callable[[str], None]
_TOLERANCE = 2.0  # seconds; a Date header tells whole seconds, and a reply travels
_FORMAT = 1  # part of the key of journalled chunks: raise it when the meaning of pulled rows changes


@dataclass(frozen=True)
class Chunk:
    """One request's worth of work.

    Attributes:
        instrument: what to fetch; several joined by commas where the server takes several.
        start: first time, included.
        end: last time, excluded.
    """

    instrument: str
    start: np.datetime64
    end: np.datetime64


def span(start: Moment, end: Moment, where: str) -> tuple[np.datetime64, np.datetime64]:
    """The range as ``datetime64[ns]``.

    Raises:
        DataError: it is empty or reversed.
    """
    first, last = moment(start), moment(end)
    if not first < last:
        raise DataError(
            f"the range [{first}, {last}) is empty", where=where, remedy="give a start before the end"
        )
    return first, last


def grid(
    start: np.datetime64, end: np.datetime64, length: np.timedelta64
) -> Iterator[tuple[np.datetime64, np.datetime64]]:
    """``[start, end)`` cut at multiples of ``length`` since 1970."""
    step = int(length / np.timedelta64(1, "ns"))
    first, stop = int(start.astype(np.int64)), int(end.astype(np.int64))
    while first < stop:
        until = min(stop, (first // step + 1) * step)
        yield np.datetime64(first, "ns"), np.datetime64(until, "ns")
        first = until


class ChunkedSource(ABC):
    """Base of sources; a subclass says how to cut (`_chunks`) and how to pull one chunk (`_pull`).

    Args:
        spec: what it delivers.
        context: time, pause, dice, journal.
    """

    # how long after all is known the server may still lack it
    _final_after: ClassVar[np.timedelta64] = np.timedelta64(0, "s")

    def __init__(self, spec: SourceSpec, context: Context) -> None:
        self._spec = spec
        self._context = context

    @property
    def spec(self) -> SourceSpec:
        """What it delivers."""
        return self._spec

    @abstractmethod
    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        """Cut the range."""

    @abstractmethod
    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        """The rows of one chunk as `typed` reads them; more than asked does no harm."""

    def _identity(self) -> Any:
        """What besides the spec decides the content of a chunk (base URL, options)."""
        return None

    def _traffic(self) -> tuple[int, int]:
        """Requests and retries so far."""
        return 0, 0

    def _skew(self) -> float | None:
        """Server clock less own clock in seconds, once known."""
        return None

    def _close(self) -> None:  # noqa: B027 - most sources hold nothing open
        """Let go of connections; called after each fetch."""

    def fetch(
        self,
        start: Moment,
        end: Moment,
        instruments: Sequence[str] = (),
        *,
        progress: Progress = silent,
    ) -> Fetched:
        """See `Source.fetch`."""
        first, last = span(start, end, self._spec.name)
        before = self._traffic()
        notes: list[str] = []
        try:
            pulled, reused = self._pull_all(self._chunks(first, last, instruments), notes.append, progress)
        finally:
            self._close()
        frame, counts = settle(_join(pulled, self._spec), first, last, self._present())
        after = self._traffic()
        report = FetchReport(
            rows=len(frame),
            skew_seconds=self._skew(),
            requests=after[0] - before[0],
            retries=after[1] - before[1],
            reused=reused,
            notes=tuple(dict.fromkeys(notes)),
            **counts,
        )
        return Fetched(frame, self._spec, report)

    def _present(self) -> np.datetime64:
        """Own clock or the server's, the earlier: whichever is ahead, nothing unfinished passes."""
        now, skew = self._context.clock(), self._skew()
        behind = skew is not None and skew < -_TOLERANCE
        return now + np.timedelta64(int((skew or 0.0) * 1e9), "ns") if behind else now

    def _pull_all(
        self, chunks: Sequence[Chunk], note: Note, progress: Progress
    ) -> tuple[list[pd.DataFrame], int]:
        journal = Journal(self._context.journal) if self._context.journal else None
        pulled: list[pd.DataFrame] = []
        reused = 0
        for done, chunk in enumerate(chunks):
            progress(done, len(chunks), f"{self._spec.name} {chunk.instrument}".strip())
            key = self._key(chunk) if journal else ""
            rows = journal.get(key) if journal else None
            if rows is not None:
                reused += 1
            else:
                asked = self._context.clock()
                rows = typed(self._pull(chunk, note), self._spec)
                # judged by the time of asking: what became final during the request may not be in the reply
                final = self._over(chunk.end) + self._spec.lag + self._final_after
                settled = final <= min(asked, self._present())
                if journal and settled:
                    journal.put(key, rows)
            pulled.append(rows)
        progress(len(chunks), len(chunks), self._spec.name)
        return pulled, reused

    def _over(self, end: np.datetime64) -> np.datetime64:
        """When the last period that begins before ``end`` is over; periods lie on the grid of 1970."""
        period = int(self._spec.period / np.timedelta64(1, "ns"))
        if not period:
            return end
        return np.datetime64(-(-int(end.astype(np.int64)) // period) * period, "ns")

    def _key(self, chunk: Chunk) -> str:
        name = re.sub(r"[^A-Za-z0-9.]+", "-", self._spec.name)
        parts = [
            _FORMAT,
            self._spec.name,
            self._identity(),
            chunk.instrument,
            str(chunk.start),
            str(chunk.end),
        ]
        return f"{name}-{fingerprint(parts)}"


def _join(pulled: Sequence[pd.DataFrame], spec: SourceSpec) -> pd.DataFrame:
    import pandas as pd

    filled = [one for one in pulled if not one.empty]
    return pd.concat(filled, ignore_index=True) if filled else empty(spec)
