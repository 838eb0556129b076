"""The monitor around the clock.

One cycle:

1. Sources that are due are read by a few threads, so that one that hangs holds nothing else up.
2. What they brought is judged, in one transaction (`journal.Journal.take`), with the time up to which each
   was read. A source that failed is a sample too, and its time stays where it was.
3. Planned actions are carried out, then messages go out.

It ends when it is told to (SIGTERM), after the cycle it is in. Killed at any point it goes on at the next
start as if nothing had happened.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files as resources
from pathlib import Path

import yaml

from bascule.core import BasculeError, ConfigError
from bascule.monitor.actions import Actuator
from bascule.monitor.botapi import BotApi
from bascule.monitor.journal import Journal
from bascule.monitor.metrics import Exposed, MetricsServer
from bascule.monitor.notify import Apprise, Channel, Notifier
from bascule.monitor.records import Taken
from bascule.monitor.rules import RuleBook
from bascule.monitor.samples import Sample, sample
from bascule.monitor.schema import Database
from bascule.monitor.settings import MonitorSettings
from bascule.monitor.sources import Source
from bascule.monitor.sources.bots import Books, Bot
from bascule.monitor.sources.feeds import Data, Models, Venue
from bascule.monitor.sources.research import Research

log = logging.getLogger(__name__)
_THREADS = 4
_BOOKS_EVERY = 900.0
_FORGET_EVERY = 86_400.0
JUMP = 5.0  # seconds; less is no jump

Read = tuple[datetime, list[Sample]]


@dataclass(frozen=True)
class Cycle:
    """What one cycle did: samples taken, events, actions that ended, messages sent."""

    samples: int
    taken: Taken
    ended: int
    sent: int


class Steady:
    """Compares the machine's clock with one that nobody sets.

    Args:
        wall: seconds since 1970.
        steady: seconds that only ever pass.
    """

    def __init__(self, wall: Callable[[], float], steady: Callable[[], float]) -> None:
        self._wall, self._steady = wall, steady
        self._offset = wall() - steady()

    def jump(self) -> float:
        """Seconds by which the clock was set since the last question; 0 for less than `JUMP`.

        A clock that is slewed, as time servers do by default, is followed without a word.
        """
        offset = self._wall() - self._steady()
        by, self._offset = offset - self._offset, offset
        return by if abs(by) >= JUMP else 0.0


class Monitor:
    """Sources, journal, actions and messages, wired.

    Args:
        settings: of the monitor.
        sources: what is read; None = those of the settings.
        channel: where messages go; None = that of the settings.
    """

    def __init__(
        self,
        settings: MonitorSettings,
        *,
        sources: Sequence[Source] | None = None,
        channel: Channel | None = None,
    ) -> None:
        self.settings = settings
        self.database = Database(settings.database)
        self.journal = Journal(self.database, rule_book(settings).rules)
        self.apis = {
            bot.name: BotApi(bot.name, bot.url, bot.username, bot.password.value(f"bots: {bot.name}"))
            for bot in settings.bots
        }
        if channel is None and settings.notify.urls is not None:
            channel = Apprise(settings.notify.urls.value("notify.urls"))
        self.notifier = Notifier(self.database, settings.notify, channel)
        self.actuator = Actuator(self.journal, settings, self.apis)
        self.sources = tuple(sources) if sources is not None else tuple(self._sources())
        self._ended = time.monotonic()
        self._due: dict[str, datetime] = {}
        self._running: dict[str, Future[Read]] = {}
        self._forgotten = 0.0
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="source")

    def cycle(self, now: datetime, *, patience: float = 0.0) -> Cycle:
        """Do one cycle.

        Args:
            now: the time.
            patience: seconds to wait for sources that are being read; what comes later is taken next time.
        """
        self._begin(now)
        deadline = time.monotonic() + patience
        while patience and time.monotonic() < deadline and not all(f.done() for f in self._running.values()):
            time.sleep(0.01)
        samples, cursors = self._collect(now)
        taken = self.journal.take(samples, now=now, cursors=cursors)
        for event in taken.events:
            log.warning("%s %s: %s", event.kind, event.rule, event.text)
        ended = self.actuator.work(now)
        sent = self.notifier.flush(now)
        if time.monotonic() - self._forgotten > _FORGET_EVERY:
            self._forgotten = time.monotonic()
            self.journal.forget(now - timedelta(days=self.settings.keep_days))
        self._ended = time.monotonic()
        return Cycle(len(samples), taken, ended, sent)

    def run(self, stop: threading.Event, ready: Callable[[int], None] | None = None) -> None:
        """Cycle until ``stop`` is set; ``ready`` is told the port of the metrics."""
        patience = max(120.0, 5.0 * self.settings.every)
        server = MetricsServer(
            Exposed(self.database, lambda: time.monotonic() - self._ended),
            self.settings.host,
            self.settings.port,
            patience,
        )
        server.start()
        try:
            if ready is not None:
                ready(server.port)
            clock = Steady(time.time, time.monotonic)
            while not stop.is_set():
                begin = time.monotonic()
                try:
                    if jump := clock.jump():
                        log.warning("the clock was set by %+.0f s", jump)
                        self.journal.jumped(jump, now=datetime.now(UTC))
                    self.cycle(datetime.now(UTC), patience=min(5.0, self.settings.every / 2.0))
                except BasculeError as error:
                    log.error("%s", error)  # the database is away for now: nothing is lost, it is read again
                stop.wait(max(0.0, self.settings.every - (time.monotonic() - begin)))
        finally:
            server.stop()
            self.close()

    def close(self) -> None:
        """Give everything back."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for api in self.apis.values():
            api.close()
        self.database.close()

    def _begin(self, now: datetime) -> None:
        for source in self.sources:
            pause = timedelta(seconds=min(source.every, 3_600.0))
            # due later than it can be: the clock was set back
            if source.name in self._running or now < self._due.get(source.name, now) <= now + pause:
                continue
            self._due[source.name] = now + pause
            since = self.journal.cursor(source.name)
            since = None if since is None else min(since, now)
            self._running[source.name] = self._pool.submit(_read, source, since, now)

    def _collect(self, now: datetime) -> tuple[list[Sample], dict[str, datetime]]:
        samples: list[Sample] = []
        cursors: dict[str, datetime] = {}
        for name, future in list(self._running.items()):
            if not future.done():
                continue
            del self._running[name]
            error = future.exception()
            if error is None:
                cursors[name], found = future.result()
                samples += found
            elif isinstance(error, BasculeError):
                log.error("source %s: %s", name, error)
            else:  # a mistake in one source must not end the watch over all others
                log.error("source %s failed", name, exc_info=error)
            samples += sample("source.failed", name, now, float(error is not None))
        return samples, cursors

    def _sources(self) -> list[Source]:
        settings = self.settings
        found: list[Source] = []
        research = Research(settings.research, settings.home) if settings.research is not None else None
        store = settings.within(settings.research.store) if settings.research is not None else None
        for bot in settings.bots:
            userdir = settings.within(bot.userdir) if bot.userdir is not None else None
            one = Bot(self.apis[bot.name], settings.bots_every, settings.fill_days, userdir, store)
            one.remember(self.journal.highest("bot.equity", bot.name))
            found.append(one)
        found += [Venue(venue) for venue in settings.venues]
        if settings.data is not None:
            found.append(Data(settings.data, settings.home))
        found += [Models(one, settings.home) for one in settings.models]
        if research is not None:
            found.append(research)
            if self.apis:
                found.append(Books(list(self.apis.values()), research, _BOOKS_EVERY))
        return found


def rule_book(settings: MonitorSettings) -> RuleBook:
    """The rules of the settings, or the built-in ones.

    Raises:
        ConfigError: the file cannot be read, or a rule is wrong, or names an unknown bot.
    """
    if settings.rules is None:
        text = resources("bascule.monitor").joinpath("rules.yaml").read_text("utf-8")
        where = "built-in rules"
    else:
        where = str(settings.within(settings.rules))
        try:
            text = Path(where).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot be read: {error}", where=where, remedy="name a YAML file") from None
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", where=where, remedy="correct it") from None
    if not isinstance(values, dict):
        raise ConfigError("is no list of keys", where=where, remedy="begin with rules:")
    book = RuleBook.read(values, where=where)
    known = {bot.name for bot in settings.bots}
    for rule in book.rules:
        for action in rule.actions:
            named = {action.bot, action.to} - {"*", ""}
            if named - known:
                raise ConfigError(
                    f"rule {rule.name}: there is no bot {sorted(named - known)[0]!r}",
                    where=where,
                    remedy=f"known bots: {', '.join(sorted(known)) or 'none'}",
                )
    return book


def _read(source: Source, since: datetime | None, now: datetime) -> Read:
    return now, list(source.read(since, now))
