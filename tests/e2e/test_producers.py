"""Two bots: one computes signals, the other trades them, over freqtrade's own wire."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.exchange import ReplayExchange
from bascule.bridge.freqtrade import credentials, livecheck, prepare
from bascule.bridge.freqtrade.prepare import PrepareSettings
from bascule.bridge.freqtrade.rehearsal import command
from bascule.bridge.freqtrade.secrets import scan
from bascule.core import Instrument
from bascule.core.ports import free_port
from tests.bridge.research import build

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
TOKEN = "tokenOfTheProducer"
COMMON = {
    credentials.PASSWORD: "passwordOfThisTest",
    credentials.JWT: "jwtSecretOfThisTestJwtSecretOfThisTest",
}


def start(folder: Path, secrets: dict[str, str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **COMMON, **secrets}
    # freqtrade leaves its logging alone where pytest runs
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTEST_VERSION", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    with (folder / "bot.log").open("wb") as stream:
        return subprocess.Popen(command(folder), env=environment, stdout=stream, stderr=subprocess.STDOUT)


def traded(folder: Path) -> int:
    for database in folder.glob("trades-*.sqlite"):
        with sqlite3.connect(database) as connection:
            try:
                return int(connection.execute("select count(*) from trades").fetchone()[0])
            except sqlite3.OperationalError:  # the bot has not made its tables yet
                return 0
    return 0


def test_a_consumer_trades_what_its_producer_says(tmp_path: Path) -> None:
    today = np.datetime64(pd.Timestamp.now("UTC").floor("D").tz_localize(None), "ns")
    rules = {"entry_rank": 0.75, "exit_rank": 0.1, "risk_limit": 1.0, "critical_risk": 1.0}
    rules |= {"portfolio_limit": 1.0, "critical_portfolio": 1.0}
    research = build(tmp_path, "spot", start=today - np.timedelta64(99, "D"), days=101, rules=rules)
    port = free_port()
    folders = {role: tmp_path / role for role in ("producer", "consumer")}
    with ReplayExchange(research.raw) as exchange:
        for role, folder in folders.items():
            values = {"mode": "rehearse", "dry_rehearsal": True, "replay_url": exchange.url, "role": role}
            values |= {"api_port": port if role == "producer" else free_port()}
            # without a producer this consumer has no signals of its own
            values |= {"consumer": {"fallback": "wait"}} if role == "consumer" else {}
            prepare.prepare(research.bundle.path.parent, folder, PrepareSettings.read(values))
        sources = [{"name": "main", "host": "127.0.0.1", "port": port, "ws_token": TOKEN}]
        secrets = {
            "producer": {credentials.WS_TOKEN: TOKEN},
            "consumer": {credentials.PRODUCERS: json.dumps(sources)},
        }
        bots = {role: start(folder, secrets[role]) for role, folder in folders.items()}
        try:
            end = time.monotonic() + 300
            while not traded(folders["consumer"]):
                for role, bot in bots.items():
                    assert bot.poll() is None, (folders[role] / "bot.log").read_text()[-3_000:]
                assert time.monotonic() < end, (folders["consumer"] / "bot.log").read_text()[-3_000:]
                time.sleep(1)
        finally:
            for bot in bots.values():
                bot.send_signal(signal.SIGINT)
            for bot in bots.values():
                bot.wait(60)
    log = (folders["consumer"] / "bot.log").read_text()
    assert "all producers are silent; wait" in log and "a producer is back" in log
    stored = research.bundle.signals
    trades = livecheck.read_trades(folders["consumer"] / "trades-rehearse-dry.sqlite")
    for trade in trades.to_dict("records"):
        closed = (trade["open_date"].floor("h") - pd.Timedelta("1h")).tz_localize(None).to_datetime64()
        row = int(np.searchsorted(stored.time, closed))
        column = stored.instruments.index(Instrument.parse(trade["pair"]).id)
        assert stored.alpha_rank[row, column] >= 0.75
    named = COMMON | {credentials.WS_TOKEN: TOKEN}
    for folder in folders.values():
        assert scan([folder], named) == ()
