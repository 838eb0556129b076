"""The trial ledger: every evaluation that ever touched a data window, counted.

1. One SQLite file, write-ahead logged: many processes may write and read at the same time; a writer waits for
   its turn, a reader never does. One transaction a batch: all of it is there or nothing.
2. A row says what was evaluated (canonical text or digest), on which data, over which window, to what end.
3. `count` asks how many *different* things were tried on candles of a window: the same text evaluated twice
   for one horizon is one trial, windows count as soon as they overlap.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bascule.core import Moment, StoreError, moment

_WAIT = 60.0  # seconds that a writer waits for the others
_SCHEMA = """
CREATE TABLE IF NOT EXISTS trial (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    what TEXT NOT NULL,
    purpose TEXT NOT NULL,
    data TEXT NOT NULL,
    first INTEGER NOT NULL,
    past INTEGER NOT NULL,
    horizon INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS trial_window ON trial (data, first, past);
"""


@dataclass(frozen=True)
class Trial:
    """One evaluation.

    Attributes:
        what: canonical text of the factor, or a digest of the model.
        data: name of the data, such as a store's path or a market's name; windows of one name are compared.
        start: first candle that was used, UTC.
        end: first candle that was not used any more, UTC.
        horizon: bars of the label.
        purpose: why, such as ``report`` or ``mining``.
    """

    what: str
    data: str
    start: Moment
    end: Moment
    horizon: int = 1
    purpose: str = "evaluation"


@dataclass(frozen=True)
class Count:
    """How often a window was looked at.

    Attributes:
        trials: different (text, horizon) pairs: the number to deflate by.
        evaluations: rows of the ledger, repetitions included.
    """

    trials: int
    evaluations: int


class Ledger:
    """A ledger file; created when the first trial is written.

    Args:
        path: the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, trials: Iterable[Trial], at: Moment) -> int:
        """Write evaluations down in one transaction; returns how many.

        Args:
            trials: what was evaluated.
            at: when, UTC.
        """
        when = _nanoseconds(at)
        rows = [
            (when, t.what, t.purpose, t.data, _nanoseconds(t.start), _nanoseconds(t.end), t.horizon)
            for t in trials
        ]
        for row in rows:
            if not row[1] or not row[3] or row[4] >= row[5] or row[6] < 1:
                raise StoreError(
                    f"a trial needs a text, a data name, a window and a horizon; received {row[1:]}",
                    where=str(self.path),
                    remedy="let the end come after the start",
                )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            connection.executescript(_SCHEMA)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO trial (at, what, purpose, data, first, past, horizon) VALUES (?,?,?,?,?,?,?)",
                rows,
            )
            connection.execute("COMMIT")
        return len(rows)

    def count(self, data: str, start: Moment | None = None, end: Moment | None = None) -> Count:
        """Trials on ``data`` whose window overlaps ``[start, end)``; None is open-ended."""
        if not self.path.exists():
            return Count(0, 0)
        low = -(2**62) if start is None else _nanoseconds(start)
        high = 2**62 if end is None else _nanoseconds(end)
        with self._open() as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'trial'").fetchone():
                return Count(0, 0)
            window = "FROM trial WHERE data = ? AND first < ? AND past > ?"
            key = (data, high, low)
            distinct = f"SELECT COUNT(*) FROM (SELECT DISTINCT what, horizon {window})"  # noqa: S608
            trials = connection.execute(distinct, key).fetchone()[0]
            rows = connection.execute(f"SELECT COUNT(*) {window}", key).fetchone()[0]
        return Count(int(trials), int(rows))

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None)) as found:
                found.execute("PRAGMA journal_mode = WAL")
                found.execute("PRAGMA synchronous = FULL")
                yield found
        except sqlite3.Error as error:
            raise StoreError(
                f"the ledger cannot be used: {error}",
                where=str(self.path),
                remedy="check path and permissions; move a file away that is no SQLite database",
            ) from None


def _nanoseconds(when: Moment) -> int:
    return int(moment(when).astype(np.int64))
