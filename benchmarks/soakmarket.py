"""What a soak (`soak.py`) runs on: candles that never end, a fault plan, research, the bot's folder."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np

START = np.datetime64("2023-01-01T00:00", "ns")
RESEARCH_DAYS = 100
HOUR = np.timedelta64(1, "h")
TRIVIAL = '''\
"""Momentum of each pair by itself: what freqtrade does without us."""

from freqtrade.strategy import IStrategy


class BasculeStrategy(IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "1h"
    minimal_roi = {"0": 100.0}
    stoploss = -0.2
    startup_candle_count = 200
    process_only_new_candles = True

    def populate_indicators(self, dataframe, metadata):
        return dataframe.assign(rise=dataframe["close"].pct_change(12))

    def populate_entry_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["rise"] > 0.02, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["rise"] < 0, "exit_long"] = 1
        return dataframe
'''


def candles(rows: int, seed: int) -> Any:
    """Hourly prices that stay around their levels however many there are, with trends of some days in them."""
    from scipy.signal import lfilter
    from tests.bridge.panels import LEVELS, SPOT

    from bascule.core import Panel, Timeframe

    rng = np.random.default_rng(seed)
    shape = (rows, len(SPOT))
    levels = np.array([LEVELS[name] for name in SPOT])
    trend = lfilter([0.0002], [1.0, -0.98], rng.normal(size=shape), axis=0)
    walk = lfilter([1.0], [1.0, -0.999], trend + rng.normal(0, 0.008, shape), axis=0)
    close = levels * np.exp(walk)
    opens = np.vstack([levels[None, :], close[:-1]])
    high = np.maximum(opens, close) * (1 + rng.uniform(0, 0.004, shape))
    low = np.minimum(opens, close) * (1 - rng.uniform(0, 0.004, shape))
    raw = {"open": opens, "high": high, "low": low, "close": close}
    raw["volume"] = rng.lognormal(0, 0.5, shape) * 1e6 / levels
    fields = {name: values.astype(np.float32) for name, values in raw.items()}
    fields["high"] = np.maximum.reduce([fields[f] for f in ("open", "high", "close")])
    fields["low"] = np.minimum.reduce([fields[f] for f in ("open", "low", "close")])
    axis = Timeframe(3_600).axis(START, START + (rows - 1) * HOUR)
    return Panel(Timeframe(3_600), axis, SPOT, fields, np.full(len(SPOT), START))


def plan(begin: np.datetime64, end: np.datetime64, seed: int) -> dict[str, Any]:
    """What goes wrong all the time, and an outage of six minutes around a candle's close once a week."""
    faults: list[dict[str, Any]] = [
        {"kind": "latency", "seconds": 0.02, "probability": 0.02},
        {"kind": "status", "status": 429, "retry_after": 1, "probability": 0.01},
        {"kind": "status", "status": 503, "probability": 0.01},
        {
            "kind": "lost_reply",
            "probability": 0.1,
            "methods": ["POST", "DELETE"],
            "paths": ["*/order"],
        },
        {"kind": "reject", "probability": 0.05, "methods": ["POST"], "paths": ["*/order"]},
        {"kind": "stale_candles", "probability": 0.02},
        {"kind": "duplicate_candles", "probability": 0.02},
    ]
    week = begin.astype("datetime64[h]") + np.timedelta64(58, "h")
    while week < end:
        first = (week - np.timedelta64(60, "s")).astype("datetime64[s]")
        faults.append({"kind": "outage", "start": str(first), "end": str(first + np.timedelta64(360, "s"))})
        week = week + np.timedelta64(7 * 24, "h")
    return {"seed": seed, "faults": faults}


def lay_out(folder: Path, rows: int, seed: int) -> tuple[Path, Path]:
    """Research on the first days and a store with everything; the store's and the bundles' folders."""
    from tests.bridge import research

    from bascule.data.store import Store

    whole = candles(24 * RESEARCH_DAYS + rows, seed)
    made = research.build(
        folder / "research", "spot", days=RESEARCH_DAYS, candles=whole.rows(0, 24 * RESEARCH_DAYS)
    )
    store = Store.create(folder / "market")
    store.write(research.long(whole), whole.timeframe)
    store.build_provider(whole.timeframe)
    return store.path, made.bundle.path.parent


def prepare_bot(bundles: Path, folder: Path, url: str, strategy: str) -> int:
    """The bot's folder; returns the port of its REST server."""
    from bascule.bridge.freqtrade import prepare

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    settings = prepare.PrepareSettings.read({"mode": "rehearse", "replay_url": url, "api_port": port})
    prepare.prepare(bundles, folder, settings, source=TRIVIAL if strategy == "trivial" else None)
    path = folder / "config.json"
    values = json.loads(path.read_text("utf-8"))
    values["internals"]["process_throttle_secs"] = 1_800
    if strategy == "trivial":
        values["stake_amount"], values["max_open_trades"] = 1_000, 3
    path.write_text(json.dumps(values), "utf-8")
    return port
