"""Orders between the exchange's answer and the bot's database: killed exactly there, nothing is lost."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.exchange.market import MarketKind
from bascule.bridge.freqtrade import emergency, livecheck
from tests.bridge.exchange.rig import client
from tests.bridge.research import Research
from tests.e2e.test_rehearsal import BEGIN, KEYS, Bot, bot, exchange_of, holdings, no_crash

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
HOURS = 10


def die_behind(found: Bot, what: str) -> str:
    """Run until right behind the first such order; its id, which the database does not know."""
    until = BEGIN + np.timedelta64(HOURS, "h")
    code = found.start(until, "tests.e2e.killed", what).wait(900)
    assert code == -signal.SIGKILL, found.log[-3_000:]
    number = found.log.rsplit(f"killed behind {what} ", 1)[1].split()[0]
    assert number not in known(found)
    assert number in {str(order["id"]) for order in found.admin("orders")}
    return number


def known(found: Bot) -> pd.DataFrame:
    """The orders of the bot's database, by the exchange's id."""
    orders = livecheck.read_orders(found.database)
    return orders.set_index(orders["order_id"].astype(str))


@pytest.mark.parametrize("kind", ["spot", "futures"])
def test_what_the_database_missed_is_taken_up(
    spot: Research, futures: Research, tmp_path: Path, kind: MarketKind
) -> None:
    research = spot if kind == "spot" else futures
    policy = {"alarm": "tell" if kind == "spot" else "halt"}
    with exchange_of(research, kind, tmp_path, faults=None) as exchange:
        found = bot(research, tmp_path / "bot", exchange, dry=False, reconcile=policy)
        lost = {what: die_behind(found, what) for what in ("entry", "stop", "exit")}
        # and somebody trades by hand on the same account
        with client(exchange, kind, KEYS) as hand:
            hand.milliseconds = lambda: found.admin("clock")["time"]
            pair = "BTC/USDT" if kind == "spot" else "BTC/USDT:USDT"
            rate = hand.fetch_ticker(pair)["last"]
            strange = hand.create_order(pair, "limit", "buy", 0.01, round(rate * 0.5, 1))
        found.run(HOURS)
        no_crash(found)
        orders, theirs = known(found), {str(one["id"]): one for one in found.admin("orders")}
        for what, number in lost.items():
            assert f"{number} (" in found.log and orders.loc[number, "order_id"], what
        assert f"{strange['id']} (open, 0 filled) was not placed by this bot" in found.log
        assert theirs[str(strange["id"])]["status"] == "NEW" and str(strange["id"]) not in orders.index
        halted = emergency.in_force(found.folder).state is emergency.State.HALT
        assert halted == (kind == "futures")
        # nothing was placed twice, and everything is known to both
        children = {str(order["actual"]) for order in theirs.values() if order.get("actual")}
        assert set(theirs) - children - {str(strange["id"])} == set(orders.index)
        assert orders.index.is_unique and exchange.differences() == []
        trades = livecheck.read_trades(found.database)
        first = trades.sort_values("open_date").iloc[0]
        assert first["enter_tag"] == "adopted"
        if kind == "futures":
            positions = {one["symbol"]: one["amount"] for one in found.admin("reconcile")["positions"]}
            held = {symbol: amount for symbol, amount in holdings(found).items() if amount}
            assert {symbol: str(amount) for symbol, amount in held.items()} == {
                symbol: amount for symbol, amount in positions.items() if float(amount)
            }
