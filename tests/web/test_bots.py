"""Bots over freqtrade's REST API, the emergency brake, events and jobs."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from bascule.app.web import bots as bots_module
from bascule.app.web import events, jobs
from bascule.app.web.audit import Audit
from bascule.app.web.bots import Bots
from bascule.app.web.brake import Brake
from bascule.app.web.database import Database
from bascule.app.web.kept import Missing, NotNow
from bascule.app.web.services import Services
from bascule.app.web.settings import BotSettings, WebSettings
from bascule.bridge.freqtrade import emergency
from bascule.core import BridgeError, ConfigError
from tests.web.office import BOT_PASSWORD, bot_app

BOT = BotSettings(name="main", url="http://bot.local:8080/", username="freqtrader", password_env="BOT")


def made(app: Any = None, password: str = BOT_PASSWORD) -> tuple[Any, Bots]:
    app = app or bot_app()
    return app, Bots((BOT,), {"BOT": password}, httpx.ASGITransport(app))


def test_many_viewers_cost_one_reading() -> None:
    app, bots = made()

    async def look() -> list[str]:
        return [one.state for one in await asyncio.gather(*(bots.get("main") for _ in range(100)))]

    assert set(asyncio.run(look())) == {"running"}
    assert len(app.state.asked) == 6  # one each: configuration, profit, balance, trades, days, log


def test_a_wrong_password_is_said_and_shown_nowhere() -> None:
    _, bots = made(password="not the password")
    found = asyncio.run(bots.get("main"))
    assert (found.state, found.problem) == ("unreachable", "wrong user name or password")
    with pytest.raises(BridgeError, match="wrong user name") as refused:
        asyncio.run(bots.act("main", "start"))
    assert "not the password" not in f"{found} {refused.value}"


def test_a_missing_password_is_told_at_the_start() -> None:
    with pytest.raises(ConfigError, match="BOT is not set"):
        Bots((BOT,), {})


def answering(reply: Callable[[httpx.Request], httpx.Response]) -> Bots:
    return Bots((BOT,), {"BOT": "x"}, httpx.MockTransport(reply))


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (lambda r: httpx.Response(500), "it answered with 500"),
        (lambda r: httpx.Response(200, text="<html>"), "Expecting value"),
        (lambda r: httpx.Response(200, json="nonsense"), "not what freqtrade sends"),
    ],
)
def test_a_bot_that_answers_nonsense_is_shown_as_such(reply: Any, problem: str) -> None:
    found = asyncio.run(answering(reply).get("main"))
    assert not found.alive and problem in found.problem


def test_a_bot_without_an_answer_is_shown_as_such() -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("late", request=request)

    found = asyncio.run(answering(silent).get("main"))
    assert found.problem == f"no answer within {bots_module.TIMEOUT:g} s"


def test_a_stopped_bot_tells_what_it_can() -> None:
    def stopped(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("show_config"):
            return httpx.Response(200, json={"state": "stopped", "strategy": "S"})
        return httpx.Response(503, json={"detail": "trader is not running"})

    found = asyncio.run(answering(stopped).get("main"))
    assert (found.state, found.trades, dict(found.profit)) == ("stopped", (), {})


def test_only_known_actions_reach_a_bot(operator: TestClient, services: Services) -> None:
    assert operator.post("/api/bots/main/forceexit").status_code == 404
    assert operator.post("/api/bots/other/start").status_code == 404
    assert operator.post("/api/bots/main/..%2fforceexit").status_code in (404, 405)
    answer = operator.post("/api/bots/main/pause")
    assert answer.json() == {"message": "pause done"}
    assert operator.get("/api/bots/main").json()["state"] == "paused"
    noted = services.audit.newest()
    assert [(one.action, one.outcome) for one in noted[:2]] == [
        ("bot pause", "done"), ("bot start", "failed: there is no bot 'other', or no action 'start'")
    ]  # fmt: skip


# -- the brake ---------------------------------------------------------------------------------------------


def brake(tmp_path: Path, *bots: BotSettings) -> tuple[Audit, Brake]:
    audit = Audit(Database(tmp_path / "web.sqlite"))
    return audit, Brake(WebSettings(home=tmp_path, bots=bots), audit, {"BOT": "secret word"})


def test_one_bot_out_of_reach_keeps_nobody_else_from_being_told(tmp_path: Path) -> None:
    (tmp_path / "user_data").mkdir()
    near = BOT.model_copy(update={"name": "near", "folder": Path("user_data")})
    far = BOT.model_copy(update={"name": "far", "url": "http://127.0.0.1:9"})
    gone = BOT.model_copy(update={"name": "gone", "folder": Path("nowhere")})
    _, found = brake(tmp_path, far, near, gone)
    told = {one.bot: one.problem for one in found.give("halt", "fire", "ada", 1.8e9)}
    assert told["near"] == "" and told["far"].startswith("the bot does not answer")
    assert "no such user folder" in told["gone"] and "secret word" not in str(told)
    assert emergency.in_force(tmp_path / "user_data").by == "ada"
    worst = found.worst()
    assert worst and (worst.bot, worst.mode, worst.reason) == ("near", "halt", "fire")


def test_a_bot_over_rest_is_known_by_what_it_was_sent(tmp_path: Path) -> None:
    audit, found = brake(tmp_path, BOT)
    assert found.states()[0].mode == "run" and found.worst() is None
    audit.note(1.8e9, "ada", "", "emergency", "main", "hedge: fire: big")
    again = Brake(found._settings, audit, {"BOT": "x"})
    assert (again.states()[0].mode, again.states()[0].reason) == ("hedge", "fire: big")


def test_orders_need_a_reason_and_their_word(operator: TestClient, services: Services) -> None:
    for body in (
        {"mode": "halt", "confirm": "flatten", "reason": "a test"},
        {"mode": "halt", "confirm": "", "reason": "a test"},
        {"mode": "explode", "confirm": "explode", "reason": "a test"},
        {"mode": "halt", "confirm": "halt", "reason": "   "},
        {"mode": "halt", "confirm": "halt"},
        {"mode": "halt", "confirm": "halt", "reason": "a test", "more": 1},
    ):
        assert operator.post("/api/emergency", json=body).status_code in (409, 422), body
    assert services.brake.states()[0].mode == "run"
    assert all(one.action == "login" for one in services.audit.newest())


# -- events --------------------------------------------------------------------------------------------------


def test_events_are_sent_when_something_changes() -> None:
    value = {"n": 0}
    looks = 0

    async def topic() -> Any:
        nonlocal looks
        looks += 1
        return dict(value)

    async def always() -> bool:
        return True

    async def run() -> list[list[str]]:
        hub = events.Hub({"numbers": topic}, every=0.01)
        await hub.start()
        readers = [hub.listen(always) for _ in range(50)]
        frames = [[await anext(reader), await anext(reader)] for reader in readers]
        value["n"] = 1
        for reader, told in zip(readers, frames, strict=True):
            told.append(await anext(reader))
        for reader in readers:
            await reader.aclose()
        assert hub.listeners == 0
        before = looks
        await asyncio.sleep(0.1)
        assert looks <= before + 1  # nobody listens: nobody looks
        await hub.stop()
        return frames

    for told in asyncio.run(run()):
        assert told[1:] == ['event: numbers\ndata: {"n":0}\n\n', 'event: numbers\ndata: {"n":1}\n\n']


def test_a_topic_that_fails_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> Any:
        raise ConfigError("broken")

    async def whole() -> Any:
        return 1

    async def always() -> bool:
        return True

    async def run() -> str:
        hub = events.Hub({"broken": broken, "whole": whole}, every=0.01)
        await hub.start()
        reader = hub.listen(always)
        await anext(reader)
        told = await anext(reader)
        await reader.aclose()
        await hub.stop()
        return told

    assert asyncio.run(run()) == "event: whole\ndata: 1\n\n"
    assert "cannot look at broken" in caplog.text


def test_a_stream_ends_with_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BEAT", 0.02)

    async def over() -> bool:
        return False

    async def run() -> list[str]:
        hub = events.Hub({}, every=0.01)
        return [frame async for frame in hub.listen(over)]

    assert asyncio.run(run())[-1] == "event: over\ndata: {}\n\n"


# -- jobs ----------------------------------------------------------------------------------------------------


def finished(queue: jobs.Jobs, number: int) -> jobs.Job:
    return next(one for one in queue.all() if one.id == number)


def test_jobs_run_one_at_a_time_and_tell_how_it_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\nshift 2\nif [ "$1" = good ]; then exit 0; fi\necho "the reason" >&2\nexit 1\n'
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(jobs.sys, "executable", str(python))

    async def run() -> jobs.Jobs:
        queue = jobs.Jobs(tmp_path)
        await queue.start()
        first = queue.ask("sheet", "a/B", ["good"], "ada")
        assert queue.ask("sheet", "a/B", ["good"], "vic") == first  # asked twice, done once
        queue.ask("sheet", "a/C", ["bad"], "ada")
        deadline = time.monotonic() + 30
        while any(one.state in ("waiting", "running") for one in queue.all()):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await queue.stop()
        return queue

    queue = asyncio.run(run())
    assert finished(queue, 1).state == "done"
    assert (finished(queue, 2).state, finished(queue, 2).message) == ("failed", "the reason")


def test_a_job_that_cannot_start_holds_no_other_up(tmp_path: Path) -> None:
    async def run() -> jobs.Jobs:
        queue = jobs.Jobs(tmp_path / "gone")
        await queue.start()
        for target in "ab":
            queue.ask("sheet", target, [], "ada")
        deadline = time.monotonic() + 30
        while any(one.state != "failed" for one in queue.all()):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await queue.stop()
        return queue

    assert "could not start" in finished(asyncio.run(run()), 2).message


def test_a_full_queue_says_so(tmp_path: Path) -> None:
    queue = jobs.Jobs(tmp_path)
    for k in range(jobs.MOST_WAITING):
        queue.ask("sheet", str(k), [], "ada")
    with pytest.raises(NotNow, match="waiting"):
        queue.ask("sheet", "one more", [], "ada")


def test_a_tear_sheet_is_asked_for_with_the_right_command(
    operator: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    original = services.jobs.ask

    def ask(kind: str, target: str, arguments: list[str], who: str) -> jobs.Job:
        asked.append(arguments)
        return original(kind, target, ["--version"], who)

    monkeypatch.setattr(services.jobs, "ask", ask)
    assert operator.post("/api/jobs/sheet/alpha158/KMID").json()["target"] == "alpha158/KMID"
    assert operator.post("/api/jobs/sheet/own/evil").status_code == 200
    assert asked[0][:3] == ["factor", "report", "alpha158:KMID"] and asked[1][2] == "evil=$close/$open"
    assert asked[0][-1].endswith("alpha158__KMID.html")
    assert operator.post("/api/jobs/sheet/alpha158/NOTHING").status_code == 404
    assert operator.post("/api/jobs/risk/small").status_code == 200
    assert services.audit.newest()[0].action == "job risk"


def test_unknown_bots_are_missing() -> None:
    _, bots = made()
    with pytest.raises(Missing):
        asyncio.run(bots.get("other"))
    assert json.dumps(bots.names) == '["main"]'
