"""A real bot, running: it takes up a new bundle, and obeys commands over REST, over kill -9 too."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.exchange import ReplayExchange, exchange_config
from bascule.bridge.freqtrade import config, emergency, run
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.emergency import State
from tests.bridge.research import build
from tests.bridge.strategies.test_live import rewrite
from tests.e2e.test_freqtrade_live import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
USER, PASSWORD = "somebody", "not-for-the-log"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(space: run.Workspace, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as stream:
        command = [sys.executable, "-m", "freqtrade", "trade", "--config", str(space.config)]
        command += ["--userdir", str(space.folder), "--strategy", space.strategy]
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.kill()
            process.wait(30)


def test_a_running_bot_obeys_and_takes_up_a_new_champion(tmp_path: Path) -> None:
    today = np.datetime64(pd.Timestamp.now("UTC").floor("D").tz_localize(None), "ns")
    rules = {"entry_rank": 0.55, "exit_rank": 0.1, "risk_limit": 1.0, "critical_risk": 1.0}
    rules |= {"portfolio_limit": 1.0, "critical_portfolio": 1.0}
    research = build(tmp_path, "spot", start=today - np.timedelta64(99, "D"), days=101, rules=rules)
    database, log, port = tmp_path / "trades.sqlite", tmp_path / "bot.log", free_port()

    def trades(condition: str) -> int:
        if not database.exists():
            return 0
        with sqlite3.connect(database) as connection:
            try:
                return int(connection.execute(f"select count(*) from trades where {condition}").fetchone()[0])
            except sqlite3.OperationalError:  # the bot has not made its tables yet
                return 0

    def send(state: str, reason: str) -> None:
        url = f"http://127.0.0.1:{port}"
        emergency.send(url, state, reason=reason, user=USER, password=PASSWORD, now=datetime.now(UTC))

    with ReplayExchange(research.raw) as exchange:
        trading = TradeSettings.read(
            {"trading": {"reload_seconds": 1, "gates": {"spread": 0.05, "depth": None}}}
        )
        values: dict[str, Any] = config.build(
            research.bundle, trading, exchange=exchange_config(exchange.url), follow=tmp_path / "bundles"
        )
        values["db_url"] = f"sqlite:///{database}"
        values["internals"] = {"process_throttle_secs": 1}
        values["api_server"] = {
            "enabled": True, "listen_ip_address": "127.0.0.1", "listen_port": port, "username": USER,
            "password": PASSWORD, "jwt_secret_key": "x" * 40, "ws_token": "y" * 40, "verbosity": "error",
        }  # fmt: skip
        space = run.workspace(tmp_path / "user", values)
        journal = lambda: emergency.journal(space.folder)  # noqa: E731
        with running(space, log) as bot:
            wait_for(lambda: trades("is_open = 1") >= 1, 120, bot, log)
            new = rewrite(research, tmp_path / "bundles", exit_rank=0.11)
            wait_for(lambda: f"bundle {new.id}" in log.read_text(), 60, bot, log)
            send("halt", "looks odd")
            wait_for(lambda: bool(journal()) and emergency.obeyed(space.folder, 1) is not None, 60, bot, log)
        # killed: what was ordered holds in the next life
        with running(space, log) as bot:
            wait_for(lambda: log.read_text().count("halt: looks odd") == 2, 120, bot, log)
            send("flatten", "out of here")
            wait_for(lambda: trades("is_open = 1") == 0, 90, bot, log)
            assert trades("exit_reason = 'emergency_flatten'") >= 1
    assert [(one.state, one.by) for one in journal()] == [(State.HALT, "rest"), (State.FLATTEN, "rest")]
    written = log.read_text() + "".join(p.read_text() for p in (space.folder / "emergency").iterdir())
    assert PASSWORD not in written and "x" * 40 not in written and "y" * 40 not in written
    assert "nothing is traded" not in written and "Strategy caused" not in written
