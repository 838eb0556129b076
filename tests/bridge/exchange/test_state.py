"""The account on disk, and the ledger's own rules."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from decimal import Decimal as D
from decimal import Inexact
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.bridge.exchange import AccountSettings, ReplayExchange, SteppedClock
from bascule.bridge.exchange.engine import Engine
from bascule.bridge.exchange.intake import Request
from bascule.bridge.exchange.ledger import Ledger
from bascule.bridge.exchange.market import MarketKind
from bascule.bridge.exchange.wire import Refusal
from bascule.core import BridgeError
from tests.bridge.exchange.rig import client, flat, funds, panel, rig

DOWN = (100.0, 101.0, 90.0, 91.0, 1_200.0)
MARKET = panel([*flat(1), DOWN, *flat(3, 91)])


def test_a_restart_keeps_orders_and_every_unit(tmp_path: Path) -> None:
    file = tmp_path / "exchange.sqlite"
    with rig(MARKET, state=file) as exchange, client(exchange) as api:
        api.create_order("BTC/USDT", "market", "buy", 1)
        resting = api.create_order("BTC/USDT", "limit", "buy", 20, 95.0)
        exchange.step(3_600 + 60)
        before = exchange.account.ledger.balances()
        partly = api.fetch_order(resting["id"], "BTC/USDT")
        assert 0 < partly["filled"] < 20
    with rig(MARKET, state=file, at="2024-03-01T01:31") as exchange, client(exchange) as api:
        assert exchange.account.ledger.balances() == before
        assert api.fetch_order(resting["id"], "BTC/USDT")["filled"] == partly["filled"]
        exchange.step(3_600)
        assert api.fetch_order(resting["id"], "BTC/USDT")["status"] == "closed"
        assert exchange.differences() == []
        final = exchange.account.ledger.balances()
    with rig(MARKET) as exchange, client(exchange) as api:  # the same without a restart
        api.create_order("BTC/USDT", "market", "buy", 1)
        api.create_order("BTC/USDT", "limit", "buy", 20, 95.0)
        exchange.step(2 * 3_600 + 60)
        assert exchange.account.ledger.balances() == final


def test_terms_of_futures_survive_a_restart(tmp_path: Path) -> None:
    source = panel(flat(6), names=("BTC_USDT_USDT",))
    file = tmp_path / "exchange.sqlite"
    with rig(source, kind="futures", state=file) as exchange, client(exchange, "futures") as api:
        api.set_leverage(7, "BTC/USDT:USDT")
        api.set_margin_mode("isolated", "BTC/USDT:USDT")
        # as after a kill: nothing is saved on leaving that was not saved before the answer
        exchange.service._state.save = lambda: None
    with rig(source, kind="futures", state=file) as exchange:
        position = exchange.account.positions["BTCUSDT"]
        assert (position.leverage, position.isolated) == (7, True)


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    """The exchange is killed with -9 right after its answer."""
    file = tmp_path / "exchange.sqlite"
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pathlib import Path
from tests.bridge.exchange.test_state import MARKET
from tests.bridge.exchange.rig import rig, client
with rig(MARKET, state=Path({str(file)!r})) as exchange, client(exchange) as api:
    api.create_order("BTC/USDT", "limit", "buy", 2, 95.0, {{"clientOrderId": "alive"}})
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with rig(MARKET, state=file) as exchange, client(exchange) as api:
        found = api.fetch_order("", "BTC/USDT", {"origClientOrderId": "alive"})
        assert found["status"] == "open" and funds(exchange, "locked") == 190


def test_a_foreign_or_damaged_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "exchange.sqlite"
    with rig(MARKET, state=file):
        pass
    with pytest.raises(BridgeError, match="other account settings"):
        rig(MARKET, state=file, account=AccountSettings(balances={"USDT": D(1)}))
    with pytest.raises(BridgeError, match="another market"):
        rig(panel(flat(3), names=("ETH_USDT",)), state=file)
    with pytest.raises(BridgeError, match="later time"):
        ReplayExchange(MARKET, clock=SteppedClock("2024-02-01"), state=file)
    with sqlite3.connect(file) as db:
        db.execute("update entries set body = replace(body, '10000', '10001')")
    db.close()
    with pytest.raises(BridgeError, match=r"does not reconcile|cannot be read"):
        rig(MARKET, state=file)
    file.write_bytes(b"no database" * 100)
    with pytest.raises(BridgeError, match="cannot be read"):
        rig(MARKET, state=file)


def test_the_ledger_refuses_what_does_not_cancel_or_would_round() -> None:
    ledger = Ledger()
    with pytest.raises(ValueError, match="unbalanced"):
        ledger.post(0, "trade", "x", ("free", "USDT", D(1)), ("market", "USDT", D(-2)))
    assert ledger.entries == [] and ledger.balances() == {}
    ledger.post(0, "trade", "x", ("free", "USDT", D("1e60")), ("market", "USDT", D("-1e60")))
    with pytest.raises(Inexact):
        tiny = D("1e-40")
        ledger.post(0, "trade", "x", ("free", "USDT", tiny), ("market", "USDT", -tiny))


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["BUY", "SELL"]),
        st.sampled_from(["MARKET", "LIMIT", "STOP", "CANCEL", "STEP", "LEVERAGE", "MARGIN"]),
        st.integers(1, 400_000),  # quantity in ten-thousandths
        st.integers(-150, 150),  # limit price: tenths of a percent from the last
        st.booleans(),
    ),
    max_size=40,
)


def wish(action: tuple[str, str, int, int, bool], price: D, kind: MarketKind) -> Request:
    side, type_, quantity, offset, flag = action
    names = {"STOP": "STOP_LOSS" if kind == "spot" else "STOP_MARKET"}
    near = (price * (1000 + offset) / 1000).quantize(D("0.0001"))
    return Request(
        side=side,  # type: ignore[arg-type]
        type=names.get(type_, type_),
        lifetime="GTC",
        quantity=D(quantity) / 10_000,
        budget=None,
        price=near if type_ == "LIMIT" else None,
        stop=near if type_ == "STOP" else None,
        client_id="",
        reduce_only=flag and kind == "futures",
        close_position=False,
        working_type="CONTRACT_PRICE",
        algo=type_ == "STOP" and kind == "futures",
    )


@pytest.mark.parametrize("kind", ["spot", "futures"])
@settings(max_examples=25, deadline=None)
@given(actions=ACTIONS, seed=st.integers(0, 5))
def test_whatever_is_done_every_unit_is_accounted_for(kind: MarketKind, actions: list, seed: int) -> None:
    import numpy as np

    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.05, 40)))
    opens = np.concatenate([[100], close[:-1]])
    candles = [
        (o, max(o, c) * 1.03, min(o, c) * 0.97, c, v)
        for o, c, v in zip(opens, close, rng.lognormal(4, 1, 40), strict=True)
    ]
    name = "BTC_USDT" if kind == "spot" else "BTC_USDT_USDT"
    exchange = rig(panel(candles, names=(name,)), kind=kind, depth_floor=300.0)
    engine, clock = exchange.service.engine, exchange.market.clock
    assert isinstance(engine, Engine) and isinstance(clock, SteppedClock)
    listing = exchange.market.listings["BTCUSDT"]
    for action in actions:
        price = exchange.market.last_decimal(listing, engine.at)
        assert price is not None
        try:
            if action[1] == "STEP":
                clock.advance(action[2] / 40)
                engine.advance()
            elif action[1] == "CANCEL":
                for order in engine.account.open_orders()[:1]:
                    engine.cancel(order)
            elif action[1] in ("LEVERAGE", "MARGIN"):
                change_terms(engine, action)
            else:
                engine.place(wish(action, price, kind), listing)
        except Refusal:
            pass
        assert engine.account.differences() == []


def change_terms(engine: Engine, action: tuple[str, str, int, int, bool]) -> None:
    from bascule.bridge.exchange.futures import FuturesAccount

    if isinstance(engine.account, FuturesAccount):
        if action[1] == "LEVERAGE":
            engine.account.set_leverage("BTCUSDT", 1 + action[2] % 30, engine.at)
        else:
            engine.account.set_isolated("BTCUSDT", action[4], engine.at)
