"""The journal: samples, rule states, events, actions, messages, in one database.

`Journal.take` is one transaction:

1. Samples are written; one that is there already is left out.
2. Each rule that watches a sample steps on (`rules.step`); a sample that its state has seen changes nothing.
3. A firing becomes an event, and one planned action for each of the rule's actions, with a key made of rule,
   subject, time and action: the same firing can never plan it twice. A clearing closes its event.
4. The sources' cursors move on.

If the process is killed before the commit, nothing of it happened, and the source is read again from the old
cursor. After the commit all of it is on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bascule.core import files
from bascule.monitor import schema
from bascule.monitor.records import Action, Event, Taken, action_of, event_of
from bascule.monitor.rules import (
    AHEAD,
    ActionSettings,
    Rule,
    State,
    Turn,
    behind,
    describe,
    later,
    step,
    wait,
)
from bascule.monitor.samples import Sample
from bascule.monitor.schema import Database, seconds, time_of

_CHUNK = 5_000  # rows of one statement


class Journal:
    """Reads and writes the monitor's state.

    Args:
        database: where.
        rules: all rules.
    """

    def __init__(self, database: Database, rules: Sequence[Rule] = ()) -> None:
        self.database = database
        self.rules = tuple(rules)
        self._by_metric: dict[str, list[Rule]] = {}
        for rule in rules:
            self._by_metric.setdefault(rule.metric, []).append(rule)

    # -- judging ---------------------------------------------------------------------------------------

    def take(
        self, samples: Iterable[Sample], *, now: datetime, cursors: Mapping[str, datetime] | None = None
    ) -> Taken:
        """Write samples and judge them; see the module.

        Args:
            samples: in any order; each subject's are judged in the order of time.
            now: the time, for rules that wait.
            cursors: source → time up to which it was read.
        """
        ordered = sorted(samples, key=lambda one: one.at)
        with self.database.write() as connection:
            # nothing that this very batch brings is ahead of the clock
            latest = max([now, *(one.at for one in ordered[-1:])])
            self._keep(connection, ordered, latest)
            found = self._judge(connection, ordered, now, latest)
            for source, at in (cursors or {}).items():
                self._upsert(connection, schema.cursors, ("source",), {"source": source, "at": seconds(at)})
        return found

    def _keep(self, connection: sa.Connection, ordered: Sequence[Sample], latest: datetime) -> None:
        rows = [
            {
                "metric": one.metric, "subject": one.subject, "at": seconds(one.at),
                "value": one.value, "low": one.low, "high": one.high,
            }
            for one in ordered
        ]  # fmt: skip
        insert = _insert(connection, schema.samples).on_conflict_do_nothing()
        for start in range(0, len(rows), _CHUNK):
            connection.execute(insert, rows[start : start + _CHUNK])
        newest = list({(row["metric"], row["subject"]): row for row in rows}.values())
        upsert = _insert(connection, schema.latest)
        taken = {name: upsert.excluded[name] for name in ("at", "value", "low", "high")}
        upsert = upsert.on_conflict_do_update(
            index_elements=["metric", "subject"],
            set_=taken,
            # what is ahead of the clock is of one that was set back since, and no newest value
            where=(schema.latest.c.at <= upsert.excluded.at) | (schema.latest.c.at > seconds(latest + AHEAD)),
        )
        for start in range(0, len(newest), _CHUNK):
            connection.execute(upsert, newest[start : start + _CHUNK])

    def _judge(
        self, connection: sa.Connection, ordered: Sequence[Sample], now: datetime, latest: datetime
    ) -> Taken:
        before = self._states(connection)
        states = {place: behind(state, latest) for place, state in before.items()}
        turns: list[tuple[Rule, Sample, Turn]] = []
        for one in ordered:
            for rule in self._by_metric.get(one.metric, ()):
                if rule.watches(one.metric, one.subject):
                    place = rule.name, one.subject
                    states[place], turn = step(rule, states.get(place, State()), one)
                    if turn:
                        turns.append((rule, one, turn))
        for rule in self.rules:
            if rule.absent is None:
                continue
            for place in [place for place in states if place[0] == rule.name]:
                states[place], turn = wait(rule, states[place], now)
                if turn:
                    turns.append((rule, Sample(rule.metric, place[1], now, states[place].value), turn))
        changed = [(place, state) for place, state in states.items() if before.get(place) != state]
        self._write_states(connection, changed)
        return self._write_turns(connection, turns)

    def _states(self, connection: sa.Connection) -> dict[tuple[str, str], State]:
        found = connection.execute(sa.select(schema.states)).mappings()
        return {
            (row["rule"], row["subject"]): State(
                row["count"], bool(row["firing"]), time_of(row["fired"]), time_of(row["at"]), row["value"]
            )
            for row in found
        }

    def _write_states(
        self, connection: sa.Connection, changed: Sequence[tuple[tuple[str, str], State]]
    ) -> None:
        rows = [
            {
                "rule": rule, "subject": subject, "count": state.count, "firing": state.firing,
                "fired": None if state.fired is None else seconds(state.fired),
                "at": None if state.at is None else seconds(state.at), "value": state.value,
            }
            for (rule, subject), state in changed
        ]  # fmt: skip
        for start in range(0, len(rows), _CHUNK):
            self._upsert(connection, schema.states, ("rule", "subject"), rows[start : start + _CHUNK])

    def _write_turns(self, connection: sa.Connection, turns: Sequence[tuple[Rule, Sample, Turn]]) -> Taken:
        rows: list[dict[str, Any]] = []
        held: dict[tuple[str, str], dict[str, Any]] = {}  # firings of this very batch that still hold
        over: list[dict[str, Any]] = []  # clearings of earlier ones
        for rule, one, turn in turns:
            place, fired = (rule.name, one.subject), turn == "fired"
            row = _event_row(
                one.at, turn, *place, rule.level if fired else "info", _told(rule, one, turn), one.value,
                tell=any(action.do == "alert" for action in rule.actions),
            )  # fmt: skip
            rows.append(row)
            if fired:
                held[place] = row
            elif place in held:
                held.pop(place)["closed"] = row["at"]
            else:
                over.append({"of": rule.name, "whose": one.subject, "then": row["at"]})
        self._close(connection, over)
        events = self._write_events(connection, rows)
        planned = [
            _plan(rule, one, event, action)
            for (rule, one, turn), event in zip(turns, events, strict=True)
            for action in rule.actions
            if turn == "fired" and action.do != "alert"
        ]
        if not planned:
            return Taken(tuple(events), ())
        connection.execute(_insert(connection, schema.actions).on_conflict_do_nothing(), planned)
        table = schema.actions
        found = connection.execute(
            sa.select(table).where(table.c.event >= events[0].id).order_by(table.c.id)
        ).mappings()
        return Taken(tuple(events), tuple(action_of(row) for row in found))

    def _close(self, connection: sa.Connection, over: Sequence[Mapping[str, Any]]) -> None:
        table = schema.events
        mine = (table.c.rule == sa.bindparam("of")) & (table.c.subject == sa.bindparam("whose"))
        close = table.update().where(mine & (table.c.kind == "fired") & table.c.closed.is_(None))
        if over:
            connection.execute(close.values(closed=sa.bindparam("then")), over)

    def _write_events(self, connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> list[Event]:
        """Write events; returns them with their numbers, in the same order."""
        table = schema.events
        insert = table.insert().returning(table.c.id, sort_by_parameter_order=True)
        events = []
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            numbers = connection.execute(insert, part).scalars().all()
            events += [event_of({**row, "id": number}) for row, number in zip(part, numbers, strict=True)]
        return events

    def _upsert(
        self,
        connection: sa.Connection,
        table: sa.Table,
        keys: Sequence[str],
        rows: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    ) -> None:
        first = rows if isinstance(rows, Mapping) else rows[0]
        insert = _insert(connection, table)
        changed = {name: insert.excluded[name] for name in first if name not in keys}
        connection.execute(insert.on_conflict_do_update(index_elements=list(keys), set_=changed), rows)

    def jumped(self, by: float, *, now: datetime) -> None:
        """The machine's clock was set: who waits goes on waiting as long as before, and it is told.

        Args:
            by: seconds, above 0 forward.
            now: the time by the clock as it is now.
        """
        text = f"the clock was set {'forward' if by > 0 else 'back'} by {abs(by):,.0f} s"
        row = _event_row(now, "fired", "clock", "", "warning", text, by, tell=True)
        absent = {rule.name for rule in self.rules if rule.absent is not None}
        with self.database.write() as connection:
            if by > 0:
                states = self._states(connection)
                waiting = {place: state for place, state in states.items() if place[0] in absent and state.at}
                self._write_states(connection, [(place, later(one, by)) for place, one in waiting.items()])
            self._write_events(connection, [{**row, "closed": row["at"]}])

    # -- acting ----------------------------------------------------------------------------------------

    def planned(self) -> tuple[Action, ...]:
        """Actions that are not done, oldest first."""
        table = schema.actions
        with self.database.read() as connection:
            rows = connection.execute(
                sa.select(table).where(table.c.status == "planned").order_by(table.c.id)
            ).mappings()
            return tuple(action_of(row) for row in rows)

    def note(self, action: Action, **arguments: Any) -> Action:
        """Write down what an action must know when it is begun again, before it does anything."""
        table = schema.actions
        merged = {**action.arguments, **arguments}
        with self.database.write() as connection:
            connection.execute(table.update().where(table.c.id == action.id).values(arguments=merged))
            row = connection.execute(sa.select(table).where(table.c.id == action.id)).mappings().one()
        return action_of(row)

    def tried(self, action: Action, outcome: str, *, now: datetime, status: str = "planned") -> None:
        """Write down an attempt: ``planned`` = it failed and is tried again, or how it ended."""
        table = schema.actions
        ended = None if status == "planned" else seconds(now)
        with self.database.write() as connection:
            connection.execute(
                table.update()
                .where(table.c.id == action.id)
                .values(
                    status=status, outcome=outcome, attempts=table.c.attempts + 1,
                    tried=seconds(now), ended=ended,
                )
            )  # fmt: skip
            if status == "failed":
                text = f"{action.do} of {action.target} failed for good: {outcome}"
                row = _event_row(
                    now, "action", f"action-{action.do}", action.target, "critical", text, 0.0, tell=True
                )
                self._write_events(connection, [row])

    # -- the rest --------------------------------------------------------------------------------------

    def cursor(self, source: str) -> datetime | None:
        """Time up to which a source was read, None = never."""
        table = schema.cursors
        with self.database.read() as connection:
            return time_of(connection.execute(sa.select(table.c.at).where(table.c.source == source)).scalar())

    def highest(self, metric: str, subject: str) -> float | None:
        """The highest value that was ever kept."""
        table = schema.samples
        with self.database.read() as connection:
            found = connection.execute(
                sa.select(sa.func.max(table.c.value)).where(
                    (table.c.metric == metric) & (table.c.subject == subject)
                )
            ).scalar()
        return None if found is None else float(found)

    def forget(self, before: datetime) -> int:
        """Remove samples older than that, all but equity; events and actions stay for ever."""
        table = schema.samples
        with self.database.write() as connection:
            found = connection.execute(
                table.delete().where((table.c.at < seconds(before)) & (table.c.metric != "bot.equity"))
            )
            return int(found.rowcount)


def _event_row(
    at: datetime, kind: str, rule: str, subject: str, level: str, text: str, value: float, *, tell: bool
) -> dict[str, Any]:
    return {
        "at": seconds(at), "kind": kind, "rule": rule, "subject": subject, "level": level, "text": text,
        "value": value, "closed": None, "tell": tell,
    }  # fmt: skip


def _told(rule: Rule, one: Sample, turn: Turn) -> str:
    if turn == "cleared":
        return f"over: {rule.metric} of {one.subject} is {one.value:.6g}".replace(" of  is", " is")
    if rule.absent is not None:
        found = f"no {rule.metric} of {one.subject} for {rule.absent:g} s"
        return f"{found}: {rule.text}" if rule.text else found
    return describe(rule, one)


def _plan(rule: Rule, one: Sample, event: Event, action: ActionSettings) -> dict[str, Any]:
    arguments = action.model_dump(mode="json", exclude_defaults=True) | {"subject": one.subject}
    job = action.job or action.do if action.do in ("job", "retrain", "rotate") else ""
    # a rule on a bot's own metric acts on that bot alone
    own = one.subject if one.metric.startswith(("bot.", "fills.")) and action.bot == "*" else action.bot
    key = files.fingerprint([rule.name, one.subject, one.at.isoformat(), action.model_dump(mode="json")])
    return {
        "key": key, "at": seconds(one.at), "event": event.id, "do": action.do, "target": job or own,
        "arguments": arguments, "reason": event.text, "status": "planned", "outcome": "", "attempts": 0,
    }  # fmt: skip


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    """An insert that knows what to do on a conflict, in either dialect."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
