"""The monitor and a real freqtrade with its real API: measures, a halt, positions that are reduced."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from bascule.bridge.exchange import ReplayExchange, exchange_config
from bascule.bridge.freqtrade import config, emergency, run
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.monitor.loop import Monitor
from bascule.monitor.read import Reader
from bascule.monitor.settings import MonitorSettings
from tests.bridge.research import build
from tests.e2e.test_freqtrade_live import wait_for
from tests.e2e.test_supervised_bot import PASSWORD, USER, free_port, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
RULES = {
    "rules": [
        {
            "name": "too-many", "metric": "bot.open_trades", "above": 0.5, "level": "critical",
            "actions": ["alert", {"do": "reduce", "share": 0.5}],
        }
    ]
}  # fmt: skip


def test_a_real_bot_is_measured_halted_and_reduced(tmp_path: Path) -> None:
    today = np.datetime64(pd.Timestamp.now("UTC").floor("D").tz_localize(None), "ns")
    rules = {"entry_rank": 0.55, "exit_rank": 0.1, "risk_limit": 1.0, "critical_risk": 1.0}
    rules |= {"portfolio_limit": 1.0, "critical_portfolio": 1.0}
    research = build(tmp_path, "spot", start=today - np.timedelta64(99, "D"), days=101, rules=rules)
    database, log, port = tmp_path / "trades.sqlite", tmp_path / "bot.log", free_port()

    def amounts() -> list[float]:
        if not database.exists():
            return []
        with sqlite3.connect(database) as connection:
            try:
                found = connection.execute(
                    "select amount from trades where is_open = 1 and amount > 0 order by id"
                )
                return [float(row[0]) for row in found]
            except sqlite3.OperationalError:  # the bot has not made its tables yet
                return []

    with ReplayExchange(research.raw) as exchange:
        trading = TradeSettings.read({"trading": {"gates": {"spread": 0.05, "depth": None}}})
        values: dict[str, Any] = config.build(
            research.bundle, trading, exchange=exchange_config(exchange.url)
        )
        values["bascule"]["bundle"] = str(tmp_path / "bundles")
        values["db_url"] = f"sqlite:///{database}"
        values["internals"] = {"process_throttle_secs": 1}
        values["api_server"] = {
            "enabled": True, "listen_ip_address": "127.0.0.1", "listen_port": port, "username": USER,
            "password": PASSWORD, "jwt_secret_key": "x" * 40, "ws_token": "y" * 40, "verbosity": "error",
        }  # fmt: skip
        space = run.workspace(tmp_path / "user", values)
        (tmp_path / "password").write_text(PASSWORD)
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES))
        bot = {
            "name": "main", "url": f"http://127.0.0.1:{port}", "username": USER,
            "password": {"file": str(tmp_path / "password")}, "userdir": str(space.folder),
        }  # fmt: skip
        settings = MonitorSettings.read(
            {"home": str(tmp_path), "state": "m.sqlite", "rules": "rules.yaml", "bots": [bot],
             "research": {"store": "store", "bundles": "bundles", "recent_days": 7, "reference_days": 20,
                          "tail": {"window": 50}}}
        )  # fmt: skip
        reader = Reader(tmp_path / "m.sqlite")
        with running(space, log) as process:
            wait_for(lambda: len(amounts()) >= 1, 120, process, log)
            before = amounts()
            monitor = Monitor(settings)
            now = datetime.now(UTC)
            monitor.cycle(now, patience=60.0)
            wait_for(lambda: sum(amounts()) < 0.75 * sum(before), 60, process, log)
            monitor.cycle(now + timedelta(hours=1), patience=30.0)  # nothing is sold a second time
            wait_for(lambda: emergency.obeyed(space.folder, 1) is not None, 60, process, log)
            monitor.close()
            after = amounts()
    (seen,) = reader.bots()
    assert seen.values["bot.up"] == seen.values["bot.running"] == 1.0
    assert seen.values["bot.open_trades"] >= 1 and seen.values["bot.equity"] > 0
    assert 0 <= seen.values["bot.loop_age_seconds"] < 3_700
    assert seen.values["fills.filled"] == pytest.approx(1.0) and abs(seen.values["fills.slippage_bps"]) < 500
    series = {one.name: one.values[-1] for one in reader.series()}
    assert 0 < float(series["book.gross main"] or 0) <= 1.01
    assert emergency.in_force(space.folder).state is emergency.State.HALT
    assert [round(now / then, 2) for now, then in zip(after, before, strict=True)] == [0.5] * len(before)
    (deed,) = reader.deeds()
    assert deed.action == "reduce" and "positions reduced" in deed.outcome
    assert PASSWORD not in log.read_text() + str(reader.alerts())
