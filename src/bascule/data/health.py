"""Health of candles: what is wrong or odd in a long frame, named, counted and dated; nothing is repaired.

1. Rows are grouped by instrument in their own order; `unsorted` is judged there (`checks.py`).
2. Then they are sorted by time, and each check of `checks.CHECKS` marks rows with array operations.
3. The marked rows become one `Issue` an instrument: count, first and last time, and an example (`issues.py`).

Errors are what the store refuses (`store.py`); warnings and infos are real or possible features of a market
that a researcher should know of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bascule.core import Progress, Timeframe, silent
from bascule.data.checks import CHECKS, ERRORS, View
from bascule.data.issues import HealthSettings, Issue, Severity
from bascule.data.rows import Rows, stamp

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
    """

    issues: tuple[Issue, ...]
    rows: int
    instruments: int
    first: str
    last: str
    missing: int

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
) -> HealthReport:
    """Look at every candle of a canonical long frame (rows in any order).

    Raises:
        DataError: the frame is not of the canonical form at all (a column is missing or of the wrong type).
    """
    return check_rows(Rows.from_frame(frame), timeframe, settings, progress)


def check_rows(
    rows: Rows, timeframe: Timeframe, settings: HealthSettings | None = None, progress: Progress = silent
) -> HealthReport:
    """`check` for rows that were read already."""
    settings = settings or HealthSettings()
    view = View.of(rows, timeframe, settings)
    issues: list[Issue] = []
    for step, one in enumerate(CHECKS):
        progress(step, len(CHECKS), f"health: {one.__name__.lstrip('_')}")
        issues.extend(one(view))
    progress(len(CHECKS), len(CHECKS), "health")
    issues.sort(key=lambda issue: (-issue.severity, issue.name, issue.instrument))
    return HealthReport(
        tuple(issues),
        len(rows),
        len(rows.ids),
        stamp(rows.time.min()),
        stamp(rows.time.max()),
        int(view.missing.sum()),
    )


def blocking(rows: Rows, timeframe: Timeframe) -> list[Issue]:
    """Only the errors: what the store refuses."""
    view = View.of(rows, timeframe, HealthSettings())
    return [issue for one in ERRORS for issue in one(view)]
