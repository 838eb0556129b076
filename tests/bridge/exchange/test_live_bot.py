"""freqtrade in live mode trades on the replay exchange: every order known, every unit accounted for.

The bot is killed with -9 in the middle and started again. Nothing here is dry: orders, fills, fees, stops,
funding and positions are the exchange's.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bascule.bridge.exchange import FaultPlan, Keys, ReplayExchange, SteppedClock, exchange_config
from bascule.bridge.exchange.market import MarketKind
from tests.bridge.panels import START, market

pytest.importorskip("freqtrade")
pytest.importorskip("time_machine")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
PAIRS = {
    "spot": ["BTC/USDT", "ETH/USDT", "XRP/USDT"],
    "futures": ["BTC/USDT:USDT", "ETH/USDT:USDT", "XRP/USDT:USDT"],
}
STRATEGY = '''
from freqtrade.strategy import IStrategy


class Often(IStrategy):
    """Trades so often that everything happens: both sides, limits that rest, stops on the exchange."""

    INTERFACE_VERSION = 3
    timeframe = "1h"
    can_short = SHORT
    startup_candle_count = 3
    minimal_roi = {"0": 10}
    stoploss = -0.02
    process_only_new_candles = False
    order_types = {
        "entry": "limit", "exit": "limit", "stoploss": "market" if SHORT else "limit",
        "stoploss_on_exchange": True, "stoploss_on_exchange_interval": 60,
        "stoploss_on_exchange_limit_ratio": 0.97, "emergency_exit": "market", "force_exit": "market",
    }

    def populate_indicators(self, dataframe, metadata):
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        hour = dataframe["date"].dt.hour
        dataframe.loc[hour % 4 < 2, "enter_long"] = 1
        if SHORT:
            dataframe.loc[hour % 4 >= 2, "enter_short"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        hour = dataframe["date"].dt.hour
        dataframe.loc[hour % 4 == 3, "exit_long"] = 1
        if SHORT:
            dataframe.loc[hour % 4 == 1, "exit_short"] = 1
        return dataframe

    def leverage(self, pair, current_time, current_rate, proposed_leverage, max_leverage, **kw):
        return 3.0
'''
# what a bot meets on a bad day; orders themselves get through, for a lost one is another test's matter
FAULTS = {
    "seed": 3,
    "faults": [
        {
            "kind": "status",
            "status": 503,
            "probability": 0.03,
            "methods": ["GET"],
            "paths": ["*/depth", "*/klines"],
        },
        {"kind": "stale_candles", "candles": 1, "probability": 0.05},
        {"kind": "duplicate_candles", "probability": 0.05},
    ],
}


def configuration(folder: Path, kind: MarketKind, url: str, keys: Keys) -> Path:
    """A live configuration on the exchange."""
    (folder / "strategies").mkdir(parents=True, exist_ok=True)
    source = STRATEGY.replace("SHORT", str(kind == "futures"))
    (folder / "strategies" / "often.py").write_text(source)
    futures = (
        {"trading_mode": "futures", "margin_mode": "isolated"}
        if kind == "futures"
        else {"trading_mode": "spot"}
    )
    values: dict[str, Any] = {
        **futures,
        "dry_run": False,
        "strategy": "Often",
        "user_data_dir": str(folder),
        "stake_currency": "USDT",
        "stake_amount": 500,
        "max_open_trades": 3,
        "timeframe": "1h",
        "db_url": f"sqlite:///{folder}/trades.sqlite",
        "unfilledtimeout": {"entry": 40, "exit": 40, "unit": "minutes"},
        "entry_pricing": {"price_side": "same", "use_order_book": True, "order_book_top": 1},
        "exit_pricing": {"price_side": "same", "use_order_book": True, "order_book_top": 1},
        "pairlists": [{"method": "StaticPairList"}],
        "initial_state": "running",
        "internals": {"process_throttle_secs": 0},
        "exchange": exchange_config(url, kind, keys=keys)
        | {"pair_whitelist": PAIRS[kind], "pair_blacklist": []},
    }
    path = folder / "config.json"
    path.write_text(json.dumps(values))
    return path


@contextmanager
def bot(config: Path, url: str, steps: int, log: Path) -> Iterator[Iterator[int]]:
    """A bot process; yields its finished steps as they come. Killed on leaving."""
    command = [sys.executable, "-m", "tests.bridge.exchange.driver", str(config), url, "600", str(steps)]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, "TZ": "UTC"},
        )
    with process:
        try:
            assert process.stdout is not None
            yield (int(line) for line in process.stdout if line.strip().isdigit())
        finally:
            process.kill()


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """From the bot's own database."""
    with sqlite3.connect(folder / "trades.sqlite") as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


def check(exchange: ReplayExchange, folder: Path, kind: MarketKind) -> None:
    """Bot and exchange tell the same story."""
    assert exchange.differences() == []
    mine = {
        row[0]: row[1:]
        for row in rows(folder, "select order_id, filled, ft_is_open, ft_order_side from orders")
    }
    orders = exchange.account.orders
    # every order of the exchange is the bot's (or was made of one of the bot's stop orders), each once
    made = {order.actual for order in orders.values() if order.actual}
    # the bot forgets entries that nobody filled in time; everything else it must know, and know once
    forgotten = {n for n, o in orders.items() if o.status == "CANCELED" and not o.executed} - set(
        map(int, mine)
    )
    assert {str(number) for number in orders if number not in made | forgotten} == set(mine)
    for number, (filled, still_open, _) in mine.items():
        order = orders[int(number)]
        real = orders[order.actual] if order.actual else order
        assert D(str(filled or 0)) == real.executed, (order, filled)
        assert bool(still_open) == real.is_open, order
    trades = rows(folder, "select pair, amount, is_short from trades where is_open = 1")
    held: dict[str, D] = {}
    for pair, amount, short in trades:
        held[pair] = held.get(pair, D(0)) + D(str(amount)) * (-1 if short else 1)
    for pair in PAIRS[kind]:
        symbol = pair.split(":")[0].replace("/", "")
        if kind == "futures":
            position = exchange.account.positions.get(symbol)
            assert (position.amount if position else D(0)) == held.get(pair, D(0)), pair
            continue
        base = pair.split("/")[0]
        there = sum((exchange.account.ledger.balance(a, base) for a in ("free", "locked")), D(0))
        # the bot may know of less than there is: fees in coins leave rests below one step
        assert 0 <= there - held.get(pair, D(0)) < D("0.01") * max(held.get(pair, D(1)), D(1)), pair


@pytest.mark.parametrize("kind", ["spot", "futures"])
def test_live_with_a_kill_in_the_middle(kind: MarketKind, tmp_path: Path) -> None:
    begin = START + np.timedelta64(100, "h")
    keys = Keys()  # the bot's clock is the exchange's, so timestamps are checked
    panel = market(24 * 8, futures=kind == "futures")
    plan = FaultPlan.read(FAULTS)
    with ReplayExchange(
        panel,
        clock=SteppedClock(begin),
        market=kind,
        keys=keys,
        faults=plan,
        path="walk",
        state=tmp_path / "state",
    ) as exchange:
        config, log = configuration(tmp_path / "user", kind, exchange.url, keys), tmp_path / "bot.log"
        with bot(config, exchange.url, 500, log) as steps:
            for step in steps:
                open_now = rows(tmp_path / "user", "select id from trades where is_open = 1")
                if step >= 45 and open_now:
                    break
        assert open_now, log.read_text()[-4_000:]
        with bot(config, exchange.url, 60, log) as steps:
            done = list(steps)
        assert len(done) == 60, log.read_text()[-4_000:]
        again = {row[0] for row in rows(tmp_path / "user", "select id from trades")}
        assert {row[0] for row in open_now} <= again
        check(exchange, tmp_path / "user", kind)
        fills = exchange.account.trades
        assert len(fills) > 20 and {t.maker for t in fills} == {True, False}
        kinds = {o.type for o in exchange.account.orders.values()}
        assert kinds >= ({"LIMIT", "STOP_MARKET"} if kind == "futures" else {"LIMIT", "STOP_LOSS_LIMIT"})
        assert sum(exchange.service.chaos.counts.values()) > 5
        if kind == "futures":
            assert {t.side for t in fills} == {"BUY", "SELL"}
            assert any(e.kind == "funding" for e in exchange.account.ledger.entries)
