"""A live bot's strategy: commands, new bundles, gates, limits; what fails never trades."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.freqtrade import emergency
from bascule.core import Instrument
from bascule.core.files import point
from bascule.signals import Bundle, write_bundle
from tests.bridge.research import Research
from tests.bridge.test_feed import candles
from tests.bridge.test_strategy import refused, settings, strategy
from tests.bridge.test_watch import Live

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
HOUR = pd.Timedelta(hours=1)
SPOT, PERP = "BTC/USDT", "BTC/USDT:USDT"


@pytest.fixture(autouse=True)
def no_database() -> Iterator[None]:
    from freqtrade.persistence import LocalTrade, PairLocks
    from freqtrade.persistence.usedb_context import FtNoDBContext

    with FtNoDBContext("1h"):
        LocalTrade.reset_trades()
        PairLocks.reset_locks()
        yield
        LocalTrade.reset_trades()
        PairLocks.reset_locks()


class Bot(Live):
    """freqtrade's data provider of a live bot, with an order book."""

    book: Any = {"bids": [[99.9, 1e6]], "asks": [[100.1, 1e6]]}  # noqa: RUF012
    runmode = "dry_run"

    def current_whitelist(self) -> list[str]:
        return list(self.frames)

    def orderbook(self, pair: str, maximum: int) -> Any:
        if isinstance(self.book, Exception):
            raise self.book
        return self.book

    def send_msg(self, message: str, *, always_send: bool = False) -> None:
        self.messages.append(message)


def live(research: Research, folder: Path, row: int = 400, db_url: str | None = None, **trading: Any) -> Any:
    """A strategy of a dry run that has analysed the candles up to a row of the signals."""
    from freqtrade.enums import RunMode

    names = {"bundle": str(research.bundle.path.parent), "trading": trading}
    values = settings(research, runmode=RunMode.DRY_RUN, user_data_dir=folder, bascule=names)
    values |= {} if db_url is None else {"db_url": db_url}
    del values["order_types"]
    mine = strategy(values)
    frames = {Instrument.parse(name).pair: candles(research, name) for name in research.raw.instruments}
    mine.dp = Bot(frames, mine.startup_candle_count + 50)
    mine.wallets = SimpleNamespace(get_total_stake_amount=lambda: 10_000.0)
    mine.dp.now = pd.Timestamp(research.bundle.signals.time[row], tz="UTC") + HOUR
    analyse(mine)
    return mine


def analyse(mine: Any) -> None:
    for pair in mine.dp.frames:
        mine.analyze_ticker(mine.dp.ohlcv(pair, "1h"), {"pair": pair})


def now(mine: Any) -> datetime:
    return (mine.dp.now + pd.Timedelta(seconds=7)).to_pydatetime()


def confirm(
    mine: Any, pair: str = SPOT, tag: str = "alpha_long", amount: float = 1.0, side: str = "long"
) -> bool:
    return bool(mine.confirm_trade_entry(pair, "market", amount, 100.0, "GTC", now(mine), tag, side))


def trade(
    mine: Any, pair: str, *, amount: float = 1.0, short: bool = False, rate: float | None = None
) -> Any:
    """An open position, known to freqtrade."""
    from freqtrade.persistence import LocalTrade

    close = float(mine.dp.ohlcv(pair, "1h")["close"].iloc[-1])
    found = LocalTrade(
        id=len(LocalTrade.bt_trades_open) + 1,
        pair=pair,
        stake_amount=amount * close,
        amount=amount,
        open_rate=rate or close,
        open_date=now(mine) - timedelta(hours=5),
        is_open=True,
        is_short=short,
        leverage=1.0,
        fee_open=0.0,
        fee_close=0.0,
        orders=[],
    )
    LocalTrade.add_bt_trade(found)
    return found


# -- commands --------------------------------------------------------------------------------------------


def test_commands_are_obeyed_at_once_and_over_restarts(spot: Research, tmp_path: Path) -> None:
    mine = live(spot, tmp_path)
    one = trade(mine, "ETH/USDT")
    order = SimpleNamespace(order_date_utc=now(mine), ft_order_tag="x", ft_order_side="buy")

    def deeds() -> tuple[Any, ...]:
        leaving = mine.custom_exit("ETH/USDT", one, now(mine), 1.0, 0.0)
        waiting = mine.check_entry_timeout("ETH/USDT", one, order, now(mine))
        return confirm(mine), leaving, waiting, mine._may_increase(one, now(mine))

    mine.bot_loop_start(now(mine))
    assert deeds() == (True, None, False, True)
    emergency.command(tmp_path, "halt", reason="look", by="me", now=now(mine))
    assert deeds() == (False, None, True, False)  # without waiting for the next loop
    mine.bot_loop_start(now(mine))
    emergency.command(tmp_path, "flatten", reason="out", by="me", now=now(mine))
    mine.bot_loop_start(now(mine))
    mine.bot_loop_start(now(mine))
    assert deeds() == (False, "emergency_flatten", True, False)
    assert mine.dp.messages == ["halt: look", "flatten: out"]
    assert emergency.obeyed(tmp_path, 2)["note"] == "no entries; 1 positions are closed"  # type: ignore[index]
    again = live(spot, tmp_path)
    assert again.custom_exit("ETH/USDT", one, now(mine), 1.0, 0.0) == "emergency_flatten"
    emergency.command(tmp_path, "run", reason="fine", by="me", now=now(mine))
    again.bot_loop_start(now(mine))
    assert confirm(again)


def test_a_command_over_rest_is_taken_into_the_journal_once(spot: Research, tmp_path: Path) -> None:
    from freqtrade.persistence import PairLocks

    mine = live(spot, tmp_path)
    later = datetime.now(UTC) + timedelta(days=1)
    PairLocks.lock_pair("*", later, "bascule:flatten the venue is down")
    PairLocks.lock_pair("*", later, "somebody else's")
    when = datetime.now(UTC)
    for _ in range(3):
        mine.bot_loop_start(when)
    (given,) = emergency.journal(tmp_path)
    assert (given.state, given.by, given.reason) == ("flatten", "rest", "the venue is down")
    assert [lock.reason for lock in PairLocks.get_pair_locks(None)] == ["somebody else's"]
    assert mine.dp.messages == ["flatten: the venue is down"]


def test_a_backtest_knows_no_emergency(spot: Research, tmp_path: Path) -> None:
    emergency.command(tmp_path, "flatten", reason="x", by="me", now=datetime.now(UTC))
    mine = strategy(settings(spot, user_data_dir=tmp_path))
    assert mine._folder is None and mine._state() is emergency.State.RUN


def test_what_cannot_be_checked_is_not_entered(spot: Research, tmp_path: Path, caplog: Any) -> None:
    mine = live(spot, tmp_path, gates={})
    assert confirm(mine)
    mine.dp.book = ConnectionError("the venue is away")
    assert not confirm(mine)
    assert "confirm_trade_entry failed, so nothing is traded" in caplog.text
    mine.wallets = SimpleNamespace(get_total_stake_amount=lambda: 1 / 0)
    assert stake(mine, "ETH/USDT") == 0.0
    mine.dp.book = {"bids": [[99.0, 1e6]], "asks": [[101.0, 1e6]]}
    assert not confirm(mine)  # the spread
    mine.dp.book = Bot.book
    assert not confirm(mine, amount=1e7)  # the depth


def stake(mine: Any, pair: str, side: str = "long", tag: str = "alpha_long") -> float:
    return float(
        mine.custom_stake_amount(
            pair=pair, current_time=now(mine), current_rate=1.0, proposed_stake=9_999.0, min_stake=10.0,
            max_stake=9_000.0, leverage=1.0, entry_tag=tag, side=side,
        )
    )  # fmt: skip


def wanted(mine: Any) -> dict[str, float]:
    """Target weights of now."""
    return {pair: mine._latest(pair, "target_weight", now(mine)) for pair in mine.dp.frames}


def test_limits_of_the_book_cut_a_stake(spot: Research, tmp_path: Path) -> None:
    free = live(spot, tmp_path)
    pair, weight = max(wanted(free).items(), key=lambda item: np.nan_to_num(item[1]))
    assert stake(free, pair) == pytest.approx(weight * 10_000)
    tight = live(spot, tmp_path, limits={"gross": 0.5 * weight, "max_weight": None})
    assert stake(tight, pair) == pytest.approx(0.5 * weight * 10_000, rel=1e-3)
    other = next(name for name in tight.dp.frames if name != pair)
    close = float(tight.dp.ohlcv(other, "1h")["close"].iloc[-1])
    trade(tight, other, amount=0.4 * weight * 10_000 / close)
    assert stake(tight, pair) == pytest.approx(0.1 * weight * 10_000, rel=1e-2)
    cautious = live(spot, tmp_path, limits={"var": 0.001, "max_weight": None})
    assert 0 <= stake(cautious, pair) < 0.3 * weight * 10_000
    blocking = live(spot, tmp_path, limits={"mode": "block", "gross": 0.5 * weight, "max_weight": None})
    assert stake(blocking, pair) == 0.0
    assert live(spot, tmp_path, limits={"trade_share": 1e-9})._granted(pair, 1, 500.0, 1e4, now(free)) < 500.0


# -- a new bundle ----------------------------------------------------------------------------------------


def rewrite(research: Research, folder: Path, **rules: float) -> Bundle:
    """A new bundle of the same research under other rules; ``current`` is turned to it."""
    spec = research.spec.model_copy(update={"rules": research.spec.rules.model_copy(update=rules)})
    return write_bundle(
        folder,
        spec=spec,
        panel=research.panel,
        signals=research.signals,
        models=research.models,
        data_fingerprint="new",
        created=research.raw.time[-1] + np.timedelta64(len(rules), "h"),
    )


@pytest.fixture
def shelf(spot: Research, tmp_path: Path) -> Research:
    """The research with a folder of bundles of its own."""
    from dataclasses import replace

    return replace(spot, bundle=rewrite(spot, tmp_path / "bundles"))


def loop(mine: Any, minutes: float) -> None:
    mine.bot_loop_start(now(mine) + timedelta(minutes=minutes))


def test_a_new_champion_is_taken_up_without_a_restart(shelf: Research, tmp_path: Path) -> None:
    mine = live(shelf, tmp_path)
    old = mine._bundle
    loop(mine, 1)
    assert mine._bundle is old and mine.dp.messages == []
    new = rewrite(shelf, tmp_path / "bundles", entry_rank=0.9, exit_rank=0.4)
    assert new.id != old.id
    loop(mine, 2)
    assert mine._bundle.id == new.id and mine.version().endswith(new.id)
    assert (mine.entry_rank.value, mine.exit_rank.value) == (0.9, 0.4)
    assert mine.dp.messages == [f"bundle {new.id} ({new.path.name}) serves from now on"]
    mine.dp.now += HOUR
    analyse(mine)  # the next candle, with the new one
    assert mine._source.bundle.id == new.id
    point(tmp_path / "bundles" / "current", old.path)  # and a roll-back
    loop(mine, 3)
    assert mine._bundle.id == old.id and mine.entry_rank.value == 0.75


def test_thresholds_that_somebody_tuned_stay(shelf: Research, tmp_path: Path) -> None:
    mine = live(shelf, tmp_path)
    mine.entry_rank.value = 0.77  # as freqtrade does with a file of hyper-optimised parameters
    rewrite(shelf, tmp_path / "bundles", entry_rank=0.9, exit_rank=0.4)
    loop(mine, 1)
    assert (mine.entry_rank.value, mine.exit_rank.value) == (0.77, 0.4)


def test_whatever_is_wrong_with_the_new_one_the_old_one_serves(shelf: Research, tmp_path: Path) -> None:
    mine = live(shelf, tmp_path)
    old, current = mine._bundle, tmp_path / "bundles" / "current"
    new = rewrite(shelf, tmp_path / "bundles", entry_rank=0.9)
    model = next((new.path / "models").rglob("*.txt"))
    whole = model.read_text()
    model.write_text(whole[:-5])
    for minutes in range(1, 6):
        loop(mine, minutes)
    assert mine._bundle is old and len(mine.dp.messages) == 1  # told once
    assert "is not taken up" in mine.dp.messages[0] and "was changed" in mine.dp.messages[0]
    model.write_text(whole)
    loop(mine, 30)
    assert mine._bundle.id == new.id  # it was on its way
    current.unlink()
    loop(mine, 40)
    assert "cannot be followed" in mine.dp.messages[-1]
    current.symlink_to("nowhere")
    loop(mine, 60)
    assert mine._bundle.id == new.id
    point(current, tmp_path / "bundles")
    loop(mine, 80)
    assert mine._bundle.id == new.id and "no readable manifest" in mine.dp.messages[-1]


def test_a_bundle_that_does_not_fit_the_running_bot_is_left_alone(
    shelf: Research, spot: Research, futures: Research, tmp_path: Path
) -> None:
    mine = live(shelf, tmp_path)
    old, current = mine._bundle, tmp_path / "bundles" / "current"
    shutil.copytree(futures.bundle.path, tmp_path / "bundles" / "perps")
    point(current, tmp_path / "bundles" / "perps")
    loop(mine, 1)
    assert mine._bundle is old and "the bot trades spot" in mine.dp.messages[-1]
    mine.startup_candle_count -= 1
    rewrite(shelf, tmp_path / "bundles", entry_rank=0.9)
    loop(mine, 5)
    assert mine._bundle is old and "restart the bot" in mine.dp.messages[-1]
    mine.startup_candle_count += 1
    mine.dp.frames["SOL/USDT"] = mine.dp.frames[SPOT]
    loop(mine, 20)
    assert mine._bundle is old and "no signals for SOL/USDT" in mine.dp.messages[-1]


def test_a_bundle_named_by_itself_is_never_changed(shelf: Research, tmp_path: Path) -> None:
    from bascule.bridge.freqtrade.trading.reload import Pointer

    def never(bundle: Bundle) -> None:
        raise AssertionError("asked")

    own = Pointer(shelf.bundle.path, shelf.bundle)
    rewrite(shelf, tmp_path / "bundles", entry_rank=0.9)
    assert own.look(1e9, never) == (None, None)
    by_link = Pointer(tmp_path / "bundles" / "current", shelf.bundle)
    found, words = by_link.look(1e9, never)
    assert found is None and words is not None and "AssertionError: asked" in words


# -- the guard, the hedge, prices ------------------------------------------------------------------------


def test_the_guard_halts_the_book_and_remembers(spot: Research, tmp_path: Path) -> None:
    mine = live(spot, tmp_path, guard={"halve": 0.05, "halt": 0.1, "recover": 0.02})
    loop(mine, 0)
    close = float(mine.dp.ohlcv("ETH/USDT", "1h")["close"].iloc[-1])
    one = trade(mine, "ETH/USDT", amount=1_000 / close, rate=close * 1.6)  # 6 % of the wallet is lost
    loop(mine, 1)
    assert mine._guard.level == "halved" and confirm(mine)
    assert mine.dp.messages == ["the book is halved: drawdown 6.00%"]
    again = live(spot, tmp_path, guard={"halve": 0.05, "halt": 0.1, "recover": 0.02})
    assert again._guard.level == "halved"
    pair, weight = max(wanted(again).items(), key=lambda item: np.nan_to_num(item[1]))
    assert stake(again, pair) == pytest.approx(0.5 * weight * 10_000)
    one.open_rate = close * 2.1
    loop(again, 2)
    assert again._guard.level == "halted" and not confirm(again) and not again._may_increase(one, now(mine))
    (path,) = (tmp_path / "bascule").glob("*.guard.json")
    # what a rehearsal was worth says nothing of the account: each database has a memory of its own
    other = live(spot, tmp_path, guard={}, db_url="sqlite:////bots/trades-live.sqlite")
    assert other._guard.level == "calm"
    loop(other, 3)
    assert (tmp_path / "bascule" / "Mine.trades-live.guard.json").exists()
    path.write_text("{}")
    from freqtrade.exceptions import OperationalException

    with pytest.raises(OperationalException, match="memory of the book guard cannot be read"):
        live(spot, tmp_path, guard={})


def test_what_a_bot_starts_with_is_left_out_of_the_search_for_garbage(
    futures: Research, tmp_path: Path
) -> None:
    mine = live(futures, tmp_path, neutral={"by": "dollar", "hedge": PERP, "band": 0.02})
    gc.unfreeze()
    try:
        mine.bot_start()
        frozen = gc.get_freeze_count()
        assert frozen > 100_000  # freqtrade's modules among them
        mine.bot_start()  # as after /reload_config: nothing is kept twice, or for ever
        assert gc.get_freeze_count() < 1.1 * frozen
    finally:
        gc.unfreeze()


def test_the_hedge_leg_follows_the_book_and_an_emergency(futures: Research, tmp_path: Path) -> None:
    from freqtrade.enums import SignalDirection

    mine = live(futures, tmp_path, neutral={"by": "dollar", "hedge": PERP, "band": 0.02})
    mine.bot_start()
    frame = mine.dp.ohlcv(PERP, "1h")
    assert mine.get_entry_signal(PERP, "1h", frame) == (None, None)
    close = float(mine.dp.ohlcv("ETH/USDT:USDT", "1h")["close"].iloc[-1])
    trade(mine, "ETH/USDT:USDT", amount=2_000 / close)
    assert mine.get_entry_signal(PERP, "1h", frame) == (SignalDirection.SHORT, "hedge")
    assert stake(mine, PERP, "short", "hedge") == pytest.approx(2_000, rel=1e-6)
    assert stake(mine, PERP, "long", "hedge") == 0.0
    price = float(frame["close"].iloc[-1])
    leg = trade(mine, PERP, amount=1_500 / price, short=True)

    def adjust(hours: int) -> Any:
        moment = now(mine) + timedelta(hours=hours)
        return mine.adjust_trade_position(leg, moment, price, 0.0, 5.0, 9e3, price, price, 0.0, 0.0)

    change = adjust(0)
    assert change == (pytest.approx(500, rel=1e-6), "hedge") and adjust(0) is None  # once a candle
    emergency.command(tmp_path, "hedge", reason="x", by="me", now=now(mine))
    loop(mine, 0)
    assert "covered by BTC/USDT:USDT" in str(emergency.obeyed(tmp_path, 1))
    assert confirm(mine, PERP, "hedge", side="short") and not confirm(mine, "ADA/USDT:USDT")
    assert adjust(1) is not None
    emergency.command(tmp_path, "halt", reason="x", by="me", now=now(mine))
    assert not confirm(mine, PERP, "hedge", side="short") and adjust(2) is None
    assert mine.custom_exit(PERP, leg, now(mine), price, 0.0) is None
    from freqtrade.persistence import LocalTrade

    LocalTrade.remove_bt_trade(next(t for t in LocalTrade.bt_trades_open if t.pair != PERP))
    assert mine.custom_exit(PERP, leg, now(mine), price, 0.0) == "hedge_done"


def test_when_a_leg_is_refused_the_other_side_shrinks(futures: Research, tmp_path: Path) -> None:
    mine = live(futures, tmp_path, neutral={"by": "dollar", "tolerance": 0.05})
    worth = {"ETH/USDT:USDT": 2_000, "ADA/USDT:USDT": 1_000, "XRP/USDT:USDT": -1_500}
    legs = {}
    for pair, value in worth.items():
        close = float(mine.dp.ohlcv(pair, "1h")["close"].iloc[-1])
        legs[pair] = trade(mine, pair, amount=abs(value) / close, short=value < 0)
    found = {}
    for pair, leg in legs.items():
        rate = leg.open_rate
        found[pair] = mine.adjust_trade_position(leg, now(mine), rate, 0.0, 5.0, 9e3, rate, rate, 0.0, 0.0)
    # 3000 against 1500, half of the tolerance is 250: the long side keeps 1750
    assert found["ETH/USDT:USDT"] == (pytest.approx(-2_000 * 1_250 / 3_000), "balance")
    assert found["ADA/USDT:USDT"] == (pytest.approx(-1_000 * 1_250 / 3_000), "balance")
    assert found["XRP/USDT:USDT"] is None


def test_limit_orders_are_placed_anew_after_their_seconds(spot: Research, tmp_path: Path) -> None:
    mine = live(spot, tmp_path, pricing={"offset": 0.01, "tries": 2, "cross": 0.01, "seconds": 30})
    assert mine.order_types["entry"] == "limit"
    one = trade(mine, "ETH/USDT")

    def price() -> float:
        return float(mine.custom_entry_price(SPOT, None, now(mine), 100.0, "alpha_long", "long"))

    def over(seconds: float) -> bool:
        placed = SimpleNamespace(order_date_utc=now(mine) - timedelta(seconds=seconds), ft_order_tag="x")
        return bool(mine.check_entry_timeout(SPOT, one, placed, now(mine)))

    assert price() == pytest.approx(99.0) and not over(29)
    assert over(31) and price() == pytest.approx(99.5)
    assert over(31) and price() == pytest.approx(100.1 * 1.01)  # across the book
    mine.order_filled(SPOT, one, SimpleNamespace(ft_order_side="buy"), now(mine))
    assert price() == pytest.approx(99.0)
    leave = [
        mine.custom_exit_price(SPOT, one, now(mine), 100.0, 0.0, tag)
        for tag in ("alpha_decay", "emergency_flatten", "stop_overtaken")
    ]
    assert leave == pytest.approx([101.0, 99.9 * 0.99, 99.9 * 0.99])
    step = {"pair": SPOT, "current_time": now(mine), "entry_tag": "", "side": "long"}
    rates = {"proposed_rate": 100.0, "current_order_rate": 99.0}
    assert mine.adjust_order_price(one, None, is_entry=True, **step, **rates) == pytest.approx(99.5)
    emergency.command(tmp_path, "halt", reason="x", by="me", now=now(mine))
    assert mine.adjust_order_price(one, None, is_entry=True, **step, **rates) is None


def test_configurations_that_contradict_are_refused(
    spot: Research, futures: Research, tmp_path: Path
) -> None:
    from freqtrade.enums import RunMode

    named = {"bundle": str(spot.bundle.path), "unsigned": True}
    market = {"entry": "market", "exit": "market"}

    def tried(message: str, **trading: Any) -> None:
        values = {"bascule": {**named, "trading": trading}, "order_types": market, "runmode": RunMode.LIVE}
        refused(settings(spot, **values), message)

    tried("entry is 'market', but bascule.trading needs 'limit'", pricing={})
    tried("stoploss_on_exchange is None", stops={"on_exchange": True})
    tried("unknown key", stop={})
    tried("cannot be fused", fusion=[{"bundle": named["bundle"]}])
    tried("no readable manifest", fusion=[{"bundle": str(tmp_path)}])
    hedged = {"bundle": str(futures.bundle.path), "trading": {"neutral": {"hedge": "SOL/USDT:USDT"}}}
    mine = strategy(settings(futures, bascule=hedged))
    mine.dp = Bot({PERP: candles(futures, "BTC_USDT_USDT")}, 100)
    from freqtrade.exceptions import OperationalException

    with pytest.raises(OperationalException, match="the hedge pair SOL/USDT:USDT is not traded"):
        mine.bot_start()


def test_the_class_may_hold_the_settings(spot: Research) -> None:
    mine = strategy(settings(spot), trading={"rebalance": {"band": 0.03}})
    assert (
        mine.position_adjustment_enable and mine.no_trade_band.value == 0.03 and mine.no_trade_band.optimize
    )
    plain = strategy(settings(spot))
    assert not plain.position_adjustment_enable and not plain.no_trade_band.optimize
    guarded = strategy(settings(spot), trading={"protections": {"cooldown": 3}})
    assert guarded.protections == [{"method": "CooldownPeriod", "stop_duration_candles": 3}]


def test_all_parts_travel_to_other_processes(futures: Research, tmp_path: Path) -> None:
    mine = live(
        futures, tmp_path, rebalance={}, ladder={}, stops={"trail": {}}, neutral={}, gear={"volatility": 1.0},
        gates={}, limits={}, guard={}, protections={"cooldown": 1},
    )  # fmt: skip
    mine.__class__ = next(c for c in type(mine).__mro__ if c.__name__ == "FactorStrategy")
    copied = pickle.loads(pickle.dumps({**mine.__getstate__(), "dp": None, "wallets": None}))
    assert copied["_rows"] == {} and copied["_guard"].level == "calm"
    assert copied["_source"]._panel is None and copied["_trading"] == mine._trading


def test_nothing_secret_is_said(spot: Research, tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level("DEBUG"):
        mine = live(spot, tmp_path, gates={}, guard={}, limits={})
        mine.config["exchange"] = {"name": "binance", "key": "KEY-1234", "secret": "SECRET-5678"}
        emergency.command(tmp_path, "halt", reason="x", by="me", now=now(mine))
        loop(mine, 0)
        mine.dp.book = RuntimeError("bad")
        confirm(mine)
    written = caplog.text + json.dumps(mine.dp.messages)
    written += "".join(p.read_text() for p in tmp_path.rglob("*.json"))
    assert "KEY-1234" not in written and "SECRET-5678" not in written


def test_callbacks_that_freqtrade_trusts_leave_the_trade_as_it_is(spot: Research, tmp_path: Path) -> None:
    """freqtrade hands its own methods, told by their qualified name, the trade itself and no copy."""
    parts: dict[str, Any] = {
        "rebalance": {},
        "ladder": {},
        "stops": {"levels": [{"after": 1.0}], "trail": {"after": 1.5}, "time": {"candles": 2}},
        "guard": {"halve": 0.5, "halt": 0.9},
        "pricing": {},
    }
    mine = live(spot, tmp_path, **parts)
    one = trade(mine, "ETH/USDT")
    rate, moment = one.open_rate * 1.02, now(mine)
    filled = SimpleNamespace(ft_order_side="buy")
    calls: dict[str, tuple[Any, ...]] = {
        "order_filled": ("ETH/USDT", one, filled, moment),
        "custom_stoploss": ("ETH/USDT", one, moment, rate, 0.02, False),
        "custom_exit": ("ETH/USDT", one, moment, rate, 0.02),
        "custom_exit_price": ("ETH/USDT", one, moment, rate, 0.02, "alpha_decay"),
        "adjust_trade_position": (one, moment, rate, 0.02, 5.0, 9e3, rate, rate, 0.02, 0.02),
    }
    own = [vars(one) for one in type(mine).__mro__ if one.__module__.startswith("bascule.")]
    trusted = {
        name
        for methods in own
        for name, method in methods.items()
        if getattr(method, "__qualname__", "").startswith("IStrategy.")
    }
    assert trusted == set(calls)
    before = copy.deepcopy(vars(one))
    answers = {name: getattr(mine, name)(*arguments) for name, arguments in calls.items()}
    assert vars(one) == before
    assert answers["custom_stoploss"] > 0.0
