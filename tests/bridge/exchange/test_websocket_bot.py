"""freqtrade with ``enable_ws: true``: its candles come over the exchange's websocket."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bascule.bridge.exchange import FaultPlan, ReplayExchange, exchange_config
from bascule.core import Panel, Timeframe

pytest.importorskip("freqtrade")
pytestmark = pytest.mark.slow
STRATEGY = '''
from freqtrade.strategy import IStrategy


class Still(IStrategy):
    """Looks on."""

    INTERFACE_VERSION = 3
    timeframe = "1m"
    stoploss = -0.5
    minimal_roi = {"0": 10}
    startup_candle_count = 5

    def populate_indicators(self, dataframe, metadata):
        print("LAST", metadata["pair"], int(dataframe["date"].iloc[-1].timestamp()), flush=True)
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        return dataframe
'''


def minutes() -> Panel:
    """Two pairs of minutes, from three hours ago to one hour from now."""
    first = np.datetime64(int(time.time()) // 60 * 60 - 3 * 3_600, "s").astype("datetime64[ns]")
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, (240, 2)), axis=0))
    opens = np.vstack([[[100.0, 100.0]], close[:-1]])
    raw = {"open": opens, "close": close, "high": np.maximum(opens, close), "low": np.minimum(opens, close)}
    raw["volume"] = np.full((240, 2), 1e4)
    axis = Timeframe(60).axis(first, first + np.timedelta64(239, "m"))
    fields = {name: values.astype(np.float32) for name, values in raw.items()}
    return Panel(Timeframe(60), axis, ("BTC_USDT", "ETH_USDT"), fields, np.full(2, first))


def wait(test: Any, seconds: float, process: subprocess.Popen[str], log: Path) -> None:
    """Poll until the test holds."""
    end = time.monotonic() + seconds
    while not test():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(log.read_text()[-4_000:])
        time.sleep(0.2)


def test_candles_come_by_websocket(tmp_path: Path) -> None:
    # a harmless fault counts how often candles were asked for over REST
    count = FaultPlan.read({"faults": [{"kind": "latency", "seconds": 0.001, "paths": ["*/klines"]}]})
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "still.py").write_text(STRATEGY)
    log = tmp_path / "bot.log"
    with ReplayExchange(minutes(), path="walk", faults=count) as exchange:
        block = exchange_config(exchange.url, enable_ws=True)
        values = {
            "dry_run": True,
            "strategy": "Still",
            "user_data_dir": str(tmp_path),
            "stake_currency": "USDT",
            "stake_amount": 100,
            "max_open_trades": 1,
            "db_url": "sqlite://",
            "entry_pricing": {"price_side": "same", "use_order_book": True, "order_book_top": 1},
            "exit_pricing": {"price_side": "same", "use_order_book": True, "order_book_top": 1},
            "pairlists": [{"method": "StaticPairList"}],
            "initial_state": "running",
            "internals": {"process_throttle_secs": 1},
            "exchange": block | {"pair_whitelist": ["BTC/USDT", "ETH/USDT"], "pair_blacklist": []},
        }
        config = tmp_path / "config.json"
        config.write_text(json.dumps(values))
        command = [sys.executable, "-m", "freqtrade", "trade", "--config", str(config)]

        def seen() -> set[tuple[str, int]]:
            lines = [line.split() for line in log.read_text().splitlines() if line.startswith("LAST")]
            return {(pair, int(at)) for _, pair, at in lines}

        with log.open("w") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, text=True)
        with process:
            try:
                wait(lambda: {pair for pair, _ in seen()} == {"BTC/USDT", "ETH/USDT"}, 120, process, log)
                asked, first = exchange.service.chaos.counts[0], seen()
                late = max(at for _, at in first)
                wait(lambda: sum(at > late for _, at in seen()) == 2, 120, process, log)
                # the next closed minute came for both pairs, and nobody asked for it
                assert exchange.service.chaos.counts[0] == asked
            finally:
                process.terminate()
    text = log.read_text()
    assert " ERROR " not in text and "Traceback" not in text, text[-4_000:]
