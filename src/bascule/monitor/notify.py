"""Messages: few, whatever happens, and nothing that happened is left out of the journal.

1. Every event that a rule wants told waits in the journal.
2. `Notifier.flush` takes all that wait and composes one message: by level and rule, how many subjects, and
   the first of them by name. The message and the marks "told with message n" are one transaction.
3. There is at least `gap` between two messages, and at most `hourly` in an hour. Ten thousand events of one
   minute are one message; what comes meanwhile waits for the next.
4. A message that cannot be sent is tried again, the wait doubling to an hour, and the events after it collect
   for the next. After a crash in the middle of sending it is sent again: told twice is better than not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa

from bascule.core import BridgeError, ConfigError
from bascule.monitor import schema
from bascule.monitor.records import Event, event_of
from bascule.monitor.schema import Database, seconds
from bascule.monitor.settings import NotifySettings

_LEVELS = ("critical", "warning", "info")
_LONGEST = 3_500  # characters; Telegram takes 4,096
_HOUR = timedelta(hours=1)


class Channel(Protocol):
    """Where messages go."""

    def send(self, title: str, text: str, level: str) -> None:
        """Send one.

        Raises:
            BridgeError: it did not go out.
        """


class Apprise:
    """Telegram, webhooks, e-mail and many more, by Apprise addresses.

    Args:
        urls: one address a line. They hold tokens: no message ever shows one.

    Raises:
        ConfigError: an address is not one of Apprise's, or Apprise is not installed.
    """

    def __init__(self, urls: str) -> None:
        try:
            import apprise
        except ImportError:
            raise ConfigError(
                "Apprise is not installed", where="notify", remedy="pip install 'bascule[monitor]'"
            ) from None
        self._apprise = apprise.Apprise()
        for number, line in enumerate(filter(None, map(str.strip, urls.splitlines())), 1):
            if line.startswith("#"):
                continue
            if not self._apprise.add(line):
                kind, mark, _ = line.partition("://")
                shown = f" ({kind}://…)" if mark else ""  # without the mark it could be all token
                raise ConfigError(
                    f"address {number}{shown} is not one that Apprise knows",
                    where="notify.urls",
                    remedy="see Apprise's list of services for its form",
                )
        if not len(self._apprise):
            raise ConfigError("there is no address", where="notify.urls", remedy="write one a line")

    def send(self, title: str, text: str, level: str) -> None:
        """Send to every address; all of them must take it."""
        kind = {"critical": "failure", "warning": "warning"}.get(level, "info")
        if not self._apprise.notify(body=text, title=title, notify_type=kind, body_format="text"):
            raise BridgeError(
                "at least one address did not take the message",
                where="notify",
                remedy="look at the log of Apprise, check tokens and network",
            )


class Notifier:
    """Composes and sends.

    Args:
        database: of the journal.
        settings: how often.
        channel: where to; None = messages are composed and kept as ``kept``, none is sent.
    """

    def __init__(self, database: Database, settings: NotifySettings, channel: Channel | None) -> None:
        self.database, self.settings, self.channel = database, settings, channel

    def flush(self, now: datetime) -> int:
        """Compose and send what may be sent now; returns how many messages went out."""
        self._compose(now)
        return self._send(now)

    def _compose(self, now: datetime) -> None:
        messages, events = schema.messages, schema.events
        with self.database.write() as connection:
            # messages ahead of us are of a clock that was set back: nothing waits for it to come round again
            last = connection.execute(
                sa.select(sa.func.max(messages.c.at)).where(messages.c.at <= seconds(now))
            ).scalar()
            if last is not None and seconds(now) - last < self.settings.gap:
                return
            recent = connection.execute(
                sa.select(sa.func.count()).where(messages.c.at.between(seconds(now - _HOUR), seconds(now)))
            ).scalar_one()
            waits = (events.c.tell.is_(True)) & (events.c.message.is_(None))
            if recent >= self.settings.hourly:
                return
            rows = connection.execute(sa.select(events).where(waits).order_by(events.c.id)).mappings()
            found = [event_of(row) for row in rows]
            if not found:
                return
            title, text, level = compose(found, self.settings.shown)
            made = connection.execute(
                messages.insert().values(
                    at=seconds(now), level=level, title=title, text=text, events=len(found),
                    status="waiting" if self.channel is not None else "kept", attempts=0, error="",
                )
            )  # fmt: skip
            assert made.inserted_primary_key is not None
            # in the same transaction as the reading: no event can come between
            connection.execute(
                events.update()
                .where(waits & (events.c.id <= found[-1].id))
                .values(message=made.inserted_primary_key[0])
            )

    def _send(self, now: datetime) -> int:
        if self.channel is None:
            return 0
        table = schema.messages
        with self.database.read() as connection:
            waiting = (
                connection.execute(sa.select(table).where(table.c.status == "waiting").order_by(table.c.id))
                .mappings()
                .all()
            )
        sent = 0
        for row in waiting:
            pause = min(3_600.0, max(1.0, self.settings.gap) * 2.0 ** (row["attempts"] - 1))
            if row["attempts"] and 0.0 <= seconds(now) - row["tried"] < pause:
                continue
            status, error = "sent", ""
            try:
                self.channel.send(row["title"], row["text"], row["level"])
                sent += 1
            except BridgeError as problem:
                error = problem.message
                status = "failed" if row["attempts"] + 1 >= self.settings.attempts else "waiting"
            with self.database.write() as connection:
                connection.execute(
                    table.update()
                    .where(table.c.id == row["id"])
                    .values(status=status, error=error, attempts=row["attempts"] + 1, tried=seconds(now))
                )
        return sent


def compose(events: Sequence[Event], shown: int) -> tuple[str, str, str]:
    """Title, text and level of the message about some events.

    Args:
        events: at least one, oldest first.
        shown: subjects that are named of each rule.
    """
    fired = [event for event in events if event.kind != "cleared"]
    level = next((one for one in _LEVELS if any(event.level == one for event in fired)), "info")
    counts = [(one, sum(event.level == one for event in fired)) for one in _LEVELS]
    parts = [f"{count:,} {one}" for one, count in counts if count]
    over = len(events) - len(fired)
    title = "Bascule: " + ", ".join(parts + ([f"{over:,} over"] if over else []))
    lines: list[str] = []
    groups: dict[tuple[int, str, str], list[Event]] = {}
    for event in events:
        order = len(_LEVELS) if event.kind == "cleared" else _LEVELS.index(event.level)
        groups.setdefault((order, event.rule, event.kind), []).append(event)
    for (_, rule, kind), group in sorted(groups.items(), key=lambda item: item[0]):
        if len(group) == 1:
            lines.append(f"{_mark(group[0])} {rule}: {group[0].text} ({group[0].at:%Y-%m-%d %H:%M} UTC)")
            continue
        subjects = list(dict.fromkeys(event.subject for event in group))
        named = ", ".join(subjects[:shown]) + (
            f" and {len(subjects) - shown:,} more" if len(subjects) > shown else ""
        )
        what = "over" if kind == "cleared" else "times"
        lines.append(f"{_mark(group[0])} {rule}: {len(group):,} {what} ({named}). First: {group[0].text}")
    text = "\n".join(lines)
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rsplit("\n", 1)[0] + "\n… the rest is in the journal"
    return title, text, level


def _mark(event: Event) -> str:
    return "over" if event.kind == "cleared" else event.level.upper()
