"""Users, tokens, sessions, limits of attempts, the audit log, and the file that holds them."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from bascule.app.web.accounts import Accounts, TooMany
from bascule.app.web.audit import Audit
from bascule.app.web.database import Database
from bascule.app.web.sessions import Sessions, same
from bascule.app.web.settings import SessionSettings
from bascule.core import ConfigError, StoreError
from tests.web.office import CHEAP, PASSWORD

NOW = 1_800_000_000.0


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "web.sqlite")


@pytest.fixture
def accounts(database: Database) -> Accounts:
    made = Accounts(database, SessionSettings(attempts=3, attempts_address=6, attempts_name=8), CHEAP)
    made.add("ada", PASSWORD, "operator", NOW)
    return made


def test_the_right_password_and_no_other(accounts: Accounts) -> None:
    found = accounts.check("ada", PASSWORD, "1.2.3.4", NOW)
    assert found is not None and (found.name, found.role) == ("ada", "operator")
    assert accounts.check("ada", PASSWORD + "x", "1.2.3.4", NOW) is None
    assert accounts.check("nobody", PASSWORD, "1.2.3.4", NOW) is None


def test_neither_passwords_nor_tokens_lie_in_the_file(accounts: Accounts, database: Database) -> None:
    token = accounts.add_token("robot", "viewer", 1, NOW)
    session = Sessions(database).begin("ada", "1.2.3.4", NOW)
    with sqlite3.connect(database.path) as connection:
        content = "\n".join(connection.iterdump())
    assert "$argon2id$" in content
    for secret in (PASSWORD, token, session):
        assert secret not in content
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("weak", ["short", "aaaaaaaaaaaa", "ada-is-my-name", "x" * 300])
def test_weak_passwords_are_refused(accounts: Accounts, weak: str) -> None:
    with pytest.raises(ConfigError, match="password"):
        accounts.set_password("ada", weak, NOW)
    assert accounts.check("ada", PASSWORD, "1.2.3.4", NOW)


@pytest.mark.parametrize("name", ["", "a b", "<b>", "-x", "x" * 65, "ada"])
def test_malformed_and_taken_names_are_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(ConfigError):
        accounts.add(name, PASSWORD, "viewer", NOW)


def test_unknown_roles_and_users_are_refused(accounts: Accounts) -> None:
    with pytest.raises(ConfigError, match="no role"):
        accounts.add("bob", PASSWORD, "root", NOW)
    for act in (accounts.remove, accounts.remove_token, lambda n: accounts.set_role(n, "viewer")):
        with pytest.raises(ConfigError, match=r"no (user|token) 'bob'"):
            act("bob")


def test_attempts_of_a_name_are_limited_and_time_heals(accounts: Accounts) -> None:
    for _ in range(3):
        assert accounts.check("ada", "wrong password", "1.2.3.4", NOW) is None
    with pytest.raises(TooMany) as limit:  # even the right one is not looked at
        accounts.check("ada", PASSWORD, "1.2.3.4", NOW + 1)
    assert 0 < limit.value.seconds <= 15 * 60
    assert accounts.check("ada", PASSWORD, "5.6.7.8", NOW + 1)  # from elsewhere she still gets in
    assert accounts.check("ada", PASSWORD, "1.2.3.4", NOW + 15 * 60 + 1)


def test_attempts_of_an_address_and_of_a_name_are_limited(accounts: Accounts) -> None:
    for k in range(6):
        accounts.check(f"user{k}", "wrong password", "1.2.3.4", NOW)
    with pytest.raises(TooMany):
        accounts.check("another", "wrong password", "1.2.3.4", NOW)
    for k in range(8):
        accounts.check("ada", "wrong password", f"9.9.9.{k}", NOW)
    with pytest.raises(TooMany):
        accounts.check("ada", PASSWORD, "8.8.8.8", NOW)


def test_limits_survive_a_restart(accounts: Accounts, database: Database) -> None:
    for _ in range(3):
        accounts.check("ada", "wrong password", "1.2.3.4", NOW)
    again = Accounts(Database(database.path), accounts.settings, CHEAP)
    with pytest.raises(TooMany):
        again.check("ada", PASSWORD, "1.2.3.4", NOW)


def test_sessions_end_by_rest_by_age_and_by_logout(accounts: Accounts, database: Database) -> None:
    sessions = Sessions(database, SessionSettings(idle_minutes=10, hours=1))
    token = sessions.begin("ada", "1.2.3.4", NOW)
    assert sessions.find(token, NOW + 599)
    assert sessions.find(token, NOW + 1_198)  # the look before counted as activity
    assert sessions.find(token, NOW + 1_198 + 601) is None
    lively = sessions.begin("ada", "1.2.3.4", NOW)
    for minute in range(5, 60, 5):
        assert sessions.find(lively, NOW + 60 * minute)
    assert sessions.find(lively, NOW + 3_601) is None
    last = sessions.begin("ada", "1.2.3.4", NOW)
    found = sessions.find(last, NOW)
    assert found
    sessions.end(found.key)
    assert sessions.find(last, NOW) is None


def test_background_requests_do_not_keep_a_session_alive(accounts: Accounts, database: Database) -> None:
    sessions = Sessions(database, SessionSettings(idle_minutes=10))
    token = sessions.begin("ada", "1.2.3.4", NOW)
    for minute in range(1, 10):
        assert sessions.find(token, NOW + 60 * minute, active=False)
    assert sessions.find(token, NOW + 601, active=False) is None


def test_new_password_removal_and_role_act_at_once(accounts: Accounts, database: Database) -> None:
    sessions = Sessions(database)
    token = sessions.begin("ada", "1.2.3.4", NOW)
    accounts.set_role("ada", "viewer")
    found = sessions.find(token, NOW)
    assert found and not found.operator
    accounts.set_password("ada", "another good one", NOW)
    assert sessions.find(token, NOW) is None
    token = sessions.begin("ada", "1.2.3.4", NOW)
    accounts.remove("ada")
    assert sessions.find(token, NOW) is None


def test_api_tokens_expire_and_can_be_removed(accounts: Accounts) -> None:
    token = accounts.add_token("robot", "viewer", 1, NOW)
    found = accounts.bearer(token, NOW)
    assert found and (found.name, found.role) == ("robot", "viewer")
    assert accounts.bearer(token, NOW + 86_401) is None and accounts.bearer(token + "x", NOW) is None
    with pytest.raises(ConfigError, match="already"):
        accounts.add_token("robot", "viewer", 1, NOW)
    accounts.remove_token("robot")
    assert accounts.bearer(token, NOW) is None and accounts.tokens() == ()


def test_the_audit_log_tells_the_newest_first(database: Database) -> None:
    audit = Audit(database)
    audit.note(NOW, "ada", "1.2.3.4", "emergency", "main", "halt: fire", "failed: no connection")
    audit.note(NOW + 1, "ada", "1.2.3.4", "emergency", "main", "halt: fire")
    assert [one.outcome for one in audit.newest()] == ["done", "failed: no connection"]
    last = audit.last("emergency", "main")
    assert last and last.at == NOW + 1 and audit.last("emergency", "other") is None


def test_a_file_that_is_no_database_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "web.sqlite").write_text("no database, certainly not one of these" * 50)
    with pytest.raises(StoreError, match="cannot be used"):
        Database(tmp_path / "web.sqlite")


def test_empty_secrets_are_never_the_same() -> None:
    assert not same("", "") and same("x", "x") and not same("x", "y")
