"""Health of candles: what is wrong or odd in a long frame, named, counted and dated; nothing is repaired.

1. Rows are grouped by instrument in their own order; `unsorted` is judged there (`checks.py`).
2. Then they are sorted by time, and each check of `checks.CHECKS` and `events.EVENTS` marks rows with array
   operations; `comparisons` looks at arrival times, at what was stored before, and at other venues.
3. The marked rows become one `Issue` an instrument: count, first and last time, and an example (`issues.py`).
4. Instruments whose newest candles have an issue of `HealthSettings.quarantine` are in quarantine; `live.py`
   applies the same rules candle by candle.

Errors are what the store refuses (`store.py`); warnings and infos are real or possible features of a market
that a researcher should know of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.core import Progress, Timeframe, silent
from bascule.data.checks import CHECKS, ERRORS, View
from bascule.data.comparisons import arrivals, changes, disagreements
from bascule.data.events import EVENTS
from bascule.data.issues import HealthSettings, Issue, Severity
from bascule.data.rows import AVAILABLE, Int64Array, Rows, stamp
from bascule.data.times import utc_nanoseconds

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["HealthReport", "HealthSettings", "Issue", "Severity", "blocking", "check", "check_rows"]


@dataclass(frozen=True)
class HealthReport:
    """What `check` found.

    Attributes:
        issues: worst first, then by name and instrument.
        rows: candles looked at.
        instruments: number of instruments.
        first: first candle, UTC text.
        last: last candle, UTC text.
        missing: missing candles between first and last of each instrument, in all.
        quarantine: store id → kinds of issues that make it untradable at the end of the data.
    """

    issues: tuple[Issue, ...]
    rows: int
    instruments: int
    first: str
    last: str
    missing: int
    quarantine: Mapping[str, tuple[str, ...]]

    @property
    def worst(self) -> Severity | None:
        """The highest severity, None when nothing was found."""
        return max((issue.severity for issue in self.issues), default=None)

    @property
    def errors(self) -> tuple[Issue, ...]:
        """Issues for which the store refuses the rows."""
        return tuple(issue for issue in self.issues if issue.severity is Severity.ERROR)

    def count(self, name: str) -> int:
        """Total count of one kind over all instruments."""
        return sum(issue.count for issue in self.issues if issue.name == name)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `summary` has one row a kind (for a table), `issues` one a kind and instrument."""
        return {
            "rows": self.rows,
            "instruments": self.instruments,
            "first": self.first,
            "last": self.last,
            "missing": self.missing,
            "worst": None if self.worst is None else self.worst.name.lower(),
            "quarantine": {name: list(kinds) for name, kinds in self.quarantine.items()},
            "summary": self.summary(),
            "issues": [issue.to_dict() for issue in self.issues],
        }

    def summary(self) -> list[dict[str, Any]]:
        """One row a kind: severity, name, number of instruments, count, first, last, example."""
        kinds: dict[tuple[str, Severity], list[Issue]] = {}
        for issue in self.issues:
            kinds.setdefault((issue.name, issue.severity), []).append(issue)
        return [
            {
                "severity": severity.name.lower(),
                "name": name,
                "instruments": len(found),
                "count": sum(issue.count for issue in found),
                "first": min(issue.first for issue in found),
                "last": max(issue.last for issue in found),
                "example": f"{found[0].instrument}: {found[0].example}",
            }
            for (name, severity), found in kinds.items()
        ]


def check(
    frame: pd.DataFrame,
    timeframe: Timeframe,
    settings: HealthSettings | None = None,
    progress: Progress = silent,
    *,
    stored: pd.DataFrame | None = None,
    venues: Mapping[str, pd.DataFrame] | None = None,
) -> HealthReport:
    """Look at every candle of a canonical long frame (rows in any order).

    Args:
        frame: the candles; a column `available_time` (UTC) is checked against their closes.
        timeframe: candle length.
        settings: thresholds.
        progress: called for every check.
        stored: candles that are stored already, to see what was restated.
        venues: name → the same instruments elsewhere (``time``, ``instrument``, ``close``).

    Raises:
        DataError: the frame is not of the canonical form at all (a column is missing or of the wrong type).
    """
    available = None
    if AVAILABLE in frame.columns:
        available = utc_nanoseconds(frame[AVAILABLE], where=f"frame: {AVAILABLE}")
    return check_rows(
        Rows.from_frame(frame),
        timeframe,
        settings,
        progress,
        available=available,
        stored=None if stored is None else Rows.from_frame(stored, where="stored"),
        venues=venues,
    )


def check_rows(
    rows: Rows,
    timeframe: Timeframe,
    settings: HealthSettings | None = None,
    progress: Progress = silent,
    *,
    available: Int64Array | None = None,
    stored: Rows | None = None,
    venues: Mapping[str, pd.DataFrame] | None = None,
) -> HealthReport:
    """`check` for rows that were read already; ``available``: ns since 1970, in the order of the rows."""
    settings = settings or HealthSettings()
    view = View.of(rows, timeframe, settings)
    work: list[tuple[str, Callable[[], Iterator[Issue]]]] = [
        (one.__name__.lstrip("_"), partial(one, view)) for one in (*CHECKS, *EVENTS)
    ]
    if available is not None:
        came = available[np.lexsort((rows.time, rows.codes))]
        work.append(("arrivals", partial(arrivals, view, came)))
    if stored is not None:
        work.append(("changes", partial(changes, view, stored)))
    if venues:
        work.append(("venues", partial(disagreements, view, venues)))
    issues: list[Issue] = []
    for step, (name, look) in enumerate(work):
        progress(step, len(work), f"health: {name}")
        issues.extend(look())
    progress(len(work), len(work), "health")
    issues.sort(key=lambda issue: (-issue.severity, issue.name, issue.instrument))
    newest = int(rows.time.max())
    return HealthReport(
        tuple(issues),
        len(rows),
        len(rows.ids),
        stamp(rows.time.min()),
        stamp(newest),
        int(view.missing.sum()),
        quarantined(issues, newest, timeframe, settings),
    )


def quarantined(
    issues: Sequence[Issue], newest: int, timeframe: Timeframe, settings: HealthSettings
) -> dict[str, tuple[str, ...]]:
    """Who has a quarantining issue in the last ``clean_bars`` candles up to ``newest`` (ns since 1970)."""
    since = newest - settings.clean_bars * timeframe.nanoseconds
    found: dict[str, set[str]] = {}
    for issue in issues:
        if issue.name in settings.quarantine and issue.newest > since:
            found.setdefault(issue.instrument, set()).add(issue.name)
    return {name: tuple(sorted(kinds)) for name, kinds in sorted(found.items())}


def blocking(rows: Rows, timeframe: Timeframe) -> list[Issue]:
    """Only the errors: what the store refuses."""
    view = View.of(rows, timeframe, HealthSettings())
    return [issue for one in ERRORS for issue in one(view)]
