"""The monitor's database: SQLite in a file, or PostgreSQL by its URL.

1. Tables are made and changed by numbered steps (`MIGRATIONS`), each in one transaction together with its
   number; a database of a newer version is refused.
2. SQLite is write-ahead logged and flushed at every commit, and a writing transaction takes the write lock
   at its start: readers never wait, and two writers wait for each other.
3. Times are seconds since 1970, UTC.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from bascule.core import StoreError

META = sa.MetaData()

_Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up INTEGER keys alone


def _id() -> sa.Column[int]:
    return sa.Column("id", _Big, primary_key=True, autoincrement=True)


version_table = sa.Table("monitor_version", META, sa.Column("number", sa.Integer, primary_key=True))
samples = sa.Table(
    "monitor_sample",
    META,
    _id(),
    sa.Column("metric", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("low", sa.Double),
    sa.Column("high", sa.Double),
    sa.UniqueConstraint("metric", "subject", "at"),
)
# the newest sample of each subject: asked for at every scrape, when there are millions of samples
latest = sa.Table(
    "monitor_latest",
    META,
    sa.Column("metric", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("low", sa.Double),
    sa.Column("high", sa.Double),
)
states = sa.Table(
    "monitor_state",
    META,
    sa.Column("rule", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("firing", sa.Boolean, nullable=False),
    sa.Column("fired", sa.Double),
    sa.Column("at", sa.Double),
    sa.Column("value", sa.Double, nullable=False),
)
messages = sa.Table(
    "monitor_message",
    META,
    _id(),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("events", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # waiting, sent, failed; kept: there is no channel
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("tried", sa.Double),
    sa.Column("error", sa.Text, nullable=False),
)
events = sa.Table(
    "monitor_event",
    META,
    _id(),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # fired, cleared, action
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("closed", sa.Double),  # of a firing: when it cleared
    sa.Column("tell", sa.Boolean, nullable=False),
    sa.Column("message", _Big, sa.ForeignKey("monitor_message.id")),
    sa.Index("monitor_event_open", "rule", "subject", "closed"),
    sa.Index("monitor_event_untold", "tell", "message"),
)
actions = sa.Table(
    "monitor_action",
    META,
    _id(),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("event", _Big, sa.ForeignKey("monitor_event.id"), nullable=False),
    sa.Column("do", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("arguments", sa.JSON, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # planned, done, failed
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("tried", sa.Double),
    sa.Column("ended", sa.Double),
    sa.Index("monitor_action_status", "status"),
)
cursors = sa.Table(
    "monitor_cursor",
    META,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
)
jobs = sa.Table(
    "monitor_job",
    META,
    _id(),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("asked", sa.Double, nullable=False),
    sa.Column("arguments", sa.JSON, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # waiting, running, done, failed, lost, skipped
    sa.Column("started", sa.Double),
    sa.Column("ended", sa.Double),
    sa.Column("code", sa.Integer),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Index("monitor_job_status", "status"),
)


def _first(connection: sa.Connection) -> None:
    META.create_all(connection, [table for table in META.sorted_tables if table is not version_table])


# step n takes a database of version n to n + 1; never change one that was released, add another
MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (_first,)


class Database:
    """The open database.

    Args:
        url: a path, or an SQLAlchemy URL (``sqlite:///…``, ``postgresql+psycopg://…``); None = in memory.

    Raises:
        StoreError: it cannot be used, or is of a newer version.
    """

    def __init__(self, url: str | Path | None) -> None:
        self.shown = shown(url)
        try:
            self.engine = _engine(url)
            with self.write() as connection:
                _migrate(connection, self.shown)
        except (SQLAlchemyError, ImportError, OSError) as error:
            raise self._explain(error) from None

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A writing transaction; committed on a clean exit, else rolled back."""
        with self._open(write=True) as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A reading transaction: one state of everything."""
        with self._open(write=False) as connection:
            yield connection

    @contextlib.contextmanager
    def _open(self, *, write: bool) -> Iterator[sa.Connection]:
        try:
            with (
                self.engine.connect().execution_options(bascule_write=write) as connection,
                connection.begin(),
            ):
                yield connection
        except SQLAlchemyError as error:
            raise self._explain(error) from None

    def _explain(self, error: Exception) -> StoreError:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return StoreError(
            f"the monitor's state cannot be used: {type(error).__name__}: {reason}",
            where=self.shown,
            remedy="check address, permissions and free space",
        )

    def close(self) -> None:
        """Give connections back."""
        self.engine.dispose()


def shown(url: str | Path | None) -> str:
    """An address without its password."""
    if url is None:
        return "memory"
    if "://" not in str(url):
        return str(url)
    try:
        return sa.engine.make_url(str(url)).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "a database URL that cannot be read"


def _engine(url: str | Path | None) -> sa.Engine:
    if url is None:
        engine = sa.create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
    elif "://" in str(url):
        engine = sa.create_engine(str(url), pool_pre_ping=True)
    else:
        Path(url).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(f"sqlite:///{Path(url).resolve()}", connect_args={"timeout": 30.0})
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are ours, see _begin
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("bascule_write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _migrate(connection: sa.Connection, where: str) -> None:
    version_table.create(connection, checkfirst=True)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE monitor_version IN EXCLUSIVE MODE")
    found = connection.execute(sa.select(version_table.c.number)).scalar()
    at = 0 if found is None else int(found)
    if at > len(MIGRATIONS):
        raise StoreError(
            f"version {at}, this Bascule knows {len(MIGRATIONS)}",
            where=where,
            remedy="use the newer Bascule that wrote it",
        )
    for number, migrate in enumerate(MIGRATIONS[at:], at + 1):
        migrate(connection)
        connection.execute(version_table.delete())
        connection.execute(version_table.insert().values(number=number))


def seconds(time: datetime) -> float:
    """Seconds since 1970 of an aware time."""
    return time.timestamp()


def time_of(value: float | None) -> datetime | None:
    """The time behind `seconds`."""
    return None if value is None else datetime.fromtimestamp(value, UTC)
