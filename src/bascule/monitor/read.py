"""Reading what the monitor knows, for dashboards: never writes, opens and closes for each question.

Times are seconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from bascule.monitor import schema
from bascule.monitor.samples import METRICS
from bascule.monitor.schema import Database


@dataclass(frozen=True)
class Alert:
    """Something that a rule noticed; ``open``: it still holds."""

    id: int
    at: float
    level: str
    rule: str
    text: str
    open: bool = False


@dataclass(frozen=True)
class Deed:
    """Something that the monitor did or plans; ``outcome`` says what came of it."""

    id: int
    at: float
    action: str
    target: str
    reason: str
    outcome: str


@dataclass(frozen=True)
class Series:
    """A measure over time, with the newest value's interval."""

    name: str
    times: tuple[float, ...]
    values: tuple[float | None, ...]
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bot:
    """A bot as it was last seen: metric → value (``bot.*``, ``fills.*``)."""

    name: str
    at: float
    values: dict[str, float]


@dataclass(frozen=True)
class Run:
    """A run of a job: ``waiting``, ``running``, ``done``, ``failed``, ``lost`` or ``skipped``."""

    id: int
    at: float
    name: str
    status: str
    outcome: str


class Reader:
    """The monitor's state.

    Args:
        url: path or URL of the database; made with its tables if it is not there.

    Raises:
        StoreError: it cannot be used, or is of another version.
    """

    def __init__(self, url: str | Path) -> None:
        self._database = Database(url)

    def alerts(self, count: int = 100) -> Sequence[Alert]:
        """The newest alerts, newest first."""
        table = schema.events
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(table).where(table.c.kind != "cleared").order_by(table.c.id.desc()).limit(count)
            ).mappings()
            return [
                Alert(
                    row["id"], row["at"], row["level"], row["rule"], row["text"],
                    row["kind"] == "fired" and row["closed"] is None,
                )
                for row in rows
            ]  # fmt: skip

    def deeds(self, count: int = 100) -> Sequence[Deed]:
        """The newest actions, newest first."""
        table = schema.actions
        with self._database.read() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.id.desc()).limit(count)).mappings()
            return [
                Deed(row["id"], row["at"], row["do"], row["target"], row["reason"], _outcome(row))
                for row in rows
            ]

    def series(self, points: int = 500) -> Sequence[Series]:
        """Every series that is kept, its newest points, by name."""
        table, last = schema.samples, schema.latest
        found = []
        with self._database.read() as connection:
            known = connection.execute(sa.select(last).order_by(last.c.metric, last.c.subject)).all()
            for one in known:  # a question each: the index gives the newest points at once
                rows = connection.execute(
                    sa.select(table.c.at, table.c.value)
                    .where((table.c.metric == one.metric) & (table.c.subject == one.subject))
                    .order_by(table.c.at.desc())
                    .limit(points)
                ).all()[::-1]
                name = f"{one.metric} {one.subject}".strip()
                times, values = tuple(row.at for row in rows), tuple(row.value for row in rows)
                found.append(Series(name, times, values, one.low, one.high))
        return found

    def bots(self) -> Sequence[Bot]:
        """The newest values of every bot, by name."""
        table = schema.latest
        names = [name for name in METRICS if name.startswith(("bot.", "fills."))]
        found: dict[str, dict[str, float]] = {}
        times: dict[str, float] = {}
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(table).where(table.c.metric.in_(names)).order_by(table.c.subject)
            ).mappings()
            for row in rows:
                found.setdefault(row["subject"], {})[row["metric"]] = row["value"]
                times[row["subject"]] = max(row["at"], times.get(row["subject"], 0.0))
        return [Bot(name, times[name], values) for name, values in found.items()]

    def jobs(self, count: int = 100) -> Sequence[Run]:
        """The newest runs of jobs, newest first."""
        table = schema.jobs
        with self._database.read() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.id.desc()).limit(count)).mappings()
            return [Run(row["id"], row["asked"], row["job"], row["status"], row["outcome"]) for row in rows]

    def close(self) -> None:
        """Give connections back."""
        self._database.close()


def _outcome(row: sa.RowMapping) -> str:
    if row["status"] == "done":
        return str(row["outcome"]) or "done"
    return f"{row['status']}: {row['outcome']}" if row["outcome"] else str(row["status"])
