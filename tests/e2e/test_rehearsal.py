"""Bots of prepared folders against the replay exchange: three days of candles, with everything going wrong.

Dry runs and live mode, spot and futures. freqtrade's own main loop runs in the exchange's stepped time
(`bridge.freqtrade.stepped`), is killed in the middle and started again. At the end the bot's database and the
exchange's books must say the same, to the last unit.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.exchange import AccountSettings, FaultPlan, Keys, ReplayExchange, SteppedClock
from bascule.bridge.exchange.ledger import FREE, LOCKED
from bascule.bridge.exchange.market import MarketKind
from bascule.bridge.exchange.orders import OPEN_STATES
from bascule.bridge.freqtrade import credentials, livecheck, prepare
from bascule.bridge.freqtrade.prepare import PrepareSettings
from bascule.bridge.freqtrade.secrets import scan, secrets_of
from bascule.core import Instrument
from tests.bridge.research import Research

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
BEGIN = np.datetime64("2023-03-02T00:00:02", "s")
HOURS = 72
END = HOURS + 0.2  # not in the middle of a candle's orders
KILLED = 30.7  # hours after the beginning: between two candles, when nothing is ordered
# fake: they open the replay only; times of requests are checked
KEYS = Keys(key="rehearsalKeyOfThisTest", secret="rehearsalSecretOfThisTest", check_time=True)
SECRETS = {
    credentials.KEY: KEYS.key,
    credentials.SECRET: KEYS.secret,
    credentials.PASSWORD: "passwordOfThisTest",
    credentials.JWT: "jwtSecretOfThisTestJwtSecretOfThisTest",
}
PLAN = FaultPlan.read(
    {
        "seed": 7,
        "faults": [
            {"kind": "outage", "start": "2023-03-02T09:59", "end": "2023-03-02T10:05"},
            {"kind": "latency", "seconds": 0.02, "probability": 0.02},
            {"kind": "status", "status": 429, "retry_after": 1, "probability": 0.01},
            {"kind": "status", "status": 503, "probability": 0.02},
            {
                "kind": "lost_reply",
                "probability": 0.15,
                "methods": ["POST", "DELETE"],
                "paths": ["*/order", "*/algoOrder"],
            },
            {"kind": "reject", "probability": 0.05, "methods": ["POST"], "paths": ["*/order"]},
            {"kind": "stale_candles", "probability": 0.03},
            {"kind": "duplicate_candles", "probability": 0.03},
            {
                "kind": "clock_skew",
                "seconds": 0.5,
                "start": "2023-03-02T06:00",
                "end": "2023-03-02T08:00",
            },
        ],
    }
)


@dataclass
class Bot:
    """A prepared folder and the exchange that it trades on."""

    folder: Path
    exchange: ReplayExchange

    @property
    def database(self) -> Path:
        (found,) = self.folder.glob("trades-*.sqlite")
        return found

    @property
    def log(self) -> str:
        return (self.folder / "bot.log").read_text("utf-8", errors="replace")

    def start(self, until: np.datetime64, *module: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **SECRETS}
        # freqtrade leaves its logging alone where pytest runs
        for name in ("PYTHONDONTWRITEBYTECODE", "PYTEST_VERSION", "PYTEST_CURRENT_TEST"):
            environment.pop(name, None)
        line = [sys.executable, "-m", *(module or ("bascule.bridge.freqtrade.stepped",)), self.exchange.url]
        line += ["--until", str(until), "trade", "--config", str(self.folder / "config.json")]
        line += ["--userdir", str(self.folder), "--strategy", "BasculeStrategy"]
        with (self.folder / "bot.log").open("ab") as stream:
            return subprocess.Popen(line, env=environment, stdout=stream, stderr=subprocess.STDOUT)

    def run(self, hours: float, *module: str) -> None:
        """Until so many hours after the beginning; a bot that stops by itself, or crashes, fails the test."""
        until = BEGIN + np.timedelta64(int(hours * 3_600), "s")
        code = self.start(until, *module).wait(1_800)
        assert code in (0, 130) and "SIGINT received" in self.log[-2_000:], self.log[-3_000:]

    def run_and_kill(self, hours: float) -> None:
        """Kill -9 once the exchange's time has come."""
        process = self.start(BEGIN + np.timedelta64(HOURS, "h"))
        due = (BEGIN + np.timedelta64(int(hours * 3_600), "s")).astype("datetime64[ms]").astype(np.int64)
        try:
            while process.poll() is None and self.admin("clock")["time"] < due:
                time.sleep(0.02)
        finally:
            process.kill()
        assert process.wait(10) == -signal.SIGKILL, self.log[-3_000:]

    def admin(self, what: str) -> Any:
        with urlopen(f"{self.exchange.url}/admin/{what}", timeout=30) as answer:
            return json.load(answer)


def bot(research: Research, folder: Path, exchange: ReplayExchange, *, dry: bool, **more: Any) -> Bot:
    settings = {"mode": "rehearse", "replay_url": exchange.url, "dry_rehearsal": dry, **more}
    prepare.prepare(research.bundle.path.parent, folder, PrepareSettings.read(settings))
    path = folder / "config.json"
    values = json.loads(path.read_text("utf-8"))
    # two looks an hour and no REST server: what is tested is what is traded
    values["internals"]["process_throttle_secs"] = 1_800
    values["api_server"]["enabled"] = False
    path.write_text(json.dumps(values), "utf-8")
    return Bot(folder, exchange)


def exchange_of(
    research: Research, kind: MarketKind, folder: Path, faults: FaultPlan | None = PLAN
) -> ReplayExchange:
    return ReplayExchange(
        research.raw,
        market=kind,
        clock=SteppedClock(BEGIN),
        path="walk",
        account=AccountSettings(balances={"USDT": Decimal(10_000)}),
        keys=KEYS,
        faults=faults,
        state=folder / "exchange.sqlite",
    )


def no_crash(found: Bot) -> None:
    log = found.log
    # what freqtrade logs with a traceback and goes on from is no crash
    for word in ("CRITICAL", "Fatal exception", "OperationalException", "Could not cancel stoploss"):
        assert word not in log, word
    assert "Changing state from RUNNING to: STOPPED" not in log


def no_secret(found: Bot) -> None:
    assert set(secrets_of(SECRETS)) == set(SECRETS)
    files = [path for path in found.folder.rglob("*") if path.is_file()]
    assert any(path.name == "freqtrade.log" for path in files)
    assert scan(files, SECRETS) == ()


def known_and_placed_once(found: Bot) -> None:
    """Every order of the exchange is in the bot's database, once, and there are no others."""
    everything = list(found.admin("orders"))
    # the order that a triggered futures stop became is known by the stop's own number, and bears its name
    children = {str(order["actual"]) for order in everything if order.get("actual")}
    theirs = [order for order in everything if str(order["id"]) not in children]
    assert len({order["client_id"] for order in theirs}) == len(theirs)
    ours = Counter(livecheck.read_orders(found.database)["order_id"].astype(str))
    assert max(ours.values()) == 1
    assert {str(order["id"]) for order in theirs} == set(ours)
    # and both agree on which of them are open
    still = {str(order["id"]) for order in theirs if order["status"] in OPEN_STATES}
    table = livecheck.read_orders(found.database)
    assert still == set(table.loc[table["open"], "order_id"].astype(str))


def holdings(found: Bot) -> dict[str, Decimal]:
    """What open trades hold, signed, by exchange symbol."""
    trades = livecheck.read_trades(found.database)
    held: dict[str, Decimal] = {}
    for trade in trades[trades["is_open"]].to_dict("records"):
        symbol = Instrument.parse(str(trade["pair"])).symbol
        amount = Decimal(repr(float(trade["amount"])))
        held[symbol] = held.get(symbol, Decimal(0)) + (-amount if trade["is_short"] else amount)
    return held


def live_run(research: Research, kind: MarketKind, folder: Path) -> Bot:
    """Three days with a kill; returns the bot with the exchange still running."""
    exchange = exchange_of(research, kind, folder).__enter__()
    found = bot(research, folder / "bot", exchange, dry=False)
    found.run_and_kill(KILLED)
    before = livecheck.read_trades(found.database)
    held = before[before["is_open"]]
    assert len(held) > 0
    found.run(END)
    after = livecheck.read_trades(found.database)
    kept = after.set_index("id").loc[held["id"]]
    assert kept["pair"].tolist() == held["pair"].tolist()
    assert (kept["open_date"].to_numpy() == held["open_date"].to_numpy()).all()
    # what was open at the kill was not bought again while it was open
    for pair, group in after.groupby("pair"):
        spans = group.sort_values("open_date")
        ends = spans["close_date"].fillna(pd.Timestamp.max.tz_localize("UTC")).to_numpy()[:-1]
        assert (spans["open_date"].to_numpy()[1:] >= ends).all(), pair
    return found


def check_faults(found: Bot) -> None:
    struck = {one["kind"]: one["struck"] for one in found.admin("faults") if one["struck"]}
    assert {"outage", "status", "lost_reply", "reject", "stale_candles", "duplicate_candles"} <= set(struck)


def test_live_mode_on_spot_survives_everything(spot: Research, tmp_path: Path) -> None:
    found = live_run(spot, "spot", tmp_path)
    with found.exchange:
        check_faults(found)
        no_crash(found)
        no_secret(found)
        known_and_placed_once(found)
        assert found.exchange.differences() == []
        # what the fills say is what the account has, to the last unit
        fills = found.exchange.account.trades
        balance: dict[str, Decimal] = {"USDT": Decimal(10_000)}
        for fill in fills:
            base = Instrument.parse(fill.symbol).base
            side = 1 if fill.side == "BUY" else -1
            balance[base] = balance.get(base, Decimal(0)) + side * fill.quantity
            balance["USDT"] -= side * fill.turnover
            balance[fill.fee_asset] = balance.get(fill.fee_asset, Decimal(0)) - fill.fee
        books: dict[str, Decimal] = {}
        for row in found.admin("reconcile")["balances"]:
            if row["account"] in (FREE, LOCKED):
                books[row["asset"]] = books.get(row["asset"], Decimal(0)) + Decimal(row["amount"])
        assert {asset: amount for asset, amount in balance.items() if amount} == {
            asset: amount for asset, amount in books.items() if amount
        }
        # and what the bot believes to hold is there, but for dust below a lot
        held = holdings(found)
        for symbol, amount in held.items():
            base = Instrument.parse(symbol).base
            lot = Decimal(1).scaleb(-found.exchange.market.listings[symbol].quantity_decimals)
            assert 0 <= balance[base] - amount < 20 * lot, symbol
        assert len(livecheck.read_trades(found.database)) >= 20


def test_live_mode_on_futures_survives_everything(futures: Research, tmp_path: Path) -> None:
    found = live_run(futures, "futures", tmp_path)
    with found.exchange:
        check_faults(found)
        no_crash(found)
        no_secret(found)
        known_and_placed_once(found)
        assert found.exchange.differences() == []
        positions = {row["symbol"]: Decimal(row["amount"]) for row in found.admin("reconcile")["positions"]}
        assert positions == {symbol: amount for symbol, amount in holdings(found).items() if amount}
        trades = livecheck.read_trades(found.database)
        assert set(trades["is_short"]) == {False, True} and len(trades) >= 20


@pytest.mark.parametrize("kind", ["spot", "futures"])
def test_dry_runs_survive_everything(
    spot: Research, futures: Research, tmp_path: Path, kind: MarketKind
) -> None:
    research = spot if kind == "spot" else futures
    with exchange_of(research, kind, tmp_path) as exchange:
        found = bot(research, tmp_path / "bot", exchange, dry=True)
        found.run_and_kill(KILLED)
        before = livecheck.read_trades(found.database)
        found.run(END)
        no_crash(found)
        no_secret(found)
        after = livecheck.read_trades(found.database)
        kept = after.set_index("id").loc[before["id"]]
        assert kept["pair"].tolist() == before["pair"].tolist() and len(after) > len(before) > 0
        orders = livecheck.read_orders(found.database)
        assert orders["order_id"].is_unique
        # nothing left the bot: the exchange's account was never touched
        assert found.admin("orders") == [] and exchange.differences() == []
        # the bot's own wallet is its profit, and each pair is held once at most
        held = after[after["is_open"]]
        assert held["pair"].is_unique
