"""The audit log: who did what from where, and how it ended. Rows are added, never changed."""

from __future__ import annotations

from dataclasses import dataclass

from bascule.app.web.database import Database

_LONGEST = 500  # characters of a detail that are kept


@dataclass(frozen=True)
class Entry:
    """One action; ``at`` in seconds since 1970, ``outcome`` ``done`` or why not."""

    id: int
    at: float
    who: str
    address: str
    action: str
    target: str
    detail: str
    outcome: str


class Audit:
    """The log of a state file."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def note(
        self, at: float, who: str, address: str, action: str, target: str = "", detail: str = "",
        outcome: str = "done",
    ) -> None:  # fmt: skip
        """Write an action down."""
        values = (at, who[:64], address, action, target[:_LONGEST], detail[:_LONGEST], outcome[:_LONGEST])
        with self.database.open(write=True) as connection:
            connection.execute(
                "INSERT INTO audit (at, who, address, action, target, detail, outcome) "
                "VALUES (?,?,?,?,?,?,?)",
                values,
            )

    def newest(self, count: int = 200) -> tuple[Entry, ...]:
        """The newest actions, newest first."""
        with self.database.open() as connection:
            rows = connection.execute("SELECT * FROM audit ORDER BY id DESC LIMIT ?", (count,)).fetchall()
        return tuple(Entry(**dict(row)) for row in rows)

    def last(self, action: str, target: str) -> Entry | None:
        """The newest of these that was done; None if there was none."""
        query = (
            "SELECT * FROM audit WHERE action = ? AND target = ? AND outcome = 'done' "
            "ORDER BY id DESC LIMIT 1"
        )
        with self.database.open() as connection:
            row = connection.execute(query, (action, target)).fetchone()
        return None if row is None else Entry(**dict(row))
