"""The live path: candles as a bot sees them lead to the stored signals; a dry run trades them."""

from __future__ import annotations

import signal as signals
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.exchange import ReplayExchange, exchange_config
from bascule.bridge.freqtrade import config, run
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.core import Instrument
from tests.bridge.research import Research, build
from tests.bridge.test_feed import candles

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
COMPARED = ("alpha", "alpha_rank", "expected_return", "risk_score", "target_weight", "stop_distance")


class WindowProvider:
    """What a live bot's data provider shows at a moment: the newest closed candles of each pair."""

    def __init__(self, frames: dict[str, pd.DataFrame], length: int) -> None:
        self.frames = frames
        self.length = length
        self.now = pd.Timestamp(0, tz="UTC")

    def market(self, pair: str) -> dict[str, str] | None:
        return {"symbol": pair} if pair in self.frames else None

    def ohlcv(self, pair: str, timeframe: str, copy: bool = True) -> pd.DataFrame:
        frame = self.frames[pair]
        return frame[frame["date"] < self.now].tail(self.length).reset_index(drop=True)

    def get_pair_dataframe(self, pair: str, timeframe: str) -> pd.DataFrame:
        return self.ohlcv(pair, timeframe)


def test_replayed_candles_give_the_stored_signals_back(spot: Research) -> None:
    from freqtrade.enums import RunMode

    from bascule.bridge.freqtrade import FactorStrategy

    values = config.build(spot.bundle, TradeSettings(), exchange={"name": "binance"})
    strategy = FactorStrategy({**values, "runmode": RunMode.DRY_RUN})
    assert strategy.startup_candle_count == spot.bundle.lookback + 1 and not strategy.can_short
    frames = {Instrument.parse(name).pair: candles(spot, name) for name in spot.raw.instruments}
    provider = WindowProvider(frames, strategy.startup_candle_count + 50)
    strategy.dp = provider
    stored = spot.bundle.signals
    compared = 0
    for hour in (1, 7, 300, 481, 777, 1_439):
        closed = pd.Timestamp(stored.time[hour], tz="UTC")
        provider.now = closed + pd.Timedelta(hours=1)
        computed = []
        for column, name in enumerate(stored.instruments):
            pair = Instrument.parse(name).pair
            frame = strategy.populate_indicators(provider.ohlcv(pair, "1h"), {"pair": pair})
            computed.append(strategy._signals())
            last = frame.iloc[-1]
            assert last["date"] == closed and last["covered"] == 1
            assert last["portfolio_risk"] == pytest.approx(stored.portfolio_risk[hour], abs=1e-6)
            if np.isfinite(stored.stop_distance[hour, column]):
                for field in COMPARED:
                    expected = getattr(stored, field)[hour, column]
                    assert last[field] == pytest.approx(expected, abs=1e-6, nan_ok=True), (
                        f"{field} {pair} {closed}"
                    )
                compared += 1
        # one computation for all pairs
        assert all(one is computed[0] for one in computed)
    assert compared > 30


def wait_for(test: Any, seconds: float, process: subprocess.Popen[bytes], log: Path) -> None:
    """Poll until the test holds; fail with the log if the process ends or time runs out."""
    end = time.monotonic() + seconds
    while not test():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail("no trade came:\n" + log.read_text()[-6_000:])
        time.sleep(0.5)


@pytest.mark.slow
def test_a_dry_run_enters_what_the_signals_say(tmp_path: Path) -> None:
    """A real bot, on the wall clock, against an exchange whose candles reach up to now."""
    today = np.datetime64(pd.Timestamp.now("UTC").floor("D").tz_localize(None), "ns")
    rules = {"entry_rank": 0.75, "exit_rank": 0.1, "risk_limit": 1.0, "critical_risk": 1.0}
    rules |= {"portfolio_limit": 1.0, "critical_portfolio": 1.0}
    research = build(tmp_path, "spot", start=today - np.timedelta64(99, "D"), days=101, rules=rules)
    database = tmp_path / "trades.sqlite"
    log = tmp_path / "bot.log"

    def trades() -> list[tuple[str, str, float]]:
        if not database.exists():
            return []
        with sqlite3.connect(database) as connection:
            try:
                return connection.execute("select pair, open_date, stake_amount from trades").fetchall()
            except sqlite3.OperationalError:  # the bot has not made its tables yet
                return []

    with ReplayExchange(research.raw) as exchange:
        values = config.build(research.bundle, TradeSettings(), exchange=exchange_config(exchange.url))
        space = run.workspace(tmp_path / "user", {**values, "db_url": f"sqlite:///{database}"})
        with log.open("wb") as stream:
            command = [sys.executable, "-m", "freqtrade", "trade", "--config", str(space.config)]
            command += ["--userdir", str(space.folder), "--strategy", space.strategy]
            process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
            try:
                # how many pairs stand above the threshold is a matter of the hour; the best one always does
                wait_for(lambda: len(trades()) >= 1, 120, process, log)
            finally:
                process.send_signal(signals.SIGINT)
                process.wait(30)
    stored = research.bundle.signals
    for pair, opened, stake in trades():
        row = int(np.searchsorted(stored.time, pd.Timestamp(opened).floor("h").to_datetime64())) - 1
        column = stored.instruments.index(Instrument.parse(pair).id)
        assert stored.alpha_rank[row, column] >= 0.75
        assert stake == pytest.approx(stored.target_weight[row, column] * 10_000 * 0.99, rel=5e-3)
