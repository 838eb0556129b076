"""Finished tasks on disk, so that work which was cut off goes on where it stopped.

SQLite in WAL mode: a result is there wholly or not at all. Results are pickles that hold data only
(`plain.py`): a journal that somebody else wrote has nothing executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bascule.cluster import plain
from bascule.core import ConfigError

_DONE = "CREATE TABLE IF NOT EXISTS done (name TEXT PRIMARY KEY, task TEXT NOT NULL, result BLOB NOT NULL)"


class Journal:
    """Results by task name; the file is made if it is not there.

    Args:
        path: the file.
        about: what work this is; a journal of other work is refused.

    Raises:
        ConfigError: the file is no journal, or one of other work.
    """

    def __init__(self, path: Path, about: str) -> None:
        self._path, self._about = path, about
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as refused:
            try:
                self._base = refused.enter_context(contextlib.closing(sqlite3.connect(path, timeout=60.0)))
                self._base.execute("PRAGMA journal_mode=WAL")
                with self._base:
                    self._base.execute("CREATE TABLE IF NOT EXISTS work (about TEXT NOT NULL)")
                    self._base.execute(_DONE)
                    found = self._base.execute("SELECT about FROM work").fetchone()
                    if found is None:
                        self._base.execute("INSERT INTO work VALUES (?)", (about,))
            except sqlite3.DatabaseError as error:
                raise ConfigError(
                    f"not a journal of tasks ({error})",
                    where=str(path),
                    remedy="remove the file or name another",
                ) from None
            if found is not None and found[0] != about:
                raise ConfigError(
                    f"the journal is of other work or other data ({found[0]}, now {about})",
                    where=str(path),
                    remedy="remove the file, or name another one",
                )
            refused.pop_all()  # it is ours: it stays open

    def finished(self, tasks: Mapping[str, Any]) -> dict[str, Any]:
        """Results of those of the tasks that are finished.

        Raises:
            ConfigError: a task of a name was another one then, or its result is damaged or no data.
        """
        found: dict[str, Any] = {}
        for name, task, result in self._base.execute("SELECT name, task, result FROM done"):
            if name not in tasks:
                continue
            if task != _digest(tasks[name]):
                raise ConfigError(
                    f"task {name} was another one when it was journalled",
                    where=str(self._path),
                    remedy="remove the file, or name another one",
                )
            found[name] = self._read(name, result)
        return found

    def add(self, name: str, task: Any, result: Any) -> None:
        """Keep a result.

        Raises:
            ConfigError: it is no data, and could not be read again.
        """
        written = pickle.dumps(result)
        self._read(name, written)
        with self._base:
            self._base.execute("INSERT OR REPLACE INTO done VALUES (?, ?, ?)", (name, _digest(task), written))

    def _read(self, name: str, written: bytes) -> Any:
        try:
            return plain.loads(written, self._about.partition(".")[0])
        # a damaged pickle can end in nearly any error
        except Exception as error:  # noqa: BLE001
            raise ConfigError(
                f"the result of task {name} cannot be kept as data: {error}",
                where=str(self._path),
                remedy="return numbers, arrays, tables and dataclasses; remove a file that is not yours",
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._base.close()


def _digest(task: Any) -> str:
    return hashlib.sha256(pickle.dumps(task)).hexdigest()[:16]
