"""A real freqtrade process of ours, in real time, against a replay exchange on this machine."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bascule.bridge.exchange import ReplayExchange, exchange_config
from bascule.bridge.freqtrade import config, run
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.core.ports import free_port
from tests.bridge.research import Research, build

USER, PASSWORD = "somebody", "not-for-the-log"
JWT, TOKEN = "x" * 40, "y" * 40
# enters early and hardly ever leaves, so that there are positions to look at
RULES = {
    "entry_rank": 0.55,
    "exit_rank": 0.1,
    "risk_limit": 1.0,
    "critical_risk": 1.0,
    "portfolio_limit": 1.0,
    "critical_portfolio": 1.0,
}
_GATES = {"spread": 0.05, "depth": None}


@dataclass(frozen=True)
class RealBot:
    """A prepared bot; it runs within `running`.

    Attributes:
        research: whose newest bundle it trades.
        space: its user folder.
        log: what it prints.
        database: its trades.
        url: of its REST server.
    """

    research: Research
    space: run.Workspace
    log: Path
    database: Path
    url: str

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The process; killed at the end."""
        with self.log.open("ab") as stream:
            command = [sys.executable, "-m", "freqtrade", "trade", "--config", str(self.space.config)]
            command += ["--userdir", str(self.space.folder), "--strategy", self.space.strategy]
            # wide enough that no line of its log is broken
            wide = {**os.environ, "COLUMNS": "1000"}
            process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=wide)
            try:
                yield process
            finally:
                process.kill()
                process.wait(30)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query of its database finds; nothing while the bot has not made its tables yet."""
        if not self.database.exists():
            return []
        with sqlite3.connect(self.database) as connection:
            try:
                return connection.execute(query).fetchall()
            except sqlite3.OperationalError:
                return []


def recent(folder: Path) -> Research:
    """The small market up to tomorrow, so that the newest model is for now."""
    today = np.datetime64(pd.Timestamp.now("UTC").floor("D").tz_localize(None), "ns")
    return build(folder, "spot", start=today - np.timedelta64(99, "D"), days=101, rules=RULES)


@contextmanager
def real_bot(folder: Path, **trading: Any) -> Iterator[RealBot]:
    """A dry-run bot, prepared but not started, and its exchange, which runs.

    ``trading``: more of ``bascule.trading``. The bot follows the newest bundle of ``folder / "bundles"``.
    """
    research, port = recent(folder), free_port()
    database = folder / "trades.sqlite"
    settings = TradeSettings.read({"trading": {"gates": _GATES, **trading}})
    with ReplayExchange(research.raw) as exchange:
        values: dict[str, Any] = config.build(
            research.bundle, settings, exchange=exchange_config(exchange.url), follow=folder / "bundles"
        )
        values["db_url"] = f"sqlite:///{database}"
        values["internals"] = {"process_throttle_secs": 1}
        values["api_server"] = {
            "enabled": True,
            "listen_ip_address": "127.0.0.1",
            "listen_port": port,
            "username": USER,
            "password": PASSWORD,
            "jwt_secret_key": JWT,
            "ws_token": TOKEN,
            "verbosity": "error",
        }
        space = run.workspace(folder / "user", values)
        yield RealBot(research, space, folder / "bot.log", database, f"http://127.0.0.1:{port}")
