"""What a source says about itself, and what one fetch gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bascule.core import Moment, Progress, silent
from bascule.data.rows import AVAILABLE
from bascule.data.slow import Scope

if TYPE_CHECKING:
    import pandas as pd

GLOBAL = "GLOBAL"
INDEX = ("time", AVAILABLE, "instrument")


@dataclass(frozen=True)
class FieldSpec:
    """One column of a source.

    Attributes:
        name: column name, lower case.
        unit: unit of the value: ``quote`` (currency that prices the pair), ``base`` (coins), ``USD``, ``1``
            (a pure number), ``1/interval`` …
        description: what is measured.
    """

    name: str
    unit: str
    description: str


@dataclass(frozen=True)
class SourceSpec:
    """What a source delivers.

    Attributes:
        name: registry name and configuration, e.g. ``exchange.candles:binance:spot:1h``.
        publisher: who publishes the data.
        scope: what the ``instrument`` column holds: a store id, an asset (``BTC``), a venue (``binance``),
            or the one key ``GLOBAL``.
        frequency: spacing of rows (``1h``, ``1d``), or ``event`` where rows have no fixed spacing.
        period: length in time that one row describes, from ``time`` on; zero for an instant.
        lag: time from the end of that period until the value is known to everybody.
        lag_reason: why this lag: the publisher's word, or the cautious assumption made.
        fields: the columns besides ``time``, ``available_time`` and ``instrument``.
    """

    name: str
    publisher: str
    scope: Scope
    frequency: str
    period: np.timedelta64
    lag: np.timedelta64
    lag_reason: str
    fields: tuple[FieldSpec, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the canonical frame, in order."""
        return (*INDEX, *(one.name for one in self.fields))


@dataclass(frozen=True)
class FetchReport:
    """What happened on the way.

    Attributes:
        rows: rows in the frame.
        duplicates: rows dropped because an equal row was there.
        restated: rows dropped because a later reply gave other values for the same time and instrument.
        shuffled: rows that came out of time order (they were sorted).
        outside: rows dropped because they lie outside the asked range.
        unfinished: rows dropped because they were not yet final at the time of the fetch.
        future: rows dropped because they begin after the present: the server's clock or data are wrong.
        skew_seconds: server clock less own clock, None where the server tells no time.
        requests: replies received, errors too.
        retries: requests repeated after a passing fault.
        reused: chunks taken from the journal of an earlier, interrupted fetch.
        notes: anything else worth knowing, one sentence each.
    """

    rows: int = 0
    duplicates: int = 0
    restated: int = 0
    shuffled: int = 0
    outside: int = 0
    unfinished: int = 0
    future: int = 0
    skew_seconds: float | None = None
    requests: int = 0
    retries: int = 0
    reused: int = 0
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Fetched:
    """One fetch: the frame, what it means, and how it went.

    Attributes:
        frame: `SourceSpec.columns`; ``time`` and ``available_time`` are ``datetime64[ns, UTC]``, fields
            float32 (NaN = not published); sorted by instrument and time, unique in both; every row has
            ``start <= time < end`` and was available when it was fetched.
        spec: units, frequency, lag.
        report: what was dropped, repeated or missing.
    """

    frame: pd.DataFrame
    spec: SourceSpec
    report: FetchReport = field(default_factory=FetchReport)


class Source(Protocol):
    """The one interface of all sources. Each passes the conformance suite in ``tests/data/sources``."""

    @property
    def spec(self) -> SourceSpec:
        """What it delivers."""

    def fetch(
        self,
        start: Moment,
        end: Moment,
        instruments: Sequence[str] = (),
        *,
        progress: Progress = silent,
    ) -> Fetched:
        """Everything published by now whose ``time`` is in ``[start, end)``.

        Args:
            start: first time (UTC), included.
            end: last time (UTC), excluded.
            instruments: store ids, assets or venues as `SourceSpec.scope` says; empty = all that the source
                knows without being told, which exchanges do not: they refuse an empty list.
            progress: called per finished chunk.

        Raises:
            DataError: the source cannot be reached, or its reply is not what it must be; names source, path
                of the URL and remedy.
        """
