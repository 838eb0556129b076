"""Actions: each once, over crashes too; bots by the answers that freqtrade gives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bascule.bridge.freqtrade import emergency
from bascule.core import BridgeError
from bascule.monitor import schema
from bascule.monitor.actions import Actuator
from bascule.monitor.botapi import BotApi
from bascule.monitor.journal import Journal
from bascule.monitor.rules import Rule
from bascule.monitor.samples import Sample
from bascule.monitor.schema import Database
from bascule.monitor.settings import MonitorSettings
from tests.monitor.servers import PASSWORD, USER, FakeBot, bot_server

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def bot() -> FakeBot:
    return FakeBot()


@pytest.fixture
def url(bot: FakeBot) -> Iterator[str]:
    with bot_server(bot) as found:
        yield found


class Desk:
    """A journal and an actuator over bots, as after every (re)start."""

    def __init__(self, home: Path, urls: dict[str, str], *actions: Any, userdir: bool = True) -> None:
        bots = []
        for name, url in urls.items():
            (home / name).mkdir(exist_ok=True)
            secret = {"env": "BASCULE_TEST_BOT"}
            one: dict[str, Any] = {"name": name, "url": url, "username": USER, "password": secret}
            bots.append(one | ({"userdir": name} if userdir else {}))
        os.environ["BASCULE_TEST_BOT"] = PASSWORD
        self.settings = MonitorSettings.read({"home": str(home), "bots": bots, "act": {"attempts": 3}})
        rule = Rule.read({"name": "r", "metric": "ic.rank", "below": 0.0, "actions": actions})
        self.journal = Journal(Database(home / "m.sqlite"), (rule,))
        self.apis = {name: BotApi(name, url, USER, PASSWORD) for name, url in urls.items()}
        self.actuator = Actuator(self.journal, self.settings, self.apis)

    def fire(self) -> None:
        self.journal.take([Sample("ic.rank", "current", NOW, -0.1)], now=NOW)

    def rows(self) -> list[Any]:
        with self.journal.database.read() as connection:
            return list(connection.execute(sa.select(schema.actions)).all())

    def close(self) -> None:
        for api in self.apis.values():
            api.close()
        self.journal.database.close()


@pytest.fixture
def desks() -> Iterator[list[Desk]]:
    made: list[Desk] = []
    yield made
    for desk in made:
        desk.close()


def test_halt_is_given_once_though_the_process_dies_before_it_notes_that(
    tmp_path: Path, url: str, desks: list[Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, {"main": url}, "halt")
    desks.append(desk)
    desk.fire()

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(desk.journal, "tried", die)
    with pytest.raises(KeyboardInterrupt):
        desk.actuator.work(NOW)
    again = Desk(tmp_path, {"main": url}, "halt")
    desks.append(again)
    assert again.actuator.work(NOW) == 1 and again.actuator.work(NOW) == 0
    (given,) = emergency.journal(tmp_path / "main")
    assert given.state is emergency.State.HALT and "ic.rank of current is -0.1" in given.reason
    assert [(row.status, row.outcome) for row in again.rows()] == [("done", "main: halt was given")]


def test_a_more_severe_state_is_never_lowered(tmp_path: Path, url: str, desks: list[Desk]) -> None:
    desk = Desk(tmp_path, {"main": url}, "halt")
    desks.append(desk)
    emergency.command(tmp_path / "main", "flatten", reason="fire", by="me", now=NOW)
    desk.fire()
    desk.actuator.work(NOW)
    assert emergency.in_force(tmp_path / "main").state is emergency.State.FLATTEN
    assert desk.rows()[0].outcome == "main: flatten holds already"


def test_without_a_user_folder_the_command_goes_over_the_api(
    tmp_path: Path, bot: FakeBot, url: str, desks: list[Desk]
) -> None:
    desk = Desk(tmp_path, {"main": url}, "flatten", userdir=False)
    desks.append(desk)
    desk.fire()
    desk.actuator.work(NOW)
    ((path, (lock,)),) = bot.asked
    assert path == "/locks"
    assert emergency.from_reason(lock["reason"]) == (emergency.State.FLATTEN, desk.rows()[0].reason)


def test_reduce_sells_the_share_once_over_a_crash(
    tmp_path: Path, bot: FakeBot, url: str, desks: list[Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    bot.trades.append({**bot.trades[0], "trade_id": 2, "amount": 4.0})
    action = {"do": "reduce", "share": 0.25}
    desk = Desk(tmp_path, {"main": url}, action)
    desks.append(desk)
    desk.fire()
    post, sold = desk.apis["main"].post, []

    def dies_after_the_first(path: str, body: Any = None) -> Any:
        if sold:
            raise KeyboardInterrupt
        sold.append(body)
        return post(path, body)

    monkeypatch.setattr(desk.apis["main"], "post", dies_after_the_first)
    with pytest.raises(KeyboardInterrupt):
        desk.actuator.work(NOW)
    again = Desk(tmp_path, {"main": url}, action)
    desks.append(again)
    again.actuator.work(NOW)
    assert [trade["amount"] for trade in bot.trades] == [7.5, 3.0]
    assert emergency.in_force(tmp_path / "main").state is emergency.State.HALT
    assert again.rows()[0].outcome == "main: halted, 1 of 2 positions reduced"


def test_a_failing_action_is_tried_again_and_then_an_event(
    tmp_path: Path, bot: FakeBot, url: str, desks: list[Desk]
) -> None:
    bot.broken = True
    desk = Desk(tmp_path, {"main": url}, "reduce")
    desks.append(desk)
    desk.fire()
    later = [NOW + timedelta(seconds=s) for s in (0, 1, 5, 10, 20)]
    assert [desk.actuator.work(at) for at in later] == [0, 0, 0, 0, 1]
    (row,) = desk.rows()
    assert (row.status, row.attempts) == ("failed", 3) and "502" in row.outcome
    assert PASSWORD not in row.outcome
    with desk.journal.database.read() as connection:
        last = connection.execute(sa.select(schema.events).order_by(schema.events.c.id.desc())).first()
    assert last is not None and last.level == "critical" and "failed for good" in last.text


def test_one_silent_bot_keeps_no_other_from_its_command(tmp_path: Path, url: str, desks: list[Desk]) -> None:
    desk = Desk(tmp_path, {"a": url, "b": url}, "halt")
    desks.append(desk)
    (tmp_path / "a").rmdir()
    desk.fire()
    desk.actuator.work(NOW)
    assert emergency.in_force(tmp_path / "b").state is emergency.State.HALT
    assert desk.rows()[0].status == "planned"  # a is tried again
    (tmp_path / "a").mkdir()
    desk.actuator.work(NOW + timedelta(hours=1))
    assert [len(emergency.journal(tmp_path / name)) for name in "ab"] == [1, 1]


def test_switching_the_venue_starts_one_bot_and_halts_the_other(
    tmp_path: Path, bot: FakeBot, url: str, desks: list[Desk]
) -> None:
    desk = Desk(tmp_path, {"old": url, "new": url}, {"do": "switch_venue", "bot": "old", "to": "new"})
    desks.append(desk)
    desk.fire()
    desk.actuator.work(NOW)
    assert ("/start", None) in bot.asked
    assert emergency.in_force(tmp_path / "old").state is emergency.State.HALT
    assert emergency.in_force(tmp_path / "new").state is emergency.State.RUN


def test_retraining_is_asked_for_once(tmp_path: Path, url: str, desks: list[Desk]) -> None:
    for _ in range(2):
        desk = Desk(tmp_path, {"main": url}, "retrain", {"do": "job", "job": "report"})
        desks.append(desk)
        desk.fire()
        desk.actuator.work(NOW)
    with desk.journal.database.read() as connection:
        found = connection.execute(sa.select(schema.jobs.c.job, schema.jobs.c.status)).all()
    assert [tuple(row) for row in found] == [("retrain", "waiting"), ("report", "waiting")]


def test_the_api_logs_in_once_and_renews_an_expired_token(bot: FakeBot, url: str) -> None:
    api = BotApi("main", url, USER, PASSWORD)
    assert api.get("/profit") == {"profit_all_ratio": 0.05}
    bot.expire()
    assert api.get("/health")["last_process_ts"] == 1_767_225_600
    assert bot.logins == 1 and bot.token == "refreshed"
    api.close()


def test_a_wrong_password_is_one_clear_error_without_it(url: str) -> None:
    api = BotApi("main", url, USER, "wrong-secret")
    with pytest.raises(BridgeError, match="login: status 401") as caught:
        api.get("/profit")
    assert "wrong-secret" not in str(caught.value)
    api.close()
