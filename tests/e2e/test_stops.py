"""Stops kept as orders on the exchange: placed, moved, triggered, cancelled, and still there after kill -9.

Live mode on the replay exchange, spot, futures with isolated and with crossed margin.
"""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bascule.bridge.exchange.market import MarketKind
from bascule.bridge.exchange.orders import STOPS, Order
from bascule.bridge.freqtrade import livecheck
from bascule.core import Instrument
from tests.bridge.research import Research
from tests.e2e.test_rehearsal import Bot, bot, exchange_of, holdings, known_and_placed_once, no_crash

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
# ends between two candles: the stops of new positions are placed in the next loop
HOURS, KILLED = 18.4, 8.6
# R follows the risk score; the stop follows the price closely, so that all of it happens in a day
TRAIL = {"stops": {"tighten": 0.3, "trail": {"after": 0.05, "distance": 0.2}}}


def stops_of(found: Bot) -> dict[int, list[Order]]:
    """The stops of each trade, in the order in which they were placed."""
    orders = livecheck.read_orders(found.database)
    theirs = found.exchange.account.orders
    stops: dict[int, list[Order]] = defaultdict(list)
    for trade, number in orders.loc[orders["side"] == "stoploss", ["trade", "order_id"]].itertuples(
        index=False
    ):
        stops[int(trade)].append(theirs[int(number)])
    return {trade: sorted(some, key=lambda one: one.id) for trade, some in stops.items()}


def guarded(found: Bot) -> dict[str, Order]:
    """Every open position has one stop, of its size and on its other side; no stop stands for nothing."""
    still = [one for one in found.exchange.account.open_orders() if one.type in STOPS]
    standing = {one.symbol: one for one in still}
    assert len(standing) == len(still)
    held = {symbol: amount for symbol, amount in holdings(found).items() if amount}
    assert set(standing) == set(held)
    for symbol, amount in held.items():
        lot = Decimal(1).scaleb(-found.exchange.market.listings[symbol].quantity_decimals)
        assert 0 <= abs(amount) - standing[symbol].quantity < lot, symbol
        assert (standing[symbol].side == "SELL") == (amount > 0)
    return standing


@pytest.mark.parametrize("case", ["spot", "isolated", "cross"])
def test_stops_live_on_the_exchange(spot: Research, futures: Research, tmp_path: Path, case: str) -> None:
    kind: MarketKind = "spot" if case == "spot" else "futures"
    trade: dict[str, Any] = {"trading": TRAIL}
    if kind == "futures":
        trade |= {"margin": case, "leverage": 2.0}
    research = spot if kind == "spot" else futures
    with exchange_of(research, kind, tmp_path, faults=None) as exchange:
        found = bot(research, tmp_path / "bot", exchange, dry=False, trade=trade)
        path = found.folder / "config.json"
        values = json.loads(path.read_text("utf-8"))
        values["internals"]["process_throttle_secs"] = 900
        path.write_text(json.dumps(values), "utf-8")
        found.run_and_kill(KILLED)
        before = {one.id for one in exchange.account.open_orders() if one.type in STOPS}
        assert before
        found.run(HOURS)
        no_crash(found)
        known_and_placed_once(found)
        assert exchange.differences() == []
        guarded(found)
        trades = livecheck.read_trades(found.database).set_index("id")
        stops = stops_of(found)
        # those of before the kill went on as what they were: the bot's, not replaced by others unknown to it
        assert before <= {one.id for some in stops.values() for one in some}
        moved = triggered = cancelled = 0
        for number, some in stops.items():
            short = bool(trades.loc[number, "is_short"])
            levels = [one.stop for one in some]
            # a stop only ever comes nearer, once the first, which stands far away, gave way to the signals'
            assert levels == sorted(levels, reverse=short), number
            moved += len(levels) > 1
            last = some[-1]
            reason = trades.loc[number, "exit_reason"]
            if reason == "stoploss_on_exchange":
                triggered += 1
                real = exchange.account.orders[last.actual] if last.actual else last
                assert real.status == "FILLED" and last.triggered is not None
            elif not trades.loc[number, "is_open"]:
                cancelled += last.status == "CANCELED"
                assert not last.is_open, number
            assert all(one.status == "CANCELED" for one in some[:-1]), number
        assert moved >= 5 and triggered >= 2 and cancelled >= 2, (moved, triggered, cancelled)
        if kind == "futures":
            positions = exchange.account.positions
            traded = {Instrument.parse(pair).symbol for pair in trades["pair"]}
            assert {positions[symbol].isolated for symbol in traded} == {case == "isolated"}
            assert {symbol: p.amount for symbol, p in positions.items() if p.amount} == {
                symbol: amount for symbol, amount in holdings(found).items() if amount
            }
