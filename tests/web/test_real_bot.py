"""The dashboard and a real freqtrade with its real API: state, trades, a pause, the emergency brake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from bascule.app.web import bots as bots_module
from bascule.app.web import brake as brake_module
from bascule.app.web.server import application
from bascule.app.web.services import Services
from bascule.app.web.settings import BotSettings, WebSettings
from bascule.bridge.exchange import ReplayExchange, exchange_config
from bascule.bridge.freqtrade import config, run
from bascule.bridge.freqtrade.config import TradeSettings
from tests.bridge.research import build
from tests.e2e.test_freqtrade_live import wait_for
from tests.e2e.test_supervised_bot import PASSWORD, USER, free_port, running
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
    today = np.datetime64(pd.Timestamp.now("UTC").floor("D").tz_localize(None), "ns")
    rules = {"entry_rank": 0.55, "exit_rank": 0.1, "risk_limit": 1.0, "critical_risk": 1.0}
    rules |= {"portfolio_limit": 1.0, "critical_portfolio": 1.0}
    research = build(tmp_path, "spot", start=today - np.timedelta64(99, "D"), days=101, rules=rules)
    log, port = tmp_path / "bot.log", free_port()
    with ReplayExchange(research.raw) as exchange:
        trading = TradeSettings.read({"trading": {"gates": {"spread": 0.05, "depth": None}}})
        values: dict[str, Any] = config.build(
            research.bundle, trading, exchange=exchange_config(exchange.url)
        )
        values["bascule"]["bundle"] = str(tmp_path / "bundles")
        values["db_url"] = f"sqlite:///{tmp_path / 'trades.sqlite'}"
        values["internals"] = {"process_throttle_secs": 1}
        values["api_server"] = {
            "enabled": True, "listen_ip_address": "127.0.0.1", "listen_port": port, "username": USER,
            "password": PASSWORD, "jwt_secret_key": "x" * 40, "ws_token": "y" * 40, "verbosity": "error",
        }  # fmt: skip
        space = run.workspace(tmp_path / "user", values)
        bot = BotSettings(
            name="main",
            url=f"http://127.0.0.1:{port}",
            username=USER,
            password_env="BOT",
            folder=space.folder,
        )
        settings = WebSettings(home=tmp_path, state=Path("web.sqlite"), bots=(bot,), names=("testserver",))
        found = Services(settings, hasher=office.CHEAP, environment={"BOT": PASSWORD})
        found.accounts.add("ada", office.PASSWORD, "operator", found.clock())
        with (
            running(space, log) as process,
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
