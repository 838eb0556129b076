"""What is done about orders and positions that the bot does not know."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import ccxt
import pytest

from bascule.bridge.freqtrade import emergency
from bascule.bridge.freqtrade.onceonly import OnceOnly, read
from bascule.bridge.freqtrade.reconcile import Reconciler
from bascule.bridge.freqtrade.strays import Fate, ReconcileSettings, Stray, fate, gaps
from tests.bridge.desk.test_onceonly import Exchange

NOW = datetime(2024, 1, 1, tzinfo=UTC)
BUY = Stray("1", "BTC/USDT", "buy", True, False, False, False, "closed", 1.0)
SHORT = replace(BUY, pair="BTC/USDT:USDT", side="sell", futures=True)
ADOPT, CANCEL = ReconcileSettings(), ReconcileSettings(entries="cancel")


@pytest.mark.parametrize(
    ("stray", "held", "settings", "expected"),
    [
        (BUY, None, ADOPT, Fate.ADOPT),
        (replace(BUY, status="open", filled=0.0), None, ADOPT, Fate.ADOPT),
        (replace(BUY, status="open", filled=0.0), None, CANCEL, Fate.CANCEL),
        (BUY, None, CANCEL, Fate.ALARM),
        (BUY, "long", ADOPT, Fate.JOIN),
        (BUY, "long", CANCEL, Fate.JOIN),
        (replace(BUY, status="canceled", filled=0.0), "long", ADOPT, Fate.FORGET),
        (replace(BUY, status="canceled"), "long", ADOPT, Fate.JOIN),
        (replace(BUY, ours=False), None, ADOPT, Fate.ALARM),
        (replace(BUY, ours=False), "long", ADOPT, Fate.ALARM),
        # spot: sales are exits, stops among them
        (replace(BUY, side="sell"), "long", ADOPT, Fate.JOIN),
        (replace(BUY, side="sell"), None, ADOPT, Fate.ALARM),
        (replace(BUY, side="sell", conditional=True, status="open", filled=0.0), "long", ADOPT, Fate.JOIN),
        (replace(BUY, side="sell", conditional=True, status="open", filled=0.0), None, ADOPT, Fate.CANCEL),
        # futures
        (SHORT, None, ADOPT, Fate.ADOPT),
        (SHORT, "short", ADOPT, Fate.JOIN),
        (SHORT, "long", ADOPT, Fate.ALARM),
        (replace(SHORT, reduce=True), "long", ADOPT, Fate.JOIN),
        (replace(SHORT, reduce=True), "short", ADOPT, Fate.ALARM),
        (replace(SHORT, reduce=True, status="open", filled=0.0), None, ADOPT, Fate.CANCEL),
        # a triggered one is closed, what it filled stands with its child
        (replace(SHORT, conditional=True, reduce=True, filled=0.0), "long", ADOPT, Fate.JOIN),
        (replace(SHORT, conditional=True, reduce=True, filled=0.0), None, ADOPT, Fate.ALARM),
    ],
)
def test_every_stray_has_a_fate(
    stray: Stray, held: str | None, settings: ReconcileSettings, expected: Fate
) -> None:
    assert fate(stray, held, settings) is expected


def test_an_order_is_of_no_trade_that_was_opened_later() -> None:
    sold = replace(BUY, side="sell", at=1_000.0)
    assert fate(sold, "long", ADOPT, since=1_030.0) is Fate.JOIN  # clocks differ by a little
    assert fate(sold, "long", ADOPT, since=1_100.0) is Fate.ALARM
    assert fate(replace(sold, status="open", filled=0.0), "long", ADOPT, since=1_100.0) is Fate.CANCEL


def test_positions_are_compared_to_the_lot() -> None:
    steps = dict.fromkeys("ABCD", 0.1)
    theirs, ours = {"A": 1.0, "B": -2.0, "D": 5.0}, {"A": 1.04, "B": 2.0, "C": 0.3}
    assert gaps(theirs, ours, steps, ()) == {"B": (-2.0, 2.0), "C": (0.0, 0.3), "D": (5.0, 0.0)}
    assert gaps(theirs, ours, steps, ("B", "D")) == {"C": (0.0, 0.3)}


class Venue(Exchange):
    """Open orders too."""

    options: dict[str, Any] = {}  # noqa: RUF012
    silent = False

    def fetch_open_orders(self, *rest: Any) -> list[dict[str, Any]]:
        if self.silent:
            raise ccxt.NetworkError("down")
        assert self.options["fetchOpenOrders"]["warnWithoutSymbol"] is False
        return [one for one in self.orders if one["status"] == "open"]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bot without trades on a venue with two open orders: a stop of its own and a stranger's order."""
    from freqtrade.persistence import Order, Trade

    venue, said = Venue(), []
    stop = {"id": "1", "clientOrderId": "bscx", "symbol": "BTC/USDT", "side": "sell", "status": "open"}
    stop |= {"type": "stop_loss_limit", "filled": 0.0, "timestamp": 0}
    venue.orders = [stop, {**stop, "id": "2", "clientOrderId": "web_1", "type": "limit"}]
    known: set[str] = set()
    monkeypatch.setattr(Order, "order_by_id", lambda id, pair: id if id in known else None)
    monkeypatch.setattr(Trade, "get_trades_proxy", lambda **_: [])
    monkeypatch.setattr(Trade, "get_open_trades", list)
    monkeypatch.setattr(Trade, "rollback", lambda: None)
    bot = SimpleNamespace(
        config={"trading_mode": "spot"},
        exchange=SimpleNamespace(_api=venue),
        wallets=SimpleNamespace(update=lambda: None),
        dataprovider=SimpleNamespace(send_msg=lambda words, always_send: said.append(words)),
        _exit_lock=Lock(),
    )
    once = OnceOnly(venue, tmp_path / "intents", lambda id, pair: id in known, sleep=lambda _: None)
    return SimpleNamespace(venue=venue, bot=bot, once=once, said=said, known=known, folder=tmp_path)


def test_own_leftovers_go_and_those_of_others_stay(desk: Any) -> None:
    reconciler = Reconciler(desk.bot, desk.once, ReconcileSettings(), desk.folder)
    reconciler.look(NOW, starting=True)
    assert [one["status"] for one in desk.venue.orders] == ["canceled", "open"]
    assert len(desk.said) == 2 and "is cancelled" in desk.said[0] and "left alone" in desk.said[1]
    reconciler.look(NOW + timedelta(seconds=301))
    assert len(desk.said) == 2 and not emergency.journal(desk.folder)  # told once, nothing halted


def test_an_alarm_can_halt(desk: Any) -> None:
    reconciler = Reconciler(desk.bot, desk.once, ReconcileSettings(alarm="halt"), desk.folder)
    reconciler.look(NOW, starting=True)
    (given,) = emergency.journal(desk.folder)
    assert given.state is emergency.State.HALT and "left alone" in given.reason


def test_it_looks_when_it_is_time_and_asks_again_after_silence(desk: Any) -> None:
    reconciler = Reconciler(desk.bot, desk.once, ReconcileSettings(every=100), desk.folder)
    desk.venue.silent = True
    reconciler.look(NOW, starting=True)
    assert desk.said == []
    desk.venue.silent = False
    desk.venue.orders[0]["timestamp"] = (NOW.timestamp() - 30) * 1_000  # may be on its way
    reconciler.look(NOW + timedelta(seconds=5))
    assert len(desk.said) == 1 and desk.venue.orders[0]["status"] == "open"
    reconciler.look(NOW + timedelta(seconds=90))
    assert len(desk.said) == 1
    reconciler.look(NOW + timedelta(seconds=105))
    assert desk.venue.orders[0]["status"] == "canceled"


def test_a_clock_that_was_set_back_does_not_silence_it(desk: Any) -> None:
    reconciler = Reconciler(desk.bot, desk.once, ReconcileSettings(every=100), desk.folder)
    kept, desk.venue.orders = desk.venue.orders, []
    reconciler.look(NOW, starting=True)
    desk.venue.orders = kept
    reconciler.look(NOW - timedelta(hours=1))
    assert len(desk.said) == 2


def test_one_that_fails_does_not_hold_up_the_others(desk: Any) -> None:
    def stuck(*_: Any) -> None:
        raise ccxt.ExchangeError("not now")

    really, desk.once.cancel_order = desk.once.cancel_order, stuck
    reconciler = Reconciler(desk.bot, desk.once, ReconcileSettings(), desk.folder)
    reconciler.look(NOW, starting=True)
    assert "left alone" in desk.said[-1] and desk.venue.orders[0]["status"] == "open"
    desk.once.cancel_order = really
    desk.venue.orders[0]["timestamp"] = 0
    reconciler.look(NOW + timedelta(seconds=5))  # in the next loop, not after five minutes
    assert desk.venue.orders[0]["status"] == "canceled"


def test_known_orders_are_forgotten_so_that_deleted_trades_stay_deleted(desk: Any) -> None:
    desk.venue.orders = []
    order = desk.once.create_order("BTC/USDT", "market", "buy", 1.0)
    desk.known.add(order["id"])
    reconciler = Reconciler(desk.bot, desk.once, ReconcileSettings(), desk.folder)
    reconciler.look(NOW, starting=True)
    assert read(desk.folder / "intents") == [] and desk.said == []


def test_differences_of_positions_are_told_when_they_last(desk: Any) -> None:
    desk.venue.orders = []
    desk.bot.config["trading_mode"] = "futures"
    held = {"BTC/USDT:USDT": SimpleNamespace(position=0.5, side="short")}
    desk.bot.wallets.get_all_positions = lambda: held
    desk.bot.exchange.get_precision_amount = lambda pair: 0.001
    reconciler = Reconciler(desk.bot, desk.once, ReconcileSettings(), desk.folder)
    reconciler.look(NOW, starting=True)
    assert desk.said == []
    reconciler.look(NOW + timedelta(seconds=5))
    assert desk.said == ["BTC/USDT:USDT: the exchange holds -0.5, the bot's trades 0"]
    reconciler.look(NOW + timedelta(seconds=10))
    reconciler.look(NOW + timedelta(seconds=400))
    assert len(desk.said) == 1
