"""The dashboard and a real freqtrade with its real API: state, trades, a pause, the emergency brake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from bascule.app.web import bots as bots_module
from bascule.app.web import brake as brake_module
from bascule.app.web.server import application
from bascule.app.web.services import Services
from bascule.app.web.settings import BotSettings, WebSettings
from tests.e2e.realbot import PASSWORD, USER, real_bot
from tests.e2e.test_freqtrade_live import wait_for
from tests.web import office
from tests.web.conftest import log_in

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_a_real_bot_is_shown_paused_and_halted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bots_module, "KEEP", 0.0)
    monkeypatch.setattr(brake_module, "KEEP", 0.0)
    monkeypatch.setattr(bots_module, "TIMEOUT", 30.0)
    with real_bot(tmp_path) as mine:
        log = mine.log
        bot = BotSettings(
            name="main",
            url=mine.url,
            username=USER,
            password_env="BOT",
            folder=mine.space.folder,
        )
        settings = WebSettings(home=tmp_path, state=Path("web.sqlite"), bots=(bot,), names=("testserver",))
        found = Services(settings, hasher=office.CHEAP, environment={"BOT": PASSWORD})
        found.accounts.add("ada", office.PASSWORD, "operator", found.clock())
        with (
            mine.running() as process,
            TestClient(application(found), follow_redirects=False) as client,
        ):
            log_in(client, "ada")

            def told() -> dict[str, Any]:
                state: dict[str, Any] = client.get("/api/bots/main").json()
                return state

            assert told()["state"] in ("unreachable", "running")  # starting
            wait_for(lambda: told()["open_trades"] >= 1, 150, process, log)
            seen = told()
            assert seen["state"] == "running" and seen["dry_run"] and seen["exchange"] == "binance"
            assert seen["total"] > 0 and seen["strategy"] and len(seen["logs"]) > 3
            page = client.get("/bots/main").text
            assert seen["trades"][0]["pair"] in page and PASSWORD not in page
            assert client.post("/api/bots/main/pause").status_code == 200
            wait_for(lambda: told()["state"] == "paused", 60, process, log)
            assert client.post("/api/bots/main/start").status_code == 200
            order = {"mode": "halt", "confirm": "halt", "reason": "a rehearsal"}
            assert client.post("/api/emergency", json=order).json() == [{"bot": "main", "problem": ""}]
            wait_for(lambda: client.get("/api/emergency").json()[0]["obeyed"] != "", 60, process, log)
            assert "a rehearsal" in client.get("/bots").text  # the banner stands on every page
    assert PASSWORD not in str(found.audit.newest())
