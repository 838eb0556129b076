"""Who may use the dashboard: users with passwords, API tokens of programs, and how often one may try.

1. Passwords are hashed with argon2id at the library's defaults (RFC 9106, low memory). A name that does not
   exist costs the same hash as one that does, so that time tells nobody which names there are.
2. Failed logins are counted by (name, address), by address and by name, over a sliding window that survives
   restarts. While a limit is reached no password is looked at, right or wrong.
3. At most two hashes are computed at the same time: a flood of logins cannot take the machine from the bots.
4. A password that is changed ends all sessions of its user.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from dataclasses import dataclass
from typing import Literal

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from bascule.app.web.database import Database
from bascule.app.web.settings import SessionSettings
from bascule.core import ConfigError

Role = Literal["viewer", "operator"]
ROLES: tuple[Role, ...] = ("viewer", "operator")
SHORTEST, LONGEST = 10, 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_TOKEN_PREFIX = "bsc_"  # noqa: S105 - what scanners for leaked tokens look for


@dataclass(frozen=True)
class User:
    """Somebody who may log in."""

    name: str
    role: Role
    created: float


@dataclass(frozen=True)
class Token:
    """A program that may ask the API; times in seconds since 1970."""

    name: str
    role: Role
    created: float
    expires: float


class TooMany(Exception):
    """The limit of attempts is reached.

    Args:
        seconds: until the next attempt counts.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"try again in {seconds:.0f} s")
        self.seconds = seconds


def digest(token: str) -> str:
    """How a random token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


class Accounts:
    """The users and tokens of a state file.

    Args:
        database: the file.
        settings: limits of attempts.
        hasher: of passwords.
    """

    def __init__(
        self,
        database: Database,
        settings: SessionSettings | None = None,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self.database = database
        self.settings = settings or SessionSettings()
        self._hasher = hasher or PasswordHasher()
        self._nobody = self._hasher.hash(secrets.token_hex())
        self._hashing = threading.BoundedSemaphore(2)

    # -- users ---------------------------------------------------------------------------------------

    def add(self, name: str, password: str, role: str, now: float) -> User:
        """Add a user.

        Raises:
            ConfigError: the name is taken or malformed, the role unknown or the password weak.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} is not a user's name", where="user", remedy="letters, digits, _ . @ -, at most 64"
            )
        role = _role(role)
        hashed = self._hasher.hash(_strong(password, name))
        with self.database.open(write=True) as connection:
            if connection.execute("SELECT 1 FROM user WHERE name = ?", (name,)).fetchone():
                raise ConfigError(
                    f"there is a user {name!r} already", where="user", remedy="choose another name"
                )
            connection.execute("INSERT INTO user VALUES (?,?,?,?,?)", (name, role, hashed, now, now))
        return User(name, role, now)

    def users(self) -> tuple[User, ...]:
        """All users, by name."""
        with self.database.open() as connection:
            rows = connection.execute("SELECT name, role, created FROM user ORDER BY name").fetchall()
        return tuple(User(**dict(row)) for row in rows)

    def remove(self, name: str) -> None:
        """Remove a user and end the sessions.

        Raises:
            ConfigError: there is none of that name.
        """
        with self.database.open(write=True) as connection:
            _changed(connection.execute("DELETE FROM user WHERE name = ?", (name,)).rowcount, "user", name)

    def set_role(self, name: str, role: str) -> None:
        """Give a user another role, from the next request on.

        Raises:
            ConfigError: no such user or role.
        """
        role = _role(role)
        with self.database.open(write=True) as connection:
            found = connection.execute("UPDATE user SET role = ? WHERE name = ?", (role, name))
            _changed(found.rowcount, "user", name)

    def set_password(self, name: str, password: str, now: float) -> None:
        """Give a user another password and end all sessions.

        Raises:
            ConfigError: no such user, or the password is weak.
        """
        hashed = self._hasher.hash(_strong(password, name))
        with self.database.open(write=True) as connection:
            found = connection.execute(
                "UPDATE user SET password = ?, changed = ? WHERE name = ?", (hashed, now, name)
            )
            _changed(found.rowcount, "user", name)
            connection.execute("DELETE FROM session WHERE user = ?", (name,))

    # -- logging in ----------------------------------------------------------------------------------

    def check(self, name: str, password: str, address: str, now: float) -> User | None:
        """Who has this name and password; None = nobody. A failure is counted.

        Raises:
            TooMany: a limit is reached; the password was not looked at.
        """
        self._limit(name, address, now)
        with self.database.open() as connection:
            row = connection.execute("SELECT * FROM user WHERE name = ?", (name,)).fetchone()
        right = self._verify(row["password"] if row else self._nobody, password) and row is not None
        with self.database.open(write=True) as connection:
            if not right:
                connection.execute("INSERT INTO attempt VALUES (?,?,?)", (now, name[:64], address))
                return None
            connection.execute("DELETE FROM attempt WHERE name = ? AND address = ?", (name, address))
            if self._hasher.check_needs_rehash(row["password"]):
                again = self._hasher.hash(password)
                connection.execute("UPDATE user SET password = ? WHERE name = ?", (again, name))
        return User(row["name"], row["role"], row["created"])

    def _verify(self, hashed: str, password: str) -> bool:
        with self._hashing:
            try:
                return self._hasher.verify(hashed, password[:LONGEST])
            except (Argon2Error, InvalidHashError):
                return False

    def _limit(self, name: str, address: str, now: float) -> None:
        window, s = self.settings.window_minutes * 60.0, self.settings
        limits: tuple[tuple[str, tuple[str, ...], int], ...] = (
            ("name = ? AND address = ?", (name[:64], address), s.attempts),
            ("address = ?", (address,), s.attempts_address),
            ("name = ?", (name[:64],), s.attempts_name),
        )
        with self.database.open(write=True) as connection:
            connection.execute("DELETE FROM attempt WHERE at < ?", (now - window,))
            for where, values, most in limits:
                query = f"SELECT at FROM attempt WHERE {where} ORDER BY at DESC LIMIT 1 OFFSET ?"  # noqa: S608
                oldest = connection.execute(query, (*values, most - 1)).fetchone()
                if oldest is not None:
                    raise TooMany(max(oldest["at"] + window - now, 1.0))

    # -- tokens of programs --------------------------------------------------------------------------

    def add_token(self, name: str, role: str, days: float, now: float) -> str:
        """A new API token; its text is told once and kept nowhere.

        Raises:
            ConfigError: the name is taken or malformed, or the role unknown.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} is not a token's name", where="token", remedy="letters, digits, _ . @ -"
            )
        token = _TOKEN_PREFIX + secrets.token_urlsafe(32)
        with self.database.open(write=True) as connection:
            if connection.execute("SELECT 1 FROM token WHERE name = ?", (name,)).fetchone():
                raise ConfigError(f"there is a token {name!r} already", where="token", remedy="remove it")
            row = (digest(token), name, _role(role), now, now + days * 86_400.0)
            connection.execute("INSERT INTO token VALUES (?,?,?,?,?)", row)
        return token

    def tokens(self) -> tuple[Token, ...]:
        """All tokens, by name."""
        with self.database.open() as connection:
            rows = connection.execute(
                "SELECT name, role, created, expires FROM token ORDER BY name"
            ).fetchall()
        return tuple(Token(**dict(row)) for row in rows)

    def remove_token(self, name: str) -> None:
        """Let a token open nothing any more.

        Raises:
            ConfigError: there is none of that name.
        """
        with self.database.open(write=True) as connection:
            _changed(connection.execute("DELETE FROM token WHERE name = ?", (name,)).rowcount, "token", name)

    def bearer(self, token: str, now: float) -> Token | None:
        """Whose token this is; None if it is nobody's or has expired."""
        with self.database.open() as connection:
            row = connection.execute(
                "SELECT name, role, created, expires FROM token WHERE token = ? AND expires > ?",
                (digest(token), now),
            ).fetchone()
        return None if row is None else Token(**dict(row))


def _role(role: str) -> Role:
    for known in ROLES:
        if role == known:
            return known
    raise ConfigError(f"there is no role {role!r}", where="role", remedy=f"one of {', '.join(ROLES)}")


def _strong(password: str, name: str) -> str:
    problem = ""
    if not SHORTEST <= len(password) <= LONGEST:
        problem = f"it has {len(password)} characters"
    elif len(set(password)) < 4 or name.lower() in password.lower():
        problem = "it is easy to guess"
    if problem:
        raise ConfigError(
            f"this password will not do: {problem}",
            where="password",
            remedy=f"{SHORTEST} to {LONGEST} characters, not all alike, without the user's name",
        )
    return password


def _changed(rows: int, kind: str, name: str) -> None:
    if not rows:
        raise ConfigError(f"there is no {kind} {name!r}", where=kind, remedy=f"see: bascule web {kind} ls")
