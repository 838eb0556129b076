"""The dashboard's own SQLite file: users, sessions, API tokens, failed logins, the audit log.

1. Write-ahead logged, one connection a transaction: processes (`serve`, `user add`) may share it.
2. The file is readable by its owner only. Passwords are argon2 hashes; sessions and API tokens are kept as
   SHA-256 of a random token, so that a copy of the file opens no session.
3. Times are seconds since 1970, UTC, handed in by whoever calls.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from bascule.core import StoreError

VERSION = 1
_WAIT = 10.0  # seconds that a writer waits for others
_SCHEMA = """
CREATE TABLE user (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL, created REAL NOT NULL,
    changed REAL NOT NULL
);
CREATE TABLE session (
    token TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE, csrf TEXT NOT NULL,
    began REAL NOT NULL, seen REAL NOT NULL, address TEXT NOT NULL
);
CREATE TABLE token (
    token TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, created REAL NOT NULL,
    expires REAL NOT NULL
);
CREATE TABLE attempt (at REAL NOT NULL, name TEXT NOT NULL, address TEXT NOT NULL);
CREATE INDEX attempt_time ON attempt (at);
CREATE TABLE audit (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, address TEXT NOT NULL, action TEXT NOT NULL,
    target TEXT NOT NULL, detail TEXT NOT NULL, outcome TEXT NOT NULL
);
CREATE INDEX audit_action ON audit (action, target);
"""


class Database:
    """The file; made with its tables when it is not there.

    Raises:
        StoreError: it cannot be used, or is of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # made before SQLite does, so that nobody else can ever read it
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with self.open(write=True) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise StoreError(
                    f"made by another version of Bascule ({version}, this one reads {VERSION})",
                    where=str(path),
                    remedy="name another file as state, and add the users again",
                )

    @contextlib.contextmanager
    def open(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction; committed on a clean exit, else rolled back."""
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None)) as found:
                found.row_factory = sqlite3.Row
                found.execute("PRAGMA journal_mode = WAL")
                found.execute("PRAGMA foreign_keys = ON")
                found.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                try:
                    yield found
                except BaseException:
                    found.execute("ROLLBACK")
                    raise
                found.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(
                f"the dashboard's state cannot be used: {error}",
                where=str(self.path),
                remedy="check path, permissions and free space; move a file away that is no SQLite database",
            ) from None
