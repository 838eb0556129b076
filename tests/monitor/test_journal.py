"""The journal: exactly once, alert storms, versions, reading."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bascule.core import StoreError
from bascule.monitor import schema
from bascule.monitor.journal import Journal
from bascule.monitor.notify import Notifier
from bascule.monitor.read import Reader
from bascule.monitor.rules import Rule
from bascule.monitor.samples import Sample
from bascule.monitor.schema import Database
from bascule.monitor.settings import NotifySettings

START = datetime(2026, 1, 1, tzinfo=UTC)


def rules(*actions: Any, **values: Any) -> tuple[Rule, ...]:
    given = {
        "name": "lost",
        "metric": "drift.feature",
        "above": 0.5,
        "actions": actions or ("alert",),
        **values,
    }
    return (Rule.read(given),)


def drifted(value: float, hour: int = 0, subject: str = "f") -> Sample:
    return Sample("drift.feature", subject, START + timedelta(hours=hour), value)


class Box:
    """A channel that keeps what it is sent."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, str]] = []

    def send(self, title: str, text: str, level: str) -> None:
        self.messages.append((title, text, level))


def count(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def test_the_same_samples_again_lead_to_nothing_new(tmp_path: Path) -> None:
    found = []
    for _ in range(3):  # as after restarts, with an old cursor
        journal = Journal(Database(tmp_path / "m.sqlite"), rules("alert", "halt", "retrain"))
        taken = journal.take([drifted(0.9), drifted(0.1, 1)], now=START, cursors={"s": START})
        found.append((len(taken.events), len(taken.actions)))
        assert journal.cursor("s") == START
        journal.database.close()
    assert found == [(2, 2), (0, 0), (0, 0)]
    database = Database(tmp_path / "m.sqlite")
    assert [count(database, t) for t in (schema.samples, schema.events, schema.actions)] == [2, 2, 2]


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "m.sqlite")
    journal = Journal(database, rules("alert", "halt"))
    with database.write() as connection:  # the last table of a `take` is gone
        connection.exec_driver_sql("ALTER TABLE monitor_action RENAME TO away")
    with pytest.raises(StoreError, match="monitor_action"):
        journal.take([drifted(0.9)], now=START)
    assert count(database, schema.samples) == count(database, schema.events) == 0
    with database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO monitor_action")
    assert len(journal.take([drifted(0.9)], now=START).actions) == 1


def test_ten_thousand_events_are_few_messages_and_all_in_the_journal() -> None:
    database, box = Database(None), Box()
    journal = Journal(database, rules(level="critical"))
    notifier = Notifier(database, NotifySettings(gap=60.0), box)
    for part in range(10):  # ten minutes of storm, a cycle every 6 seconds
        storm = [
            Sample("drift.feature", f"f{part}-{n}", START + timedelta(seconds=60 * part), 0.9)
            for n in range(1_000)
        ]
        journal.take(storm, now=START)
        for cycle in range(10):
            notifier.flush(START + timedelta(seconds=60 * part + 6 * cycle))
    assert count(database, schema.events) == 10_000
    with database.read() as connection:
        untold = connection.execute(
            sa.select(schema.events.c.id).where(schema.events.c.message.is_(None))
        ).all()
        told = connection.execute(sa.select(sa.func.sum(schema.messages.c.events))).scalar()
    assert not untold and told == 10_000
    assert len(box.messages) <= 10
    assert box.messages[0][0] == "Bascule: 1,000 critical" and "and 995 more" in box.messages[0][1]
    assert max(len(text) for _, text, _ in box.messages) < 4_000


def test_messages_have_an_hourly_limit_and_wait_for_it() -> None:
    database, box = Database(None), Box()
    journal, notifier = Journal(database, rules()), Notifier(database, NotifySettings(gap=0.0, hourly=3), box)
    for minute in range(30):
        now = START + timedelta(minutes=minute)
        journal.take([Sample("drift.feature", f"f{minute}", now, 0.9)], now=now)
        notifier.flush(now)
    assert len(box.messages) == 3
    notifier.flush(START + timedelta(hours=2))
    assert len(box.messages) == 4 and "27 warning" in box.messages[-1][0]


def test_the_worst_level_leads_and_what_is_over_is_told() -> None:
    database, box = Database(None), Box()
    both = (
        *rules(),
        Rule.read({"name": "far", "metric": "drift.feature", "above": 0.8, "level": "critical"}),
    )
    journal, notifier = Journal(database, both), Notifier(database, NotifySettings(gap=0.0), box)
    journal.take([drifted(0.9)], now=START)
    notifier.flush(START)
    journal.take([drifted(0.2, 1)], now=START)
    notifier.flush(START + timedelta(hours=1))
    assert box.messages[0][2] == "critical" and box.messages[0][1].startswith("CRITICAL far")
    assert "2 over" in box.messages[1][0] and box.messages[1][2] == "info"


def test_what_rules_do_not_want_told_is_journalled_all_the_same() -> None:
    database, box = Database(None), Box()
    Journal(database, rules("halt")).take([drifted(0.9)], now=START)
    assert Notifier(database, NotifySettings(), box).flush(START) == 0
    assert count(database, schema.events) == 1 and count(database, schema.messages) == 0


def test_the_reader_shows_alerts_actions_series_and_bots(tmp_path: Path) -> None:
    journal = Journal(Database(tmp_path / "m.sqlite"), rules("alert", "halt"))
    up = Sample("bot.up", "main", START, 1.0)
    journal.take([drifted(0.9), drifted(0.1, 1), drifted(0.8, 2), up], now=START)
    reader = Reader(tmp_path / "m.sqlite")
    alerts = reader.alerts(10)
    assert [(alert.rule, alert.open) for alert in alerts] == [("lost", True), ("lost", False)]
    assert [(deed.action, deed.target, deed.outcome) for deed in reader.deeds(1)] == [
        ("halt", "*", "planned")
    ]
    series = {one.name: one for one in reader.series(2)}
    assert series["drift.feature f"].values == (0.1, 0.8) and set(series) == {
        "bot.up main",
        "drift.feature f",
    }
    assert [(bot.name, bot.values) for bot in reader.bots()] == [("main", {"bot.up": 1.0})]


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Database(tmp_path / "m.sqlite").close()
    with sqlite3.connect(tmp_path / "m.sqlite") as connection:
        connection.execute("UPDATE monitor_version SET number = 99")
    with pytest.raises(StoreError, match="version 99"):
        Database(tmp_path / "m.sqlite")


def test_a_file_that_is_no_database_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "m.sqlite").write_text("not a database at all, only words" * 50)
    with pytest.raises(StoreError, match="cannot be used"):
        Database(tmp_path / "m.sqlite")


def test_a_password_in_the_address_is_never_shown() -> None:
    with pytest.raises(StoreError) as caught:
        Database("postgresql+psycopg://me:geheim@127.0.0.1:1/none")
    assert "geheim" not in str(caught.value) and "127.0.0.1" in str(caught.value)


def test_an_older_sample_that_comes_late_is_kept_but_not_the_newest() -> None:
    database = Database(None)
    journal = Journal(database)
    journal.take([drifted(0.3, 5), drifted(0.2, 4)], now=START)
    journal.take([drifted(0.1, 1)], now=START + timedelta(hours=5))
    with database.read() as connection:
        (row,) = connection.execute(sa.select(schema.latest)).all()
    assert (row.value, count(database, schema.samples)) == (0.3, 3)


def test_the_equity_is_never_forgotten() -> None:
    database = Database(None)
    journal = Journal(database)
    journal.take([Sample("bot.equity", "main", START, 5.0), drifted(0.1), drifted(0.1, 48)], now=START)
    assert journal.forget(START + timedelta(hours=24)) == 1
    assert journal.highest("bot.equity", "main") == 5.0 and journal.highest("bot.equity", "other") is None
