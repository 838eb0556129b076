"""The machine's clock is set: an hour forward, ten minutes back, a second by a time server.

Promised, of each part that looks at a clock: forward, it stops what must not be done on late data and tells
why; back, it neither waits for the time to come round again nor forgets what it knew. Nothing is done twice,
nothing is lost.

A real process cannot be given another clock without a library that is loaded before it (a time namespace
shifts the monotonic clocks only), so the clock is an argument here, or `time_machine` sets it; freqtrade's
own loop is not tried.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
import time_machine

from bascule.bridge.exchange import AccountSettings, ReplayExchange
from bascule.bridge.exchange.orders import OPEN_STATES
from bascule.bridge.exchange.service import Asked
from bascule.bridge.freqtrade.failover import DataDesk, GuardSettings
from bascule.bridge.freqtrade.trading.guard import Guard
from bascule.bridge.freqtrade.trading.guard import GuardSettings as BookSettings
from bascule.bridge.freqtrade.trading.reload import Pointer
from bascule.core import BridgeError, Instrument, Timeframe
from bascule.data.live import Validator
from bascule.data.sources.context import Context
from bascule.data.store import Store
from bascule.data.update import UpdateSettings, update
from bascule.evaluate import Ledger, Trial
from bascule.monitor import schema
from bascule.monitor.jobs import JobRunner, JobSettings, Scheduler
from bascule.monitor.journal import Journal
from bascule.monitor.loop import Monitor, Steady
from bascule.monitor.notify import Notifier
from bascule.monitor.read import Reader
from bascule.monitor.rules import Rule
from bascule.monitor.samples import Sample
from bascule.monitor.schema import Database
from bascule.monitor.settings import MonitorSettings, NotifySettings
from bascule.signals import Bundle, write_bundle
from tests.bridge.exchange.rig import UNCHECKED
from tests.bridge.panels import market
from tests.bridge.research import Research
from tests.data.candles import make

HOUR = Timeframe(3_600)
T0 = datetime(2024, 1, 10, 6, tzinfo=UTC)
PAIRS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
FORWARD, BACK = timedelta(hours=1), -timedelta(minutes=10)
JUMPS = (FORWARD, BACK, -timedelta(seconds=1), timedelta(days=1), -timedelta(days=1))


# -- a bot: candles, safe mode, the book's guard, the next bundle --------------------------------------


def candles(now: datetime) -> dict[str, pd.DataFrame]:
    """What the exchange serves at a moment by its own clock: all closed candles."""
    last = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    dates = pd.date_range(end=last, periods=60, freq="1h")
    close = np.linspace(100, 101, 60)
    table = {"date": dates, "open": close, "high": close, "low": close, "close": close, "volume": 5.0}
    return {pair: pd.DataFrame(table) for pair in PAIRS}


class Probed:
    """A venue that counts how often it is asked for its time."""

    name = "first"

    def __init__(self) -> None:
        from bascule.bridge.freqtrade.venues import Health

        self.health, self.pings = Health(), 0

    def ping(self) -> float:
        self.pings += 1
        return 0.0

    def candles(self, instrument: Instrument, timeframe: Timeframe, bars: int, *, now_ms: int) -> Any:
        raise BridgeError("is not asked", where=self.name)


@pytest.mark.parametrize("jump", JUMPS)
def test_safe_mode_holds_while_the_clock_is_wrong_and_no_longer(jump: timedelta) -> None:
    """Candles that seem late stop entries within one look; a clock put right ends that in ``calm_looks``."""
    first = Probed()
    desk = DataDesk(HOUR, GuardSettings.read({"calm_looks": 2}), first=first)
    true = T0 + timedelta(minutes=20)
    desk.look(candles(true), true)
    assert not desk.safe
    for minute in range(1, 6):  # the clock is wrong for five minutes
        now = true + timedelta(minutes=minute)
        desk.look(candles(now), now + jump)
        assert desk.safe == (jump >= FORWARD)
    pings = first.pings
    for minute in range(6, 9):
        now = true + timedelta(minutes=minute)
        desk.look(candles(now), now)
    assert not desk.safe
    # the venue is probed again at once, not when the wrong time has come round
    assert first.pings >= pings + 2


@pytest.mark.parametrize("jump", JUMPS)
def test_a_halted_book_stays_halted_when_the_clock_is_set(jump: timedelta) -> None:
    """The peak and the level outlive the jump; only a backtest begins a new life when time goes back."""
    guard = Guard(BookSettings(halve=0.1, halt=0.2, recover=0.05, rest_days=7), live=True)
    begin = T0.timestamp()
    guard.look(1_000.0, begin)
    assert guard.look(790.0, begin + 60).level == "halted"
    for minute in range(2, 8):
        at = begin + 60 * minute + (jump.total_seconds() if minute < 5 else 0.0)
        found = guard.look(795.0, at)
        assert (found.level, found.changed) == ("halted", False) and found.drawdown == pytest.approx(0.205)
    # and it rests as long as it should, counted from the earliest time that it saw
    assert guard.look(795.0, begin + 60 + 7 * 86_400).level == "calm"
    backtest = Guard(BookSettings(halve=0.1, halt=0.2, recover=0.05))
    backtest.look(1_000.0, begin)
    backtest.look(790.0, begin + 60)
    assert backtest.look(790.0, begin).level == "calm"


def written(spot: Research, folder: Path, created: datetime) -> Bundle:
    return write_bundle(
        folder,
        spec=spot.spec,
        panel=spot.panel,
        signals=spot.signals,
        models=spot.models,
        data_fingerprint="x",
        created=created,
    )


def test_the_newest_bundle_is_the_one_that_was_written_last(spot: Research, tmp_path: Path) -> None:
    """``current`` leads to what was written last, whatever its name says; a bot takes it up; none is lost."""
    older = written(spot, tmp_path, T0)
    pointer = Pointer(tmp_path, Bundle.open(tmp_path), every=10.0)
    seconds = T0.timestamp()
    assert pointer.look(seconds, lambda _: None) == (None, None)
    again = written(spot, tmp_path, T0 + BACK)
    assert again.path.name < older.path.name
    assert Bundle.open(tmp_path).path == again.path and Bundle.open(older.path).id
    # the bot's clock is set back, too: it looks at once
    found, news = pointer.look(seconds - 600.0, lambda _: None)
    assert found is not None and found.path == again.path and news is not None


@pytest.mark.parametrize("jump", [FORWARD, BACK])
def test_the_validator_tells_silence_and_loses_no_candle(jump: timedelta) -> None:
    """Forward, instruments seem silent and are not entered; put right, they are clean again in time."""
    names = ("BTC_USDT", "ETH_USDT")
    frame = make(names, bars=700, start="2024-01-01")
    times = frame["time"].drop_duplicates().to_list()
    validator = Validator(HOUR, history=frame[frame["time"] < times[600]].reset_index(drop=True))
    seen: list[str] = []
    for number, moment in enumerate(times[600:]):
        part = frame[frame["time"] == moment].reset_index(drop=True)
        now = (moment + pd.Timedelta(minutes=90)).to_pydatetime()
        wrong = 10 <= number < 13
        verdict = validator.push(part, now=now + jump if wrong else now, expected=names)
        seen += [issue.name for issue in verdict.alerts if wrong]
        if not wrong:
            assert not any(issue.name == "silent" for issue in verdict.alerts)
    assert ("silent" in seen) == (jump >= FORWARD) and set(seen) <= {"silent"}
    assert validator.untradable == {}


# -- the store -----------------------------------------------------------------------------------------


def test_a_store_only_ever_grows(tmp_path: Path) -> None:
    """Back, an update adds nothing and removes nothing; right again, it ends as one that nobody disturbed."""
    frame = make(("AAA_USDT", "BBB_USDT"), bars=400, start="2024-01-01")
    frame.to_parquet(tmp_path / "c.parquet")
    true = np.datetime64("2024-01-12T00:00", "ns")

    def run(store: str, now: np.datetime64) -> Store:
        feed = {"source": "file", "options": {"path": str(tmp_path / "c.parquet")}, "start": "2024-01-01"}
        settings = UpdateSettings.read({"store": str(tmp_path / store), "feeds": [feed]})
        update(settings, Context(np.random.default_rng(0), clock=lambda: now))
        return Store.open(tmp_path / store)

    held = run("store", true).frame("1h")
    for jump in (BACK, -timedelta(days=1), -timedelta(seconds=1)):
        found = run("store", true + np.timedelta64(jump))
        pd.testing.assert_frame_equal(found.frame("1h"), held)
        assert found.verify() > 0
    store = run("store", true + np.timedelta64(24, "h"))
    pd.testing.assert_frame_equal(store.frame("1h"), run("other", true + np.timedelta64(24, "h")).frame("1h"))


# -- the ledger of trials ------------------------------------------------------------------------------


def test_trials_are_counted_whatever_the_time(tmp_path: Path) -> None:
    """What was tried is counted once, recorded before or after a jump."""
    ledger = Ledger(tmp_path / "trials.sqlite")
    start, end = np.datetime64("2024-01-01", "ns"), np.datetime64("2024-02-01", "ns")
    now = T0
    for number, jump in enumerate((timedelta(0), *JUMPS)):
        now = now + jump
        ledger.record(
            [Trial(f"$close/{number}", "store", start, end), Trial("$open", "store", start, end)], now
        )
    assert ledger.count("store", start, end).trials == 2 + len(JUMPS)


# -- the replay exchange -------------------------------------------------------------------------------


def test_the_books_of_a_replay_exchange_do_not_run_back() -> None:
    """On the machine's clock: what was filled stays filled, numbers rise, and every unit is accounted for."""
    panel = market(24 * 20)
    now = [panel.time[200] + np.timedelta64(1_800, "s")]
    account = AccountSettings(balances={"USDT": Decimal(100_000)})
    with ReplayExchange(
        panel, clock=lambda: now[0], account=account, keys=UNCHECKED, path="walk"
    ) as exchange:

        def post(**query: object) -> int:
            text = "&".join(f"{name}={value}" for name, value in query.items()) + "&timestamp=1"
            text += f"&signature={UNCHECKED.sign(text)}"
            asked = Asked("POST", "/api/v3/order", text, "", {"X-MBX-APIKEY": UNCHECKED.key})
            return exchange.service.answer(asked).status

        order = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.01"}
        price = f"{float(panel['close'][200, 1]) * 0.98:.2f}"
        limit = order | {"type": "LIMIT", "timeInForce": "GTC", "price": price}
        filled: list[int] = []
        for jump in (
            timedelta(0),
            FORWARD,
            -FORWARD,
            BACK,
            timedelta(hours=5),
            -timedelta(days=1),
            timedelta(days=2),
        ):
            now[0] = now[0] + np.timedelta64(jump)
            assert post(**order, type="MARKET") == 200
            assert post(**limit) == 200
            filled.append(sum(one.executed > 0 for one in exchange.account.orders.values()))
            assert exchange.differences() == []
        assert filled == sorted(filled) and filled[-1] > len(filled)  # some limit orders, too
        trades = exchange.account.trades
        assert [one.id for one in trades] == list(range(1, len(trades) + 1))
        assert all(one.ms <= two.ms for one, two in pairwise(trades))
        done = [one for one in exchange.account.orders.values() if one.status not in OPEN_STATES]
        assert all(one.executed == one.quantity for one in done)


# -- the monitor ---------------------------------------------------------------------------------------


class Steps:
    """A source that brings a value of now, and counts how often it is read."""

    name, every = "steps", 30.0

    def __init__(self) -> None:
        self.read_at: list[tuple[datetime | None, datetime]] = []
        self.value = 0.0

    def read(self, since: datetime | None, now: datetime) -> Iterator[Sample]:
        self.read_at.append((since, now))
        yield Sample("book.var_use", "", now, self.value)


@pytest.mark.parametrize("jump", JUMPS)
def test_the_monitor_watches_on(jump: timedelta, tmp_path: Path) -> None:
    """Sources are read, rules judge, and messages go out by the new time from the first cycle on."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{name: r, metric: book.var_use, above: 1.0}]\n")
    notify = {"gap": "5m"}
    settings = MonitorSettings.read({"home": str(tmp_path), "rules": str(rules), "notify": notify})
    source = Steps()
    sent: list[str] = []

    class Box:
        def send(self, title: str, text: str, level: str) -> None:
            sent.append(text)

    monitor = Monitor(settings, sources=[source], channel=Box())
    now, wrong = T0, timedelta(0)
    for minute in range(40):
        # wrong for ten minutes, then put right; the value is beyond the threshold every fifth minute
        wrong = jump if 10 <= minute < 20 else timedelta(0)
        source.value = 2.0 * (minute % 5 == 0)
        monitor.cycle(now + timedelta(minutes=minute) + wrong, patience=10.0)
    monitor.close()
    assert len(source.read_at) == 40
    assert all(since is None or since <= at for since, at in source.read_at)
    fired = [alert for alert in Reader(settings.database).alerts() if alert.rule == "r"]
    assert len(fired) == 8
    assert sum(text.count("r: ") for text in sent) >= 2 and len(sent) >= 4


def test_nobody_is_taken_for_dead_by_a_clock_that_was_set_forward() -> None:
    """`Monitor.run` sees the jump, journals it, and lets whoever waits go on waiting as long as before."""
    rule = Rule.read(
        {"name": "gone", "metric": "book.var_use", "absent": "30m", "actions": ["alert", "halt"]}
    )
    journal = Journal(Database(None), (rule,))
    wall, steady = [T0.timestamp()], [50.0]
    clock = Steady(lambda: wall[0], lambda: steady[0])

    def cycle(minutes: float, jump: float, *samples: Sample) -> list[str]:
        wall[0] += 60 * minutes + jump
        steady[0] += 60 * minutes
        now = datetime.fromtimestamp(wall[0], UTC)
        if by := clock.jump():
            journal.jumped(by, now=now)
        return [event.kind for event in journal.take(samples, now=now).events]

    assert cycle(1, 0, Sample("book.var_use", "a", T0, 1.0)) == []
    assert cycle(1, 3_600) == []  # an hour forward: it is not an hour that nothing was heard
    assert cycle(20, 0) == []
    assert cycle(10, 0) == ["fired"]  # thirty minutes by the clock that nobody sets
    assert cycle(1, 0.4) == [] and cycle(1, -0.9) == []  # slewed
    assert cycle(1, -3_600) == []
    with journal.database.read() as connection:
        events = schema.events.c
        told = connection.execute(sa.select(events.text).where(events.rule == "clock").order_by(events.id))
        assert [text for (text,) in told] == [
            "the clock was set forward by 3,600 s",
            "the clock was set back by 3,600 s",
        ]


def test_a_rule_hears_again_after_a_day_that_never_was(tmp_path: Path) -> None:
    """Restarted after the clock was put right: what the journal has of the future keeps nothing back."""
    rule = Rule.read({"name": "r", "metric": "book.var_use", "above": 1.0, "cool_down": "1h"})
    for place, moment in enumerate((T0 + timedelta(days=1), T0, T0 + timedelta(hours=2))):
        journal = Journal(Database(tmp_path / "m.sqlite"), (rule,))
        over = journal.take([Sample("book.var_use", "", moment, 0.0)], now=moment)
        fired = journal.take([Sample("book.var_use", "", moment + timedelta(minutes=5), 2.0)], now=moment)
        # at once, but for the cool-down, which begins anew
        assert [event.kind for event in fired.events] == (["fired"] if place != 1 else [])
        assert [event.kind for event in over.events] == (["cleared"] if place == 1 else [])
        with journal.database.read() as connection:
            (latest,) = connection.execute(sa.select(schema.latest.c.value)).all()
        assert latest.value == 2.0
        journal.database.close()


def test_messages_and_their_repetition_do_not_wait_for_the_time_to_come_round(tmp_path: Path) -> None:
    """A message that failed is sent again after its pause; one that went out in the future holds up none."""
    rule = Rule.read({"name": "r", "metric": "book.var_use", "above": 1.0})
    database = Database(tmp_path / "m.sqlite")
    journal = Journal(database, (rule,))
    sent: list[str] = []
    broken = [True]

    class Box:
        def send(self, title: str, text: str, level: str) -> None:
            if broken[0]:
                raise BridgeError("does not answer", where="box")
            sent.append(text)

    notifier = Notifier(database, NotifySettings.read({"gap": "5m"}), Box())
    later = T0 + timedelta(days=1)
    journal.take([Sample("book.var_use", "a", later, 2.0)], now=later)
    assert notifier.flush(later) == 0  # it failed, a day ahead
    broken[0] = False
    journal.take([Sample("book.var_use", "b", T0, 2.0)], now=T0)
    assert notifier.flush(T0) == 2 and len(sent) == 2
    database.close()


def test_jobs_that_a_jump_has_passed_run_once_and_at_once(tmp_path: Path) -> None:
    """Three hours forward pass three starts: one run makes up for them; back, none is run a second time."""
    job = JobSettings.read({"name": "hourly", "command": ["sh", "-c", "echo x >> runs"], "cron": "0 * * * *"})
    runner = JobRunner(Database(tmp_path / "m.sqlite"), [job], tmp_path, tmp_path / "logs")
    stop = threading.Event()

    def runs() -> int:
        path = tmp_path / "runs"
        return len(path.read_text().split()) if path.exists() else 0

    with time_machine.travel(T0 + timedelta(minutes=5), tick=True) as traveller:
        thread = threading.Thread(target=Scheduler(runner).run, args=(stop,))
        thread.start()
        try:
            end = time.perf_counter() + 60
            while not any(one.name == "APScheduler" for one in threading.enumerate()):
                assert time.perf_counter() < end, "it did not start"
                time.sleep(0.01)
            time.sleep(0.2)
            traveller.shift(timedelta(hours=3))
            while not runs():
                assert time.perf_counter() < end, "nothing was made up for"
                time.sleep(0.05)
            traveller.shift(BACK)
            time.sleep(3.0)  # longer than it sleeps between two looks
            assert runs() == 1
        finally:
            stop.set()
            thread.join(30)
