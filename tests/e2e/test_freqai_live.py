"""A FreqAI bot on the stepped replay exchange: it downloads, trains, predicts, trades and retrains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.exchange import ReplayExchange, SteppedClock, exchange_config
from bascule.bridge.freqtrade import livecheck
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.freqai import runs
from tests.bridge.freqai.learning import recipe, schedule
from tests.bridge.research import Research

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
BEGIN = np.datetime64("2023-03-08T08:00:02", "s")
END = np.datetime64("2023-03-09T10:00:00", "s")
RETRAINED = pd.Timestamp("2023-03-09", tz="UTC")  # the next instant of the five days' grid
PACE = 0.7  # FreqAI's thread looks once a second for one pair


def dry_run(research: Research, folder: Path, exchange: ReplayExchange) -> str:
    """Run the bot from `BEGIN` to `END`; returns its log."""
    values = runs.configure(
        recipe(research, rules={"entry_rank": 0.6, "exit_rank": 0.5}),
        schedule(live_retrain_hours=4),
        TradeSettings(wallet=10_000),
        exchange=exchange_config(exchange.url, "spot"),
    )
    # two looks an hour; the database beside the configuration
    values |= {
        "internals": {"process_throttle_secs": 1_800},
        "db_url": f"sqlite:///{folder / 'trades.sqlite'}",
    }
    space = runs.prepare(folder, values)
    environment = dict(os.environ)
    # freqtrade leaves its logging alone where pytest runs
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTEST_VERSION", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    line = [sys.executable, "-m", "bascule.bridge.freqtrade.stepped", exchange.url, "--until", str(END)]
    line += ["--pace", str(PACE), "trade", "--config", str(space.config), "--userdir", str(space.folder)]
    with (folder / "bot.log").open("wb") as stream:
        bot = subprocess.Popen(line, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        try:
            code = bot.wait(600)
        finally:
            bot.kill()
    log = (folder / "bot.log").read_text("utf-8", errors="replace")
    assert code in (0, 130) and "SIGINT received" in log, log[-3_000:]
    return log


def test_a_bot_trains_predicts_trades_and_retrains(spot: Research, tmp_path: Path) -> None:
    with ReplayExchange(spot.raw, market="spot", clock=SteppedClock(BEGIN), path="walk") as exchange:
        log = dry_run(spot, tmp_path, exchange)
    for word in ("Traceback", "CRITICAL", "Fatal exception", "raised exception"):
        assert word not in log, log[log.index(word) - 500 :][:2_000]

    # one fit an instant, shared by all pairs
    models = tmp_path / "models" / "small" / "pooled"
    assert sorted(path.name for path in models.iterdir()) == ["2023-03-04", "2023-03-09"]
    for name in ("2023-03-04", "2023-03-09"):
        meta = json.loads((models / name / "meta.json").read_text("utf-8"))
        assert meta["windows"]["valid"][1] <= meta["windows"]["test"][0] == f"{name}T00:00:00.000000000"
        assert log.count(f"trained: {meta['model_id']}") == 1

    # every pair got its predictions, and what was predicted was traded before and after the retraining
    said = pd.read_pickle(next((tmp_path / "models" / "small").glob("historic_predictions.pkl")))
    assert len(said) >= 5 and sum((one["do_predict"] == 1).sum() > 10 for one in said.values()) >= 4
    trades = livecheck.read_trades(tmp_path / "trades.sqlite")
    opened = pd.to_datetime(trades["open_date"], utc=True)
    assert (opened < RETRAINED).sum() >= 2 and (opened > RETRAINED).sum() >= 1
    assert not trades["is_open"].all() and set(trades["pair"]) <= set(said)
    assert livecheck.read_orders(tmp_path / "trades.sqlite")["order_id"].is_unique
