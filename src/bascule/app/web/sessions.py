"""Sessions: who is logged in, for how long, with which CSRF token.

1. A session's token is 256 random bits, made at login and at no other time: a token that a browser brings
   along is looked up, never taken over, so that nobody can fix one for somebody else beforehand.
2. A login ends the session that the browser had. A logout, a new password or a removed user ends it too.
3. It ends after a rest and after a fixed time. What pages ask for by themselves does not count as activity.
4. Every session has a CSRF token of its own. The login form has none yet: it carries a random value in a
   cookie and in the form, which must be equal.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

from bascule.app.web.accounts import Role, digest
from bascule.app.web.database import Database
from bascule.app.web.settings import SessionSettings

_BYTES = 32
_SEEN_EVERY = 15.0  # seconds between notes of activity: one write a page would be many


@dataclass(frozen=True)
class Session:
    """Who asks.

    Attributes:
        user: name.
        role: as it is now, not as it was at login.
        csrf: what a change must carry; "" for API tokens, which no browser sends by itself.
        key: what the session is kept under; "" for API tokens.
    """

    user: str
    role: Role
    csrf: str = ""
    key: str = ""

    @property
    def operator(self) -> bool:
        """May change things."""
        return self.role == "operator"


class Sessions:
    """The sessions of a state file."""

    def __init__(self, database: Database, settings: SessionSettings | None = None) -> None:
        self.database = database
        self.settings = settings or SessionSettings()

    def begin(self, user: str, address: str, now: float, *, instead_of: str | None = None) -> str:
        """A new session; returns its token.

        Args:
            user: who logged in.
            address: from where.
            now: seconds since 1970.
            instead_of: token that the browser had until now; it ends.
        """
        token = secrets.token_urlsafe(_BYTES)
        with self.database.open(write=True) as connection:
            if instead_of:
                connection.execute("DELETE FROM session WHERE token = ?", (digest(instead_of),))
            connection.execute(
                "DELETE FROM session WHERE began < ? OR seen < ?",
                (now - self.settings.hours * 3600.0, now - self.settings.idle_minutes * 60.0),
            )
            row = (digest(token), user, secrets.token_urlsafe(_BYTES), now, now, address)
            connection.execute("INSERT INTO session VALUES (?,?,?,?,?,?)", row)
        return token

    def find(self, token: str, now: float, *, active: bool = True) -> Session | None:
        """The session behind a token; None if there is none or it has ended.

        Args:
            token: as the browser sent it.
            now: seconds since 1970.
            active: counts as activity.
        """
        key = digest(token)
        return self.lookup(key, now, active=active)

    def lookup(self, key: str, now: float, *, active: bool = False) -> Session | None:
        """`find` by what the session is kept under."""
        query = (
            "SELECT s.user, u.role, s.csrf, s.seen FROM session s JOIN user u ON u.name = s.user "
            "WHERE s.token = ? AND s.began > ? AND s.seen > ?"
        )
        oldest, quietest = now - self.settings.hours * 3600.0, now - self.settings.idle_minutes * 60.0
        with self.database.open() as connection:
            row = connection.execute(query, (key, oldest, quietest)).fetchone()
        if row is None:
            return None
        if active and now - row["seen"] > _SEEN_EVERY:
            with self.database.open(write=True) as connection:
                connection.execute("UPDATE session SET seen = ? WHERE token = ?", (now, key))
        return Session(row["user"], row["role"], row["csrf"], key)

    def end(self, key: str) -> None:
        """End a session."""
        with self.database.open(write=True) as connection:
            connection.execute("DELETE FROM session WHERE token = ?", (key,))


def same(one: str, other: str) -> bool:
    """True if two secrets are equal and not empty; takes the same time wherever they differ."""
    return bool(one) and hmac.compare_digest(one.encode(), other.encode())


def fresh() -> str:
    """A random value for the login form."""
    return secrets.token_urlsafe(_BYTES)
