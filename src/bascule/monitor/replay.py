"""Rehearsal: what would the rules have done?

1. Samples of a past stretch of time come from the sources that can measure the past (`Research`), computed
   at each time from what was known then, or from the journal of a monitor that was there, or from both.
2. They go in the order of time through the same `Journal.take` as live ones, into a database in memory; time
   passes for rules that wait.
3. Nothing is done and nobody is told: the planned actions are the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import sqlalchemy as sa

from bascule.core import ConfigError, Progress, silent
from bascule.monitor import schema
from bascule.monitor.journal import Journal
from bascule.monitor.records import Action, Event
from bascule.monitor.rules import Rule
from bascule.monitor.samples import METRICS, Sample
from bascule.monitor.schema import Database, seconds, time_of


@dataclass(frozen=True)
class Rehearsal:
    """What would have happened: number of samples, events and actions in the order of time."""

    samples: int
    events: tuple[Event, ...]
    actions: tuple[Action, ...]


def replay(samples: Iterable[Sample], rules: Sequence[Rule], *, progress: Progress = silent) -> Rehearsal:
    """Judge samples as they would have been judged when they became known.

    Raises:
        ConfigError: there is no sample.
    """
    ordered = sorted(samples, key=lambda one: one.at)
    if not ordered:
        raise ConfigError(
            "there is nothing to rehearse on",
            where="monitor replay",
            remedy="choose a time for which candles, or samples of the journal, are there",
        )
    journal = Journal(Database(None), rules)
    events: list[Event] = []
    actions: list[Action] = []
    done = 0
    for at, group in groupby(ordered, key=lambda one: one.at):
        known = list(group)
        taken = journal.take(known, now=at)
        events += taken.events
        actions += taken.actions
        done += len(known)
        progress(done, len(ordered), f"{at:%Y-%m-%d}")
    journal.database.close()
    return Rehearsal(len(ordered), tuple(events), tuple(actions))


def recorded(database: Database, start: datetime, end: datetime) -> list[Sample]:
    """The samples of a journal in ``[start, end)``."""
    table = schema.samples
    with database.read() as connection:
        rows = connection.execute(
            sa.select(table).where((table.c.at >= seconds(start)) & (table.c.at < seconds(end)))
        ).mappings()
        found = []
        for row in rows:
            at = time_of(row["at"])
            if at is not None and row["metric"] in METRICS:
                found.append(Sample(row["metric"], row["subject"], at, row["value"], row["low"], row["high"]))
    return found
